//! TLS records, sealed where they lie.
