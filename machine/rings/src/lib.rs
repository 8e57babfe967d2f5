//! The cursor of a shared-memory ring.
