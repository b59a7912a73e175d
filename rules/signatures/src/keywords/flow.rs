//! `flow`: direction and state of the flow that a packet belongs to.

use super::{Draft, Read, value};
use crate::rule::FlowDirection;
use crate::syntax::RawOption;

/// What the flow must be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowTest {
    /// Which way the packet goes.
    pub direction: Option<FlowDirection>,
    /// Both sides were seen, or must not have been.
    pub established: Option<bool>,
    /// Without a look at the state; packets without a flow match too.
    pub stateless: bool,
    /// Only reassembled bytes, or only bytes of packets.
    pub reassembled: Option<bool>,
    /// Only packets that were put together from fragments, or only others.
    pub fragment: Option<bool>,
}

impl FlowTest {
    /// Whether it asks nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[("flow", flow)];

fn flow(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    for word in value(option)?.split(',').map(str::trim) {
        let test = &mut draft.flow;
        let again = match word.to_ascii_lowercase().as_str() {
            "to_server" | "from_client" => test.direction.replace(FlowDirection::ToServer).is_some(),
            "to_client" | "from_server" => test.direction.replace(FlowDirection::ToClient).is_some(),
            "established" => test.established.replace(true).is_some() || test.stateless,
            "not_established" => test.established.replace(false).is_some() || test.stateless,
            "stateless" => std::mem::replace(&mut test.stateless, true) || test.established.is_some(),
            "only_stream" => test.reassembled.replace(true).is_some(),
            "no_stream" => test.reassembled.replace(false).is_some(),
            "only_frag" => test.fragment.replace(true).is_some(),
            "no_frag" => test.fragment.replace(false).is_some(),
            _ => return Err(format!("`{word}` is no flow condition")),
        };
        if again {
            return Err(format!("`{word}` contradicts or repeats what stands before it"));
        }
    }
    match draft.flow.reassembled {
        Some(true) => draft.needs_stream = true,
        Some(false) => draft.needs_packet = true,
        None => {}
    }
    Ok(())
}
