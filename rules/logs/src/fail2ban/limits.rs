//! Every bound of the Fail2ban dialect, by name.

/// Bytes of a configuration file. A longer one is an error.
pub const MAX_FILE: usize = 1024 * 1024;
/// Files that one filter or `jail` may be read from, with everything they include.
pub const MAX_FILES: usize = 256;
/// Depth of `before`/`after`, and of `%(x)s` in `%(y)s`.
pub const MAX_DEPTH: usize = 16;
/// Bytes of a value after `%(x)s` and `<x>` were put in.
pub const MAX_VALUE: usize = 256 * 1024;
/// How many `%(x)s`, and how many `<x>`, are put into one value.
pub const MAX_INSERTIONS: usize = 5_000;
/// How often one `<x>` may be put into a value before it counts as endless.
pub const MAX_SUBSTITUTIONS: usize = 25;
/// Bytes of a regex after everything was put in.
pub const MAX_REGEX: usize = 64 * 1024;
/// Regexes of one filter: `failregex`, `ignoreregex` or date patterns, each.
pub const MAX_REGEXES: usize = 512;
/// Depth of groups in a regex.
pub const MAX_NESTING: usize = 64;
/// Largest count in `{m,n}`.
pub const MAX_COUNT: u32 = 1_000;
/// Instructions of a regex that is matched by backtracking.
pub const MAX_PROGRAM: usize = 50_000;
/// Bytes that the automaton of one regex may take.
pub const MAX_AUTOMATON: usize = 8 * 1024 * 1024;
/// Steps that backtracking takes for one search before it starts to remember where it has been.
pub const FREE_STEPS: u32 = 2_000;
/// Steps that backtracking takes for one search at all; then the regex counts as not matched.
pub const MAX_STEPS: u32 = 60_000;
/// Steps that backtracking takes for one line, over all regexes of a filter.
pub const MAX_STEPS_OF_LINE: u32 = 120_000;
/// Bits for remembering where backtracking has been; without room it goes on without, up to [`MAX_STEPS`].
pub const MAX_VISITED: usize = 8 * 1024 * 1024;
/// Bytes of a line. A longer one is not judged, but counted.
pub const MAX_LINE: usize = 16 * 1024;
/// Largest `maxlines`.
pub const MAX_LINES: usize = 1_000;
/// Bytes that the lines kept for `maxlines` may take together; the oldest go first.
pub const MAX_BUFFER: usize = 256 * 1024;
/// Connections (`<F-MLFID>`) whose lines are remembered. When full, the one not heard of for longest is forgotten.
pub const MAX_CONNECTIONS: usize = 2_048;
/// Seconds after which a connection is forgotten if nothing more is heard of it.
pub const CONNECTION_SECONDS: i64 = 300;
/// Users that are remembered of one connection.
pub const MAX_USERS: usize = 16;
/// Bytes of a value that are remembered of a connection, and of a line that is kept as evidence; what stands behind is
/// cut off. A connection whose id is longer is not remembered.
pub const MAX_REMEMBERED: usize = 1_024;
/// Lines that are kept as evidence of one failure, and of one address in a jail; the last ones.
pub const MAX_MATCHES: usize = 16;
/// Bytes of lines that one jail keeps as evidence. When full, failures are counted without their lines.
pub const MAX_EVIDENCE: usize = 16 * 1024 * 1024;
/// Addresses that one jail counts failures of. When full, the one whose last failure is the oldest is forgotten.
pub const MAX_ADDRESSES: usize = 100_000;
/// Jails of a configuration.
pub const MAX_JAILS: usize = 1_024;
/// Bytes of a file of sample lines.
pub const MAX_SAMPLES: usize = 16 * 1024 * 1024;
/// Option sets that a file of sample lines may ask for at once.
pub const MAX_OPTION_SETS: usize = 64;
