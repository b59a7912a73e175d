//! kernel-tests: to be written.
