//! loki-receiver: to be written.
