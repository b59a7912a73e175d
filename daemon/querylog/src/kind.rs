//! What is known of an answer besides names and numbers, as one number of a row:
//! `from` (4 bits), `action` (2), validated (1), who decided (3), answer code (12).

use model::{AnswerCode, AnswerFrom, EventAction};

/// Who decided, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByKind {
    Nobody,
    ListBlocks,
    ListAllows,
    DecisionBlocks,
    DecisionAllows,
    Rebinding,
}

const BY_KINDS: [ByKind; 6] = [
    ByKind::Nobody,
    ByKind::ListBlocks,
    ByKind::ListAllows,
    ByKind::DecisionBlocks,
    ByKind::DecisionAllows,
    ByKind::Rebinding,
];

const ACTIONS: [EventAction; 4] =
    [EventAction::Pass, EventAction::Sinkhole, EventAction::Observe, EventAction::Drop];

/// The parts of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) from: AnswerFrom,
    pub(crate) action: EventAction,
    pub(crate) secure: bool,
    pub(crate) by: ByKind,
    /// 12 bits.
    pub(crate) code: AnswerCode,
}

impl Kind {
    pub(crate) fn pack(self) -> u32 {
        let action = match self.action {
            EventAction::Pass
            | EventAction::Ban
            | EventAction::Lift
            | EventAction::Allow
            | EventAction::Alert => 0,
            EventAction::Sinkhole => 1,
            EventAction::Observe => 2,
            EventAction::Drop | EventAction::Reject => 3,
        };
        self.from as u32
            | action << 4
            | u32::from(self.secure) << 6
            | (self.by as u32) << 7
            | u32::from(self.code.0 & 0xfff) << 10
    }

    /// The parts of a number; of bits that this version does not know, the first word.
    pub(crate) fn unpack(packed: u32) -> Self {
        let bits = |from: u32, mask: u32| (packed >> from & mask) as usize;
        Self {
            from: Self::from(packed),
            action: ACTIONS.get(bits(4, 3)).copied().unwrap_or(EventAction::Pass),
            secure: bits(6, 1) == 1,
            by: BY_KINDS.get(bits(7, 7)).copied().unwrap_or(ByKind::Nobody),
            code: AnswerCode(u16::try_from(bits(10, 0xfff)).unwrap_or_default()),
        }
    }

    /// Where the answer came from alone: what sums ask of every row.
    pub(crate) fn from(packed: u32) -> AnswerFrom {
        AnswerFrom::ALL.get((packed & 15) as usize).copied().unwrap_or(AnswerFrom::Nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for from in AnswerFrom::ALL {
            for action in ACTIONS {
                for by in BY_KINDS {
                    for (secure, code) in [(false, 0), (true, 3), (true, 4095)] {
                        let kind = Kind { from, action, secure, by, code: AnswerCode(code) };
                        assert_eq!(Kind::unpack(kind.pack()), kind);
                        assert_eq!(Kind::from(kind.pack()), from);
                    }
                }
            }
        }
        assert_eq!(Kind::unpack(u32::MAX).from, AnswerFrom::Nobody);
    }
}
