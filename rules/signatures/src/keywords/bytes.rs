//! `byte_test`, `byte_jump`, `byte_extract` and `isdataat`: numbers and ends within a buffer.

use super::{Draft, Read, content::Amount, payload::PayloadMatch, unquoted, value};
use crate::limits::MAX_VARIABLES;
use crate::syntax::RawOption;

/// Where and how a number is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberAt {
    pub bytes: usize,
    pub offset: Amount,
    pub relative: bool,
    pub little_endian: bool,
    /// The number is written in digits of this base.
    pub text_base: Option<u32>,
    pub bitmask: Option<u64>,
}

/// `byte_test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteTest {
    pub number: NumberAt,
    pub comparison: Comparison,
    pub negated: bool,
    pub value: Amount,
}

/// How `byte_test` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    And,
    Xor,
}

/// `byte_jump`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteJump {
    pub number: NumberAt,
    pub multiplier: u64,
    pub align: bool,
    pub from: JumpFrom,
    pub post_offset: i64,
}

/// Where a jump starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JumpFrom {
    Here,
    Beginning,
    End,
}

/// `byte_extract`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteExtract {
    pub number: NumberAt,
    pub variable: usize,
    pub multiplier: u64,
    pub align: u64,
}

/// `isdataat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsDataAt {
    pub at: Amount,
    pub relative: bool,
    pub negated: bool,
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[
    ("byte_test", byte_test),
    ("byte_jump", byte_jump),
    ("byte_extract", byte_extract),
    ("isdataat", is_data_at),
];

impl NumberAt {
    /// The number and the place after it. `None` where the buffer is too short or the text is no number.
    pub(crate) fn read(&self, buffer: &[u8], position: usize, variables: &[u64]) -> Option<(u64, usize)> {
        let base = if self.relative { i64::try_from(position).ok()? } else { 0 };
        let start = usize::try_from(base.checked_add(self.offset.get(variables))?).ok()?;
        if start >= buffer.len() && self.bytes > 0 {
            return None;
        }
        let field = buffer.get(start..start.checked_add(self.bytes)?)?;
        let Some(base) = self.text_base else {
            let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            let number = if self.little_endian {
                field.iter().rev().fold(0, fold)
            } else {
                field.iter().fold(0, fold)
            };
            return Some((self.masked(number), start + self.bytes));
        };
        let blank = field.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let mut digits = &field[blank..];
        if base == 16 && digits.len() > 2 && digits[0] == b'0' && digits[1].eq_ignore_ascii_case(&b'x') {
            digits = &digits[2..];
        }
        let skipped = field.len() - digits.len();
        let count = digits.iter().take_while(|byte| char::from(**byte).is_digit(base)).count();
        if count == 0 && self.bytes > 0 {
            return None;
        }
        let text = std::str::from_utf8(&digits[..count]).ok()?;
        let number = if count == 0 { 0 } else { u64::from_str_radix(text, base).ok()? };
        Some((self.masked(number), start + skipped + count))
    }

    fn masked(&self, number: u64) -> u64 {
        self.bitmask.map_or(number, |mask| (number & mask) >> mask.trailing_zeros().min(63))
    }
}

impl ByteTest {
    pub(crate) fn holds(&self, buffer: &[u8], position: usize, variables: &[u64]) -> bool {
        let Some((number, _)) = self.number.read(buffer, position, variables) else { return false };
        let value = u64::try_from(self.value.get(variables)).unwrap_or(0);
        let holds = match self.comparison {
            Comparison::Less => number < value,
            Comparison::LessOrEqual => number <= value,
            Comparison::Equal => number == value,
            Comparison::GreaterOrEqual => number >= value,
            Comparison::Greater => number > value,
            Comparison::And => number & value != 0,
            Comparison::Xor => number ^ value != 0,
        };
        holds != self.negated
    }
}

impl ByteJump {
    /// The place jumped to, within the buffer.
    pub(crate) fn target(&self, buffer: &[u8], position: usize, variables: &[u64]) -> Option<usize> {
        let (number, after) = self.number.read(buffer, position, variables)?;
        let mut distance = number.checked_mul(self.multiplier)?;
        if self.align {
            distance = distance.checked_next_multiple_of(4)?;
        }
        let distance = i64::try_from(distance).ok()?.checked_add(self.post_offset)?;
        let from = match self.from {
            JumpFrom::Here => after,
            JumpFrom::Beginning => 0,
            JumpFrom::End => buffer.len(),
        };
        let to = i64::try_from(from).ok()?.checked_add(distance)?.max(0);
        usize::try_from(to).ok().filter(|to| *to < buffer.len())
    }
}

impl ByteExtract {
    /// The value and the place after it.
    pub(crate) fn read(&self, buffer: &[u8], position: usize, variables: &[u64]) -> Option<(u64, usize)> {
        let (number, after) = self.number.read(buffer, position, variables)?;
        let number = number.checked_mul(self.multiplier)?;
        let number = if self.align > 1 { number.checked_next_multiple_of(self.align)? } else { number };
        Some((number, after))
    }
}

impl IsDataAt {
    pub(crate) fn holds(&self, buffer: &[u8], position: usize, variables: &[u64]) -> bool {
        let length = i64::try_from(buffer.len()).unwrap_or(i64::MAX);
        let at = self.at.get(variables);
        let there = if self.relative {
            i64::try_from(position).unwrap_or(i64::MAX).saturating_add(at) <= length
        } else {
            at < length
        };
        there != self.negated
    }
}

fn variable_or_number(draft: &Draft<'_>, text: &str) -> Result<Amount, String> {
    if let Some(number) = integer(text) {
        return Ok(Amount::Fixed(number));
    }
    let index = draft.variables.iter().position(|name| name == text);
    index
        .map(Amount::Variable)
        .ok_or_else(|| format!("`{text}` is neither a number nor read by byte_extract before"))
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<i64>().ok()?,
    };
    Some(if negative { -number } else { number })
}

/// Words that `byte_test`, `byte_jump` and `byte_extract` share. `Ok(false)`: the word is none of them.
fn number_word(number: &mut NumberAt, is_text: &mut bool, word: &str) -> Result<bool, String> {
    let mut words = word.split_whitespace();
    match (words.next().unwrap_or(""), words.next()) {
        ("relative", None) => number.relative = true,
        ("big", None) => number.little_endian = false,
        ("little", None) => number.little_endian = true,
        ("string", None) => {
            *is_text = true;
            number.text_base = Some(number.text_base.unwrap_or(10));
        }
        ("hex", None) => number.text_base = Some(16),
        ("dec", None) => number.text_base = Some(10),
        ("oct", None) => number.text_base = Some(8),
        ("bitmask", Some(mask)) => {
            let mask = integer(mask).and_then(|mask| u64::try_from(mask).ok()).filter(|mask| *mask != 0);
            number.bitmask = Some(mask.ok_or("the bitmask is no number above 0")?);
        }
        ("dce", None) => return Err("`dce` is not supported".into()),
        _ => return Ok(false),
    }
    Ok(true)
}

fn check(number: &NumberAt, is_text: bool, least: usize) -> Result<(), String> {
    let most = if is_text { 23 } else { 8 };
    if number.text_base.is_some() && !is_text {
        return Err("a base goes with `string`".into());
    }
    if (least..=most).contains(&number.bytes) {
        Ok(())
    } else {
        Err(format!("the number of bytes is not from {least} to {most}"))
    }
}

fn start(draft: &Draft<'_>, bytes: &str, offset: &str) -> Result<NumberAt, String> {
    let bytes = bytes
        .parse()
        .map_err(|_| format!("`{bytes}` is no fixed number of bytes, others are not supported"))?;
    let offset = variable_or_number(draft, offset)?;
    Ok(NumberAt { bytes, offset, relative: false, little_endian: false, text_base: None, bitmask: None })
}

fn byte_test(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let words: Vec<&str> = value(option)?.split(',').map(str::trim).collect();
    let [bytes, operator, value, offset, rest @ ..] = words.as_slice() else {
        return Err("write `byte_test:BYTES,OPERATOR,VALUE,OFFSET;`".into());
    };
    let mut number = start(draft, bytes, offset)?;
    let (negated, sign) = operator.strip_prefix('!').map_or((false, *operator), |rest| (true, rest.trim()));
    let comparison = match sign {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        "=" | "" => Comparison::Equal,
        ">=" => Comparison::GreaterOrEqual,
        ">" => Comparison::Greater,
        "&" => Comparison::And,
        "^" => Comparison::Xor,
        _ => return Err(format!("`{operator}` is no comparison")),
    };
    let value = variable_or_number(draft, value)?;
    let mut is_text = false;
    for word in rest {
        if !number_word(&mut number, &mut is_text, word)? {
            return Err(format!("`{word}` is not supported"));
        }
    }
    check(&number, is_text, 1)?;
    draft.push(PayloadMatch::ByteTest(ByteTest { number, comparison, negated, value }))
}

fn byte_jump(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let words: Vec<&str> = value(option)?.split(',').map(str::trim).collect();
    let [bytes, offset, rest @ ..] = words.as_slice() else {
        return Err("write `byte_jump:BYTES,OFFSET;`".into());
    };
    let number = start(draft, bytes, offset)?;
    let mut jump = ByteJump { number, multiplier: 1, align: false, from: JumpFrom::Here, post_offset: 0 };
    let mut is_text = false;
    for word in rest {
        if number_word(&mut jump.number, &mut is_text, word)? {
            continue;
        }
        let mut parts = word.split_whitespace();
        match (parts.next().unwrap_or(""), parts.next()) {
            ("align", None) => jump.align = true,
            ("from_beginning", None) => jump.from = JumpFrom::Beginning,
            ("from_end", None) => jump.from = JumpFrom::End,
            ("multiplier", Some(factor)) => {
                jump.multiplier = factor.parse().map_err(|_| format!("`{factor}` is no multiplier"))?;
            }
            ("post_offset", Some(amount)) => {
                jump.post_offset = integer(amount)
                    .filter(|amount| amount.abs() <= i64::from(u16::MAX))
                    .ok_or_else(|| format!("`{amount}` is no offset from -65535 to 65535"))?;
            }
            _ => return Err(format!("`{word}` is not supported")),
        }
    }
    check(&jump.number, is_text, 0)?;
    draft.push(PayloadMatch::ByteJump(jump))
}

fn byte_extract(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let words: Vec<&str> = value(option)?.split(',').map(str::trim).collect();
    let [bytes, offset, name, rest @ ..] = words.as_slice() else {
        return Err("write `byte_extract:BYTES,OFFSET,NAME;`".into());
    };
    let number = start(draft, bytes, offset)?;
    let known = draft.variables.iter().position(|known| known == name);
    let variable = known.unwrap_or(draft.variables.len());
    if variable >= MAX_VARIABLES {
        return Err(format!("a rule reads at most {MAX_VARIABLES} values"));
    }
    let mut extract = ByteExtract { number, variable, multiplier: 1, align: 1 };
    let mut is_text = false;
    for word in rest {
        if number_word(&mut extract.number, &mut is_text, word)? {
            continue;
        }
        let mut parts = word.split_whitespace();
        match (parts.next().unwrap_or(""), parts.next()) {
            ("multiplier", Some(factor)) => {
                extract.multiplier = factor.parse().map_err(|_| format!("`{factor}` is no multiplier"))?;
            }
            ("align", Some("2")) => extract.align = 2,
            ("align", Some("4")) => extract.align = 4,
            _ => return Err(format!("`{word}` is not supported")),
        }
    }
    check(&extract.number, is_text, 1)?;
    if known.is_none() {
        draft.variables.push((*name).to_owned());
    }
    draft.push(PayloadMatch::ByteExtract(extract))
}

fn is_data_at(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = unquoted(value(option)?).trim();
    let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
    let mut words = text.split(',').map(str::trim);
    let at = variable_or_number(draft, words.next().unwrap_or(""))?;
    let mut relative = false;
    for word in words {
        match word {
            "relative" => relative = true,
            "rawbytes" => {}
            _ => return Err(format!("`{word}` is neither relative nor rawbytes")),
        }
    }
    draft.push(PayloadMatch::IsDataAt(IsDataAt { at, relative, negated }))
}
