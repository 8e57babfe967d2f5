//! Two rings in one process as a link.
