//! Named limits of what is imported. Whatever is longer is refused with its name and size: half a migration is worse
//! than none.

/// Bytes of an archive as it is on disk.
pub const MAX_ARCHIVE_BYTES: usize = 256 << 20;
/// Bytes of everything in an archive when it is unpacked, whatever the archive says about itself.
pub const MAX_UNPACKED_BYTES: u64 = 512 << 20;
/// Files in an archive.
pub const MAX_MEMBERS: usize = 4096;
/// Bytes of a `gravity.db`: one with several million names has about half of it.
pub const MAX_DATABASE_BYTES: usize = 1 << 30;
/// Bytes of any other file.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// Rows of one table of a database.
pub const MAX_ROWS: usize = 200_000;
/// Bytes of the cells of one table of a database; in one that was made to they share their pages.
pub const MAX_TABLE_BYTES: usize = 64 << 20;
/// Bytes of one cell of a database.
pub const MAX_CELL_BYTES: i32 = 1 << 20;
/// Steps of SQLite's machine for all tables together; a database made to be slow is given up on.
pub const MAX_DATABASE_STEPS: u64 = 200_000_000;
/// Values of a YAML file, those that aliases repeat counted each time.
pub const MAX_NODES: usize = 2_000_000;
/// Bytes of the texts of a YAML file that anchors keep and aliases repeat.
pub const MAX_REPEATED_BYTES: usize = MAX_TEXT_BYTES;
/// Levels of a YAML file.
pub const MAX_DEPTH: usize = 64;
/// Groups, `default` included, as many as a config may have.
pub const MAX_GROUPS: usize = lists::MAX_GROUPS;
/// Clients, as many as a config may have.
pub const MAX_CLIENTS: usize = lists::MAX_CLIENTS;
/// Lists that are fetched. A config may have 256: some are left for files of own rules and for those that it has.
pub const MAX_LISTS: usize = 192;
/// Files of own rules, one for each set of groups and each language. Rules of further sets are left, and told.
pub const MAX_OWN_FILES: usize = 48;
/// Servers of one kind, as many as a config may have.
pub const MAX_SERVERS: usize = 64;
/// Forwards of names, as many as a config may have.
pub const MAX_FORWARDS: usize = 256;
/// Names that have records, as many as a config may have.
pub const MAX_RECORDS: usize = 10_000;
/// Records of one name, as many as a config may have.
pub const MAX_VALUES: usize = 64;
/// Services that one client may block, as many as a config may have.
pub const MAX_SERVICES: usize = 512;
/// Lines of each part of the report; what is beyond is told in one more.
pub const MAX_TOLD: usize = 10_000;
/// Characters of a comment that are kept.
pub const MAX_COMMENT: usize = 200;
/// Characters of a name that is made of a comment or address.
pub const MAX_NAME: usize = 32;
/// Names that one reverse network may need; a network that needs more is widened to the next whole label.
pub const MAX_REVERSE_NAMES: u32 = 16;
/// Things that are named one by one in one line of the report; of more the first are named and the rest is counted.
pub const MOST_NAMED: usize = 8;
