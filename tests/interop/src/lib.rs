//! Real clients against the real server, in network namespaces of their own.
//!
//! ```text
//! ┌─ namespace of one test ───────────────────────────────────────────┐
//! │  curl, openssl, ffmpeg, chromium, wrk, sockets ──▶ kernel ──▶ TAP ──▶ atlas, sandstorm
//! │  dig ──▶ kernel ──▶ TAP, packet socket ──▶ namestorm
//! └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Every byte received is compared with the file it came from. The tests are ignored by `cargo test`, and run by
//! `cargo xtask test namespaces`, which builds the servers first and names them in `ATLAS_BIN`, `SANDSTORM_BIN` and
//! `NAMESTORM_BIN`. What Atlas and Sandstorm both promise is asked twice: the second time with `INTEROP_SERVER=sandstorm`.
//!
//! * `harness` – a namespace, a server, files with known bytes, processes with a deadline;
//! * `clients` – one file per real client, named after its program;
//! * `links` – the same promises on every link that a server can have on an interface;
//! * `beside` – life beside the kernel, at its own addresses;
//! * `distance` – a long path with losses, between the kernel's TCP and ours;
//! * `sockets` – what no well-behaved client sends;
//! * `lifecycle` – start, drain, reload, idle;
//! * `loss` – links that vanish, come back and change their MTU, under downloads;
//! * `operator` – one line for every mistake, and life without root;
//! * `multitude` – very many zones of Namestorm's, and one that is very large;
//! * `questions` – Namestorm on every link, asked by three clients and by datagrams that no client sends;
//! * `query_log` – questions written down, read by others' programs;
//! * `steering` – answers by client and by the health of targets;
//! * `sandstorm` – what only Sandstorm promises: three ways of copying, reloads, changing files, storms;
//! * `storms` – half-open connections, resets and readers that do not read, beside real clients;
//! * `visible` – lists of connections, and a live screen;
//! * `privileges` – what a running server has given up, and what it can do all the same;
//! * `transfers` – Namestorm's zones to and from NSD and Knot;
//! * `together` – what happens at the same moment.

#![forbid(unsafe_code)]

#[cfg(test)]
mod beside;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod distance;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod links;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod multitude;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod privileges;
#[cfg(test)]
mod query_log;
#[cfg(test)]
mod questions;
#[cfg(test)]
mod sandstorm;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod together;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod visible;
