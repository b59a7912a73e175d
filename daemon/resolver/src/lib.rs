//! resolver: to be written.
