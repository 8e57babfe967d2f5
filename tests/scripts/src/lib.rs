//! Conversations of TCP, and of DNS (in [`rpl`]), written as an RFC would.
//!
//! ```text
//! // RFC 5681 §3.2: three duplicate ACKs are a lost segment.
//! config  sack=off timestamps=off congestion=newreno
//! +0      <  S   0:0 win 65535 <mss 1000>
//! +0      >  S.  0:0 ack 1
//! +0.1    <  .   1:1 ack 1 win 65535
//! +0      write 3000
//! +0      >  .   1:1001 ack 1
//! …
//! ```
//!
//! A line says how much later something happens (`+seconds`), and what: `<` a segment arrives, `>` a segment leaves, or
//! what the owner does. Numbers are relative to each side's SYN, which is 0. What leaves must leave in this order, at
//! this time, within [`TOLERANCE`](player::TOLERANCE); what is not written about a segment is not compared; and nothing may leave that is not
//! written. Superframes are written as the segments that they become.
//!
//! | line | means |
//! |---|---|
//! | `config KEY=VALUE …` | before anything else: `sack`, `timestamps`, `pacing` (`on`, `off`), `congestion`, `mss` |
//! | `connect` | we open; otherwise the first `<` opens |
//! | `< FLAGS FROM:TO [ack N] [win N] [<OPTIONS>]` | flags of `S F R P .`, options `mss N`, `wscale N`, `sackOK`, `sack A:B …`, `ts V E` |
//! | `> …` | the same, of ours; `> nothing` says that all has been said |
//! | `write N`, `finish`, `abort` | the owner has N more bytes, no more bytes, had enough |
//! | `read off`, `read on` | the owner's buffer is full, or empty |
//! | `state NAME` | as RFC 9293 §3.3.2 spells it |
//! | `delivered N` | bytes that the owner was given so far |

#![forbid(unsafe_code)]

pub mod player;
pub mod rpl;
pub mod script;

#[cfg(test)]
mod tests;
