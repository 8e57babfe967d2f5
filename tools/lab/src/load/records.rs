//! Counting the plaintext of a TLS stream by its record heads alone.
//!
//! How a server cuts a response into records depends on its window of the moment, so the length of a response on the
//! wire is not known beforehand; the length of its plaintext is. A server that pads its records (RFC 8446 §5.4) cannot
//! be counted: hardly one does.

use tls::{RECORD_HEAD_BYTES as HEAD_BYTES, RecordLayout, Suite, Version};

/// Where a stream stands between records.
#[derive(Clone, Copy, Debug)]
pub struct RecordCounter {
    /// What a record's body holds beside the plaintext.
    overhead: u64,
    head: [u8; HEAD_BYTES],
    head_len: usize,
    /// Bytes of the current record's body that have not come.
    left: u64,
    /// Plaintext bytes of records that began.
    plaintext: u64,
}

impl RecordCounter {
    /// Between two records of this version and suite.
    #[must_use]
    pub fn new(version: Version, suite: Suite) -> Self {
        let layout = RecordLayout::of(version, suite);
        let overhead = (layout.overhead_bytes() - HEAD_BYTES) as u64;
        Self { overhead, head: [0; HEAD_BYTES], head_len: 0, left: 0, plaintext: 0 }
    }

    /// Takes the next bytes of the stream; looks at heads only.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.skip(skip as u64);
                bytes = &bytes[skip..];
                continue;
            }
            let wanted = (HEAD_BYTES - self.head_len).min(bytes.len());
            self.head[self.head_len..self.head_len + wanted].copy_from_slice(&bytes[..wanted]);
            self.head_len += wanted;
            bytes = &bytes[wanted..];
            if self.head_len == HEAD_BYTES {
                self.head_len = 0;
                self.left = u64::from(u16::from_be_bytes([self.head[3], self.head[4]]));
                self.plaintext += self.record_plaintext();
            }
        }
    }

    /// Passes over bytes of the current record's body that nobody looked at: at most [`body_left`](Self::body_left).
    pub fn skip(&mut self, bytes: u64) {
        self.left -= bytes;
    }

    /// The last head that came whole.
    #[must_use]
    pub fn head(&self) -> [u8; HEAD_BYTES] {
        self.head
    }

    /// Plaintext of the record whose head came last.
    #[must_use]
    pub fn record_plaintext(&self) -> u64 {
        u64::from(u16::from_be_bytes([self.head[3], self.head[4]])).saturating_sub(self.overhead)
    }

    /// Bytes of the current record's body that have not come: these may be passed over unseen.
    #[must_use]
    pub fn body_left(&self) -> u64 {
        self.left
    }

    /// Bytes of a head that have not come.
    #[must_use]
    pub fn head_left(&self) -> usize {
        HEAD_BYTES - self.head_len
    }

    /// Plaintext of whole records since it was last asked that reached `wanted`; then counts from zero again.
    pub fn reached(&mut self, wanted: u64) -> Option<bool> {
        if self.left > 0 || self.head_len > 0 || self.plaintext < wanted {
            return Some(false);
        }
        let exact = self.plaintext == wanted;
        self.plaintext = 0;
        exact.then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(plaintext: u16) -> Vec<u8> {
        let body = plaintext + 17;
        let mut bytes = vec![0x17, 3, 3];
        bytes.extend_from_slice(&body.to_be_bytes());
        bytes.resize(5 + usize::from(body), 0xaa);
        bytes
    }

    #[test]
    fn a_response_is_complete_however_it_is_cut() {
        let stream = [record(100), record(1), record(899)].concat();
        for piece in 1..stream.len() {
            let mut counter = RecordCounter::new(Version::Tls13, Suite::Aes128Gcm);
            let mut done = 0;
            for bytes in stream.chunks(piece) {
                counter.take(bytes);
                done += usize::from(counter.reached(1_000) == Some(true));
            }
            assert_eq!(done, 1, "in pieces of {piece}");
        }
    }

    #[test]
    fn too_much_plaintext_is_noticed() {
        let mut counter = RecordCounter::new(Version::Tls13, Suite::Aes128Gcm);
        counter.take(&record(1_001));
        assert_eq!(counter.reached(1_000), None);
    }
}
