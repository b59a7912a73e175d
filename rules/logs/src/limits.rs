//! Every bound of this crate, by name.

/// Bytes of a line that are judged. What stands behind is not looked at, and a pattern that must see the end of the
/// line does not match, so that cutting cannot change who a line is about.
pub const MAX_LINE: usize = 64 * 1024;
/// Bytes of a message (or of a field of a JSON line) whose groups are looked for by a pattern that leaves open which byte
/// belongs to which group, such as `(?<user>.*) from <ip>`. What is longer is not judged, and counted as oversized, so
/// that no line costs more than a millisecond.
pub const MAX_AMBIGUOUS: usize = 8 * 1024;
/// Bytes of a definition file.
pub const MAX_FILE: usize = 256 * 1024;
/// Patterns of one filter.
pub const MAX_PATTERNS: usize = 128;
/// Bytes of one pattern after its parts were put in.
pub const MAX_PATTERN: usize = 8 * 1024;
/// Bytes one compiled pattern may take; `x{1000}{1000}` is refused.
pub const MAX_COMPILED: usize = 1024 * 1024;
/// Bytes the patterns of one filter may take together.
pub const MAX_COMPILED_SET: usize = 8 * 1024 * 1024;
/// Depth of groups in a pattern.
pub const MAX_NESTING: u32 = 64;
/// Named fields of one filter.
pub const MAX_FIELDS: usize = 32;
/// Scenarios of a library.
pub const MAX_SCENARIOS: usize = 512;
/// Filters of a library.
pub const MAX_FILTERS: usize = 256;
/// Largest capacity of a bucket; also bounds the distinct values it remembers.
pub const MAX_CAPACITY: u32 = 10_000;
/// Lines a `message repeated N times` counts for at most.
pub const MAX_REPEAT: u32 = 1_000;
/// Bytes of the group-by fields that tell buckets apart beside the address.
pub const MAX_GROUP: usize = 256;
/// Bytes of a value that are decoded for a `decoded` condition.
pub const MAX_DECODED: usize = 8 * 1024;
/// Log sources of one engine.
pub const MAX_SOURCES: usize = 1_024;

/// Bounds an engine is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Buckets held at once. When full, drained buckets go first, then those that would drain soonest; counted.
    pub buckets: usize,
    /// Bytes of lines kept as evidence, all buckets together. When full, the oldest lines go.
    pub evidence: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { buckets: 32_768, evidence: 4 * 1024 * 1024 }
    }
}
