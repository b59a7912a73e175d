//! secctl: to be written.
