//! secd: to be written.
