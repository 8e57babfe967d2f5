//! Packets on their way to the link, one behind the other in one piece of memory.

/// Packets that wait for the end of a batch.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Where each packet ends.
    ends: Vec<usize>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds a packet of so many bytes, written by `emit`.
    pub(super) fn push(&mut self, len: usize, emit: impl FnOnce(&mut [u8])) {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        emit(&mut self.bytes[start..]);
        self.ends.push(self.bytes.len());
    }

    /// Hands every packet to `stage`, in order, and is empty.
    pub(super) fn drain(&mut self, stage: &mut dyn FnMut(&[u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            stage(&self.bytes[start..end]);
            start = end;
        }
        self.bytes.clear();
    }
}
