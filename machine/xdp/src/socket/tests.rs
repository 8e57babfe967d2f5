//! The socket against a kernel.
