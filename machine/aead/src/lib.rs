//! aws-lc-rs behind the record layer's Aead.
