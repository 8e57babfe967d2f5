//! The lab: load on a server, and what it measures.
//!
//! ```text
//!   lab load   persistent connections, paced viewers, every distribution     load
//!   lab web    a connection for every request                                load
//!   lab dns    queries over UDP and TCP                                      dns
//!   lab fig    the dissertation's figures, measured again; lab report        figures
//!   lab soak   a server for hours while everything goes wrong in turns      soak
//!   --serve    the server too, in namespaces that end with the run           ground
//! ```
//!
//! A library, so that benches ask with the same clients.

pub mod device;
pub mod dns;
pub mod error;
pub mod figures;
pub mod ground;
pub mod load;
pub mod soak;
pub mod uncore;
pub mod values;
