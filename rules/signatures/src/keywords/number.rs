//! Tests of one number: `5`, `!5`, `<5`, `<=5`, `>5`, `>=5`, `3<>9` and `3-9` (both ends excluded, as in Suricata).

/// What a number must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberTest {
    Equal(u32),
    NotEqual(u32),
    Less(u32),
    LessOrEqual(u32),
    Greater(u32),
    GreaterOrEqual(u32),
    /// Greater than the first and less than the second.
    Between(u32, u32),
    /// Not between.
    Outside(u32, u32),
}

impl NumberTest {
    pub(crate) fn parse(text: &str, max: u32) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` cannot be read; write 5, !5, <5, <=5, >5, >=5 or 3<>9, at most {max}");
        let number = |text: &str| {
            let text = text.trim();
            let number = match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => text.parse::<u32>(),
            };
            number.ok().filter(|number| *number <= max).ok_or_else(wrong)
        };
        let text = text.trim();
        let (negated, body) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
        let pair = body.split_once("<>").or_else(|| body.split_once('-'));
        let test = if let Some((low, high)) = pair {
            let (low, high) = (number(low)?, number(high)?);
            if high <= low.saturating_add(1) {
                return Err(format!("`{text}`: nothing is between"));
            }
            if negated { Self::Outside(low, high) } else { Self::Between(low, high) }
        } else if let Some(rest) = body.strip_prefix("<=") {
            Self::LessOrEqual(number(rest)?)
        } else if let Some(rest) = body.strip_prefix(">=") {
            Self::GreaterOrEqual(number(rest)?)
        } else if let Some(rest) = body.strip_prefix('<') {
            Self::Less(number(rest)?)
        } else if let Some(rest) = body.strip_prefix('>') {
            Self::Greater(number(rest)?)
        } else {
            let number = number(body.strip_prefix('=').unwrap_or(body))?;
            if negated { Self::NotEqual(number) } else { Self::Equal(number) }
        };
        match test {
            Self::Equal(_) | Self::NotEqual(_) | Self::Between(..) | Self::Outside(..) => Ok(test),
            Self::Less(_) | Self::LessOrEqual(_) | Self::Greater(_) | Self::GreaterOrEqual(_) if negated => {
                Err(wrong())
            }
            Self::Less(_) | Self::LessOrEqual(_) | Self::Greater(_) | Self::GreaterOrEqual(_) => Ok(test),
        }
    }

    pub(crate) const fn holds(self, number: u32) -> bool {
        match self {
            Self::Equal(value) => number == value,
            Self::NotEqual(value) => number != value,
            Self::Less(value) => number < value,
            Self::LessOrEqual(value) => number <= value,
            Self::Greater(value) => number > value,
            Self::GreaterOrEqual(value) => number >= value,
            Self::Between(low, high) => low < number && number < high,
            Self::Outside(low, high) => number <= low || high <= number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, yes, no) in [
            ("5", 5, 6),
            ("!5", 6, 5),
            ("<5", 4, 5),
            ("<=5", 5, 6),
            ("> 5", 6, 5),
            (">=5", 5, 4),
            ("3<>9", 8, 9),
            ("3-9", 4, 3),
            ("!3<>9", 9, 5),
        ] {
            let test = NumberTest::parse(text, 255).unwrap();
            assert!(test.holds(yes) && !test.holds(no), "{text}");
        }
        for wrong in ["", "x", "256", "9<>3", "3<>4", "!<5", "<"] {
            assert!(NumberTest::parse(wrong, 255).is_err(), "{wrong}");
        }
    }
}
