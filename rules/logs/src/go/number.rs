//! Numbers as Go reads and writes them.

use std::fmt::{Arguments, Write};

/// Appends to a text, which cannot fail.
pub(crate) fn put(out: &mut String, what: Arguments<'_>) {
    let _ = out.write_fmt(what);
}

/// The digits of a number and the power of ten of the first: `(true, "15", 3)` is -1500.
fn digits(number: f64) -> (bool, String, i32) {
    // Rust's `{:e}` writes the shortest digits that read back as the same number, as Go's shortest form has.
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (number.is_sign_negative(), mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn special(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// As `%v` and `%g` do: the shortest digits, with an exponent below 1e-04 and from 1e+06 on.
pub(crate) fn write_shortest(number: f64, out: &mut String) {
    write_with_exponent(number, -4, 6, out);
}

/// The shortest digits; with an exponent where it is below `low` or at least `high`.
pub(crate) fn write_with_exponent(number: f64, low: i32, high: i32, out: &mut String) {
    if let Some(special) = special(number) {
        return out.push_str(special);
    }
    let (negative, digits, exponent) = digits(number);
    if negative {
        out.push('-');
    }
    if exponent < low || exponent >= high {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        write_exponent(exponent, out);
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend((1..-exponent).map(|_| '0'));
        out.push_str(&digits);
    } else {
        let whole = usize::try_from(exponent).unwrap_or(0) + 1;
        out.push_str(&digits[..whole.min(digits.len())]);
        out.extend((digits.len()..whole).map(|_| '0'));
        if digits.len() > whole {
            out.push('.');
            out.push_str(&digits[whole..]);
        }
    }
}

/// `e+06`: at least two digits.
fn write_exponent(exponent: i32, out: &mut String) {
    let sign = if exponent < 0 { '-' } else { '+' };
    put(out, format_args!("e{sign}{:02}", exponent.abs()));
}

/// As `%e` does with this many digits behind the point.
pub(crate) fn write_scientific(number: f64, precision: usize, out: &mut String) {
    if let Some(special) = special(number) {
        return out.push_str(special);
    }
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    out.push_str(mantissa);
    write_exponent(exponent.parse().unwrap_or(0), out);
}

/// As `%f` does with this many digits behind the point.
pub(crate) fn write_fixed(number: f64, precision: usize, out: &mut String) {
    match special(number) {
        Some(special) => out.push_str(special),
        None => put(out, format_args!("{number:.precision$}")),
    }
}

/// A whole number in ten, as Go's `Atoi` reads it: an optional sign and digits, nothing else.
pub(crate) fn read_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A number as Go's `ParseFloat` reads it.
pub(crate) fn read_float(text: &str) -> Option<f64> {
    let plain = text.trim_start_matches(['+', '-']);
    if plain.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if plain.len() + 1 < text.len() || text.contains('_') {
        return None;
    }
    if let Some(hexadecimal) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return read_hexadecimal(hexadecimal)
            .map(|number| if text.starts_with('-') { -number } else { number });
    }
    text.parse().ok()
}

/// `1.8p3`: hexadecimal digits and a power of two, which Go demands.
fn read_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, power) = text.split_once(['p', 'P'])?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + part.len() == 0 || whole.len() + part.len() > 13 {
        return None;
    }
    let mut number = 0.0;
    for digit in whole.chars().chain(part.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(part.len()).ok()?;
    Some(number * 2f64.powi(power.parse::<i32>().ok()?.checked_sub(4 * places)?))
}

/// The whole part of a number, as Go's `int(float64)` has it where that is defined; held at the ends elsewhere.
#[expect(clippy::cast_possible_truncation, reason = "saturates, and truncation is what is asked for")]
pub(crate) fn truncate(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortest(number: f64) -> String {
        let mut out = String::new();
        write_shortest(number, &mut out);
        out
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, text) in [
            (0.0, "0"),
            (200.0, "200"),
            (-1.5, "-1.5"),
            (100_000.0, "100000"),
            (123_456.5, "123456.5"),
            (1_000_000.0, "1e+06"),
            (1_700_842_573.101_901, "1.700842573101901e+09"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000_003, "3e-06"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(shortest(number), text);
        }
    }

    #[test]
    fn numbers_are_read_as_go_does() {
        assert_eq!(read_float("1.5e3"), Some(1500.0));
        assert_eq!(read_float("-0x1.8p1"), Some(-3.0));
        assert_eq!(read_float("+2"), Some(2.0));
        assert!(read_float("NaN").is_some_and(f64::is_nan));
        for wrong in ["", "x", "1_0", "--1", "0x1", "1 "] {
            assert_eq!(read_float(wrong), None, "{wrong}");
        }
        assert_eq!(read_int("+7"), Some(7));
        assert_eq!(read_int("7.0"), None);
    }
}
