//! Bounds of CrowdSec's parsers, by name.

/// Bytes of a parser file.
pub const MAX_FILE: usize = 512 * 1024;
/// Values of a parser file, those that aliases repeat counted each time.
pub const MAX_VALUES: usize = 50_000;
/// Levels of a parser file.
pub const MAX_LEVELS: usize = 48;
/// Bytes of texts that anchors of a file keep and aliases repeat.
pub const MAX_REPEATED: usize = MAX_FILE;
/// Nodes of a pipeline, those in nodes counted.
pub const MAX_NODES: usize = 20_000;
/// Depth of nodes in nodes.
pub const MAX_NODE_DEPTH: usize = 16;
/// Named grok patterns.
pub const MAX_PATTERNS: usize = 10_000;
/// Bytes of a grok pattern with its patterns put in.
pub const MAX_GROK: usize = 128 * 1024;
/// Depth of patterns in patterns.
pub const MAX_GROK_DEPTH: usize = 32;
/// Bytes a grok pattern may take once compiled.
pub const MAX_GROK_COMPILED: usize = 4 * 1024 * 1024;
/// Bytes that all grok patterns of a pipeline may take compiled. The hub's parsers take about a tenth.
pub const MAX_GROKS_COMPILED: usize = 256 * 1024 * 1024;
/// Bytes of a data file.
pub const MAX_DATA_FILE: usize = 16 * 1024 * 1024;
/// Lines of a data file.
pub const MAX_DATA_LINES: usize = 500_000;
/// Expressions of a data file of expressions, and bytes that one may take compiled.
pub const MAX_DATA_EXPRESSIONS: usize = 10_000;
/// Bytes an expression of a data file may take once compiled.
pub const MAX_DATA_COMPILED: usize = 1024 * 1024;
/// Bytes that the expressions of one data file may take compiled.
pub const MAX_DATA_COMPILED_ALL: usize = 64 * 1024 * 1024;
/// Values a stash holds at most, whatever its `size` says.
pub const MAX_STASH: usize = 100_000;
/// Bytes of keys and values that one stash holds. When it is full of them, what would go next goes earlier.
pub const MAX_STASH_BYTES: usize = 8 * 1024 * 1024;
/// Stashes of a pipeline.
pub const MAX_STASHES: usize = 64;
/// Bytes of a key or value of a stash; longer ones are not kept.
pub const MAX_STASHED: usize = 16 * 1024;
/// Fields that one event has in one of its maps; beyond, new names are dropped.
pub const MAX_EVENT_FIELDS: usize = 2_048;
/// Bytes of a line that goes through the stages. A longer one does not pass: what it says at its end could not be
/// judged, and what it says before could be another's.
pub const MAX_LINE: usize = 64 * 1024;
/// Bytes of a text that a grok looks at; it does not match a longer one. Lines of that length hold JSON or XML, which
/// functions read; a grok that matches takes up to a tenth of a microsecond a byte, and a line has a millisecond.
pub const MAX_GROKKED: usize = 8 * 1024;
