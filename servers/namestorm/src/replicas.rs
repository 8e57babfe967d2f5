//! Answers that lie ready as messages, each in a frame of its own: the pre-copy of the dissertation (§3.2.3). Header,
//! question and the headers of the packet are written anew for each question, the records stay.
//!
//! ```text
//!   answer (node, type, DO, EDNS)   asked for once ─▶ known       again ─▶ a replica is made
//!     replica 0   |  room, packet headers | header, question | records, OPT |   on its way: the link holds the frame
//!     replica 1   |  room, packet headers | header, question | records, OPT |   back: it may be written again
//!     …           as many as questions for it wait together, up to a high-water mark
//! ```
//!
//! Whoever asks chooses which answers are known: there is room for so many, one that falls into the place of another
//! takes it, and where no frame is left the answer is copied as if there were no replicas. The engine's streams keep their
//! share of the frames.

use crate::zone::NodeRef;
use core::fmt;
use dma::{Frame, Pool, SMALL_BYTES, SharedFrame};
use dns::Rtype;
use platform::Part;

/// Replicas of one answer: what a worker answers before its link is emptied.
const HIGH_WATER: usize = 64;
/// Places for each frame, so that few answers fall into the place of another.
const PLACES_FOR_EACH_FRAME: usize = 4;
/// Where messages begin in their frames: room for the headers of any packet.
const MESSAGE_AT: usize = 128;
const _: () = assert!(datagram::HEADERS_BYTES_MAX <= MESSAGE_AT);

/// Which answer, of the catalogue in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its zone's place.
    pub(crate) zone: u32,
    /// Its name.
    pub(crate) node: NodeRef,
    /// Its type.
    pub(crate) qtype: Rtype,
    /// With signatures.
    pub(crate) dnssec: bool,
    /// With an OPT record.
    pub(crate) edns: bool,
}

/// Ready messages of one worker.
pub(crate) struct Replicas {
    pool: Pool,
    /// Small frames that are left to others.
    reserve: usize,
    places: Box<[Place]>,
    open: Option<Open>,
}

#[derive(Default)]
struct Place {
    of: Option<Answer>,
    replicas: Vec<Option<SharedFrame>>,
    /// Behind the one that was given last: packets leave in order, so it is the next to come back.
    next: usize,
}

/// A replica that is being written.
struct Open {
    place: usize,
    index: usize,
    frame: Frame,
    bytes: usize,
}

impl Place {
    fn is_back(&self, index: usize) -> bool {
        self.replicas.get(index).is_some_and(|frame| frame.as_ref().is_some_and(|frame| frame.shares() == 1))
    }
}

impl Replicas {
    /// For up to so many frames of the pool's small ones.
    pub(crate) fn new(pool: Pool, frames: usize) -> Self {
        let small = pool.layout().small_count as usize;
        let places = (frames * PLACES_FOR_EACH_FRAME).next_power_of_two();
        Self {
            reserve: small.saturating_sub(frames),
            pool,
            places: (0..places).map(|_| Place::default()).collect(),
            open: None,
        }
    }

    /// Lets go of all of them: the answers are others from now on. Those on their way go back to the pool when they have left.
    pub(crate) fn forget(&mut self) {
        self.open = None;
        self.places.fill_with(Place::default);
    }

    /// Opens a replica of an answer whose name has this hash and whose message has so many bytes, and says whether its
    /// records stand there already. Nothing when it was not asked for before, or no frame is free: it is to be copied.
    #[inline]
    pub(crate) fn open(&mut self, answer: Answer, hash: u64, bytes: usize) -> Option<bool> {
        debug_assert!(self.open.is_none(), "one at a time");
        if bytes > SMALL_BYTES - MESSAGE_AT {
            return None;
        }
        let mixed =
            hash ^ u64::from(answer.qtype.0) << 2 ^ u64::from(answer.dnssec) << 1 ^ u64::from(answer.edns);
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let at = mixed as usize & (self.places.len() - 1);
        let place = &mut self.places[at];
        if place.of != Some(answer) {
            *place = Place { of: Some(answer), ..Place::default() };
            return None;
        }
        // The first that are back are used before the others: a few stay in the cache.
        let index = if place.is_back(0) { 0 } else { place.next };
        let (index, frame, is_written) = if place.is_back(index) {
            (index, place.replicas[index].take()?.thaw().ok()?, true)
        } else if place.replicas.len() < HIGH_WATER && self.pool.small_free() > self.reserve {
            let frame = self.pool.acquire_small()?;
            place.replicas.push(None);
            (place.replicas.len() - 1, frame, false)
        } else {
            return None;
        };
        self.open = Some(Open { place: at, index, frame, bytes });
        Some(is_written)
    }

    /// The message of the replica that is open.
    ///
    /// # Panics
    /// None is.
    #[inline]
    pub(crate) fn message_mut(&mut self) -> &mut [u8] {
        let open = self.open.as_mut().expect("a replica is open");
        &mut open.frame.bytes_mut()[MESSAGE_AT..][..open.bytes]
    }

    /// The message of the replica that is open, if one is.
    #[inline]
    pub(crate) fn message(&self) -> Option<&[u8]> {
        let open = self.open.as_ref()?;
        Some(&open.frame.bytes()[MESSAGE_AT..][..open.bytes])
    }

    /// Closes the replica that is open, whose message was not touched, and of which nothing leaves.
    pub(crate) fn leave(&mut self, is_written: bool) {
        let Some(Open { place, index, frame, .. }) = self.open.take() else { return };
        let place = &mut self.places[place];
        if is_written {
            place.replicas[index] = Some(frame.share());
        } else {
            place.replicas.pop();
        }
    }

    /// Closes the replica that is open, with `headers_bytes` of headers that `write` writes right before its message, into
    /// memory that reaches to the message's end: the part of a packet, and its headers. Nothing if none is open.
    #[inline]
    pub(crate) fn close(&mut self, headers_bytes: usize, write: impl FnOnce(&mut [u8])) -> Option<Part> {
        let Open { place, index, mut frame, bytes } = self.open.take()?;
        write(&mut frame.bytes_mut()[MESSAGE_AT - headers_bytes..MESSAGE_AT + bytes]);
        let frame = frame.share();
        let place = &mut self.places[place];
        place.replicas[index] = Some(frame.clone());
        place.next = if index + 1 == HIGH_WATER { 0 } else { index + 1 };
        let start = u32::try_from(MESSAGE_AT).expect("a small number");
        Some(Part { frame, start, len: u32::try_from(bytes).expect("less than a frame") })
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("reserve", &self.reserve).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dma::PoolLayout;

    fn pool(small_count: u32) -> Pool {
        Pool::new(PoolLayout { large_count: 1, small_count }).unwrap()
    }

    fn answer(node: u32) -> Answer {
        Answer { zone: 0, node: NodeRef(node), qtype: Rtype::A, dnssec: false, edns: true }
    }

    fn send(replicas: &mut Replicas, byte: u8) -> Part {
        replicas.message_mut().fill(byte);
        replicas.close(42, |out| out[..42].fill(byte)).unwrap()
    }

    #[test]
    fn an_answer_that_is_asked_for_again_is_made_once_and_written_again_when_it_is_back() {
        let mut replicas = Replicas::new(pool(8), 8);
        assert_eq!(replicas.open(answer(1), 7, 40), None);
        assert_eq!(replicas.open(answer(1), 7, 40), Some(false));
        let first = send(&mut replicas, 1);
        assert_eq!(first.bytes(), [1; 40]);
        // While it is on its way another is made.
        assert_eq!(replicas.open(answer(1), 7, 40), Some(false));
        let second = send(&mut replicas, 2);
        assert_eq!((first.bytes(), second.bytes()), (&[1; 40][..], &[2; 40][..]));
        let frame = first.frame.index();
        drop(first);
        assert_eq!(replicas.open(answer(1), 7, 40), Some(true));
        assert_eq!(send(&mut replicas, 3).frame.index(), frame);
    }

    #[test]
    fn answers_that_fall_into_one_place_take_it_and_what_is_on_its_way_stays_as_it_was() {
        let pool = pool(8);
        let mut replicas = Replicas::new(pool.clone(), 8);
        replicas.open(answer(1), 7, 40);
        replicas.open(answer(1), 7, 40);
        let sent = send(&mut replicas, 1);
        assert_eq!(replicas.open(answer(2), 7, 40), None);
        assert_eq!(replicas.open(answer(2), 7, 40), Some(false));
        drop(send(&mut replicas, 2));
        assert_eq!(sent.bytes(), [1; 40]);
        drop(sent);
        assert_eq!(pool.in_use().small, 1);
    }

    #[test]
    fn others_keep_their_frames_and_nothing_is_kept_of_what_was_forgotten() {
        let pool = pool(10);
        let mut replicas = Replicas::new(pool.clone(), 4);
        let mut on_their_way = Vec::new();
        for _ in 0..20 {
            if replicas.open(answer(1), 7, 40).is_some() {
                on_their_way.push(send(&mut replicas, 1));
            }
        }
        assert_eq!((on_their_way.len(), pool.small_free()), (4, 6));
        replicas.forget();
        on_their_way.clear();
        assert_eq!(pool.in_use().small, 0);
        assert_eq!(replicas.open(answer(1), 7, 40), None);
        assert_eq!(replicas.open(answer(1), 7, SMALL_BYTES), None);
    }

    #[test]
    fn a_replica_that_is_left_is_as_if_it_had_not_been_opened() {
        let pool = pool(2);
        let mut replicas = Replicas::new(pool.clone(), 2);
        replicas.open(answer(1), 7, 40);
        assert_eq!(replicas.open(answer(1), 7, 40), Some(false));
        replicas.leave(false);
        assert_eq!(pool.in_use().small, 0);
        assert_eq!(replicas.open(answer(1), 7, 40), Some(false));
        drop(send(&mut replicas, 5));
        assert_eq!(replicas.open(answer(1), 7, 40), Some(true));
        replicas.leave(true);
        assert_eq!(replicas.open(answer(1), 7, 40), Some(true));
        assert_eq!(replicas.message(), Some(&[5; 40][..]));
    }
}
