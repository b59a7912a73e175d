//! Named limits of list files and of what is built from them. What happens at each is said beside it.

/// Bytes of a list file. A larger one is refused as a whole.
pub const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a line. A longer one is rejected; the rest of the file is read.
pub const MAX_LINE_BYTES: usize = 4096;
/// Rejected lines that are kept with number and reason; further ones are only counted.
pub const MAX_KEPT_REJECTS: usize = 100;
/// Characters of a rejected line that are kept.
pub const MAX_REJECT_TEXT: usize = 80;
/// Domain lists of one set, entries of the config and services of each group included. The builder refuses more.
pub const MAX_DOMAIN_LISTS: usize = 1024;
/// Zone files of response policies in one set. The builder refuses more.
pub const MAX_ZONE_FILES: usize = 64;
/// Names of one set, all lists together (about 40 bytes each). The list that would go beyond is refused as a whole.
pub const MAX_DOMAINS: usize = 2_000_000;
/// Entries with conditions, records or networks in one set. The list that would go beyond is refused as a whole.
pub const MAX_EXTRAS: usize = 200_000;
/// Entries with conditions about one name in one file: each question for the name is held against all of them. A further
/// one is rejected.
pub const MAX_CONDITIONED: usize = 64;
/// Records of one entry; further ones are left out.
pub const MAX_RECORDS: usize = 64;
/// Entries whose records answer one name together. Further ones say nothing.
pub const MAX_JOINED: usize = 4;
/// Expressions of one set. The list that would go beyond is refused as a whole.
pub const MAX_REGEXES: usize = 10_000;
/// Bytes of one expression. A longer one is rejected.
pub const MAX_REGEX_BYTES: usize = 1024;
/// Groups in each other in one expression. A deeper one is rejected.
pub const MAX_REGEX_DEPTH: u32 = 64;
/// Bytes of the automaton of one expression. A larger one is rejected.
pub const MAX_REGEX_STATES: usize = 32 * 1024;
/// Bytes of the automata of all expressions. The list that would go beyond is refused as a whole; within one file the
/// expressions beyond it are rejected without a look, so that no file costs more time than this takes.
pub const MAX_REGEX_TOTAL: usize = 16 * 1024 * 1024;
/// Expressions that are tried where one literal stands in a name. Further ones with no other literal are held against every
/// name, with those that have none.
pub const MAX_REGEX_SHARED: usize = 16;
/// Expressions behind literals that are tried for one name. A name in which the literals of more stand was made for that;
/// further ones are not tried for it.
pub const MAX_REGEX_TRIED: usize = 256;
/// Bytes of the automata of those expressions that every name is held against. The list that would go beyond is refused as a
/// whole; within one file the expressions beyond it are rejected by line.
pub const MAX_REGEX_TOGETHER: usize = 1024 * 1024;
/// Bytes that each lazy automaton may fill while it runs, for each search at a time; it begins anew when they are full.
pub const MAX_REGEX_CACHE: usize = 2 * 1024 * 1024;
/// Entries of one address list. A longer list is refused as a whole.
pub const MAX_ADDRESSES: usize = 1_000_000;
/// Prefixes of all address lists together; what the kernel's image of a generation holds beside them is small.
pub const MAX_MERGED_ADDRESSES: usize = abi::MAX_LISTED as usize;
/// A file with at least this many rejects and more rejects than entries is not a list of this kind.
pub const MOSTLY_REJECTED_FROM: u64 = 100;
/// Lists that had fewer entries before may change as they like; see [`crate::guard`].
pub const GUARD_FROM_ENTRIES: u64 = 1000;
/// IPv4 prefixes shorter than this are refused in an address list.
pub const MIN_PREFIX_V4: u8 = 8;
/// IPv6 prefixes shorter than this are refused in an address list.
pub const MIN_PREFIX_V6: u8 = 16;
/// Standing orders about names that are held; further ones are counted as not in force.
pub const MAX_OVERRIDES: usize = 65_536;
/// Columns of a table that are looked at; further ones are not seen.
pub const MAX_COLUMNS: usize = 256;
/// Bytes of the name of a column or of a JSON path.
pub const MAX_FIELD_NAME: usize = 64;
/// Prefixes into which a range `a-b` may fall (an IPv4 range never needs more). An IPv6 range beyond it is rejected.
pub const MAX_RANGE_PREFIXES: usize = 64;
