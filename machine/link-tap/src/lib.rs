//! A TAP device as a link.
