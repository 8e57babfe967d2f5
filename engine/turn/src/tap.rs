//! A tap on the link: whoever wants to look sees each packet once, on its way in or out.
//!
//! ```text
//!   link ──receive──▶ [tap] ──▶ stack, tcp … ──▶ stage ──▶ [tap] ──▶ link
//! ```
//!
//! What is seen is what the engine sees: merged segments as one packet on the way in, superframes before they are cut
//! and before checksums are filled in on the way out. A packet that the link refuses is seen when it was made and not
//! again when it is offered again. Without a tap a packet costs one comparison.

use clock::Instant;
use platform::Part;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To us.
    In,
    /// From us.
    Out,
}

/// A packet in passing, borrowed for the call.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// When, as read at the beginning of the turn's step: packets of one step have one time, and their order.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// From the Ethernet header on: all of a packet that arrived, and of a short one; else its headers.
    pub headers: &'a [u8],
    /// The payload behind the headers, where it lies in frames.
    pub parts: &'a [Part],
    /// The payload behind the headers, where it lies in the link's slot.
    pub slot: &'a [u8],
}

impl Passing<'_> {
    /// How long the packet is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.headers.len() + self.pieces().map(<[u8]>::len).sum::<usize>()
    }

    /// The payload behind the headers, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Part::bytes).chain((!self.slot.is_empty()).then_some(self.slot))
    }
}

/// Who looks. Called within a turn: it must not block, and should not allocate.
pub trait Tap {
    /// A packet passes.
    fn on_packet(&mut self, packet: &Passing<'_>);
}
