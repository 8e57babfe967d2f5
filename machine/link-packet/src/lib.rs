//! A packet socket as a link.
