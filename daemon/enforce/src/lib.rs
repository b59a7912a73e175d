//! enforce: to be written.
