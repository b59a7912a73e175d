//! Bounds of the expression language, by name.

/// Bytes of an expression.
pub const MAX_EXPRESSION: usize = 64 * 1024;
/// Depth of brackets, calls and conditionals in an expression.
pub const MAX_NESTING: usize = 80;
/// Height of the tree of an expression; `a + b + c` is one higher than `a + b`. `and` and `or` do not count.
pub const MAX_HEIGHT: usize = 200;
/// Variables that `let` makes in one expression.
pub const MAX_VARIABLES: usize = 64;
/// What one run may cost: a step per operation, and one more for each [`BYTES_PER_STEP`] bytes of text or elements of a
/// list that it looks at. Beyond, the run ends with a [`Problem`](super::Problem).
pub const MAX_STEPS: u32 = 100_000;
/// Bytes that count as one step.
pub const BYTES_PER_STEP: usize = 64;
/// Elements of a list that are compared with a value in one step.
pub const ELEMENTS_PER_STEP: usize = 16;
/// Bytes of a text that an expression makes.
pub const MAX_TEXT: usize = 256 * 1024;
/// Elements of a list that an expression makes.
pub const MAX_LIST: usize = 20_000;
/// Depth of JSON and XML that is read, and of values that are compared or written.
pub const MAX_DEPTH: usize = 64;
/// Bytes of a pattern that stands in an expression.
pub const MAX_PATTERN: usize = 16 * 1024;
/// Bytes a pattern may take once compiled.
pub const MAX_COMPILED: usize = 2 * 1024 * 1024;
/// Bytes that the whole automaton of a pattern may take for it to run on texts of any length.
pub const MAX_AUTOMATON: usize = 512 * 1024;
/// Bytes of a text that other patterns run on.
pub const MAX_UNSTEADY_TEXT: usize = 512;
/// Bytes of a pattern that is only known when the expression runs (`x matches evt.Parsed.y`).
pub const MAX_LATE_PATTERN: usize = 256;
/// Bytes such a pattern may take once compiled.
pub const MAX_LATE_COMPILED: usize = 32 * 1024;
/// Steps that compiling such a pattern costs.
pub const LATE_PATTERN_STEPS: u32 = 5_000;
/// Characters of the set that `Trim` and the like take away.
pub const MAX_SET: usize = 256;
/// Bytes of a name times bytes of its pattern that `Match` compares.
pub const MAX_GLOB: usize = 1_000_000;
/// Attributes of an XML element.
pub const MAX_ATTRIBUTES: usize = 256;
/// Elements of an XML document.
pub const MAX_ELEMENTS: u32 = 10_000;
