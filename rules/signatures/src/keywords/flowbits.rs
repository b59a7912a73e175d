//! `flowbits`: marks that rules leave on a flow for other rules.

use super::{Draft, Read, value};
use crate::limits::MAX_FLOW_BITS;
use crate::syntax::RawOption;

/// What is done with the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FlowBitOperation {
    Set,
    Unset,
    Toggle,
    /// One of them must be set.
    IsSet,
    /// One of them must not be set.
    IsNotSet,
}

impl FlowBitOperation {
    /// Whether it changes marks and asks for none.
    pub(crate) const fn only_sets(self) -> bool {
        match self {
            Self::Set | Self::Unset | Self::Toggle => true,
            Self::IsSet | Self::IsNotSet => false,
        }
    }
}

/// One `flowbits` option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowBitOption {
    pub operation: FlowBitOperation,
    pub bits: Vec<u16>,
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[("flowbits", flowbits)];

fn flowbits(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = value(option)?;
    if text == "noalert" {
        draft.meta.silent = true;
        return Ok(());
    }
    let (operation, names) =
        text.split_once(',').ok_or("write `flowbits:set,NAME;` or `flowbits:noalert;`")?;
    let operation = match operation.trim() {
        "set" => FlowBitOperation::Set,
        "unset" => FlowBitOperation::Unset,
        "toggle" => FlowBitOperation::Toggle,
        "isset" => FlowBitOperation::IsSet,
        "isnotset" => FlowBitOperation::IsNotSet,
        other => return Err(format!("`{other}` is not set, unset, toggle, isset, isnotset or noalert")),
    };
    let mut bits = Vec::new();
    for name in names.split('|').map(str::trim) {
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("`{name}` is no name of a flow bit"));
        }
        let next = draft.names.flowbits.len();
        let id = match draft.names.flowbits.get(name) {
            Some(id) => *id,
            None if next < MAX_FLOW_BITS => {
                let id = u16::try_from(next).unwrap_or(u16::MAX);
                draft.names.flowbits.insert(name.to_owned(), id);
                id
            }
            None => return Err(format!("more than {MAX_FLOW_BITS} flow bits")),
        };
        bits.push(id);
    }
    draft.flowbits.push(FlowBitOption { operation, bits });
    Ok(())
}
