//! One keyed hash over a folded name, and with it the hash of every suffix.
//!
//! ```text
//! name       3 w w w 7 e x a m p l e 3 c o m 0
//! suffixes   h₀ ◀──── h₁ ◀────────── h₂ ◀── h₃ = key        from right to left, a label a step
//! ```
//!
//! h₀ finds the name. When there is none, h₁, h₂ … find its closest encloser, and the zone, without hashing again.
//!
//! The dissertation (§3.2.3) compares two forms of what is hashed. *Wire* takes the labels as they stand in the
//! question, once it is seen that no pointer is among them. *Name* writes the name out first, as people read it, which
//! costs every question the same, however it was compressed.

use core::fmt;
use dns::Name;
use dns::name::{LABELS_MAX, fold};

/// What is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The labels with their lengths.
    #[default]
    Wire,
    /// The labels written out, with dots.
    Name,
}

/// A secret, so that nobody can choose names that collide.
#[derive(Clone, Copy)]
pub struct Key {
    words: [u64; 2],
}

impl Key {
    /// A key of these bytes, which nobody outside may guess.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let word = |half: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * half..8 * half + 8]);
            u64::from_le_bytes(word)
        };
        // A multiplier of zero would forget everything.
        Self { words: [word(0) ^ 0x9e37_79b9_7f4a_7c15, word(1) | 1] }
    }

    /// The hash of the root.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.words[0]
    }

    /// The hash of the name that `label`, its length before it, makes of the name with hash `parent`.
    #[must_use]
    pub fn child(&self, form: Form, parent: u64, label: &[u8]) -> u64 {
        let mut text = [0_u8; 72];
        let bytes = label.len().min(64);
        text[..bytes].copy_from_slice(&label[..bytes]);
        if form == Form::Name {
            text.copy_within(1..bytes, 0);
            text[bytes - 1] = b'.';
        }
        self.step(parent, &text, 0, bytes)
    }

    /// Mixes `bytes` bytes from `at` on into `hash`, a word at a time. Eight bytes behind them can be read.
    #[inline]
    fn step(&self, hash: u64, text: &[u8], at: usize, bytes: usize) -> u64 {
        let mut hash = hash;
        let mut left = bytes;
        let mut at = at;
        loop {
            let word =
                text.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).unwrap_or([0; 8]);
            let word = u64::from_le_bytes(word);
            if left <= 8 {
                return fold_multiply(hash ^ (word & MASKS[left & 15]), self.words[1]) ^ self.words[0];
            }
            hash = fold_multiply(hash ^ word, self.words[1]);
            at += 8;
            left -= 8;
        }
    }

    /// The same over the first `bytes` of a label as it was sent, its length before it, in whatever case. Eight bytes
    /// behind them can be read.
    #[inline]
    pub(crate) fn step_folded(&self, hash: u64, text: &[u8], bytes: usize) -> u64 {
        let mut hash = hash;
        let mut left = bytes;
        let mut text = text;
        while let Some((word, rest)) = text.split_first_chunk::<8>() {
            let word = fold(u64::from_le_bytes(*word));
            if left <= 8 {
                return fold_multiply(hash ^ (word & MASKS[left & 15]), self.words[1]) ^ self.words[0];
            }
            hash = fold_multiply(hash ^ word, self.words[1]);
            text = rest;
            left -= 8;
        }
        hash
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The lowest bytes of a word, by how many.
const MASKS: [u64; 16] = {
    let mut masks = [u64::MAX; 16];
    let mut bytes = 0;
    while bytes < 8 {
        masks[bytes] = (1 << (8 * bytes)) - 1;
        bytes += 1;
    }
    masks
};

/// Both halves of the product, added without carry: every bit depends on every bit below and above it.
#[inline]
fn fold_multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    {
        product as u64 ^ (product >> 64) as u64
    }
}

/// The hashes of a name and of all its suffixes.
#[derive(Clone)]
pub struct Suffixes {
    key: Key,
    form: Form,
    of: [u64; LABELS_MAX + 1],
    labels: usize,
    text: [u8; 272],
}

impl Suffixes {
    /// Nothing hashed yet.
    #[must_use]
    pub const fn new(key: Key, form: Form) -> Self {
        Self { key, form, of: [0; LABELS_MAX + 1], labels: 0, text: [0; 272] }
    }

    /// Hashes `name` and its suffixes.
    #[inline]
    pub fn fill(&mut self, name: &Name) {
        let labels = name.labels();
        let key = self.key;
        let buffer: &[u8] = match self.form {
            Form::Wire => name.buffer(),
            Form::Name => {
                self.write_out(name);
                &self.text
            }
        };
        let mut hash = key.root();
        self.of[labels & LABELS_MAX] = hash;
        let mut end = name.len() - 1;
        for index in (0..labels).rev() {
            let start = name.label_start(index);
            hash = key.step(hash, buffer, start, end - start);
            self.of[index & LABELS_MAX] = hash;
            end = start;
        }
        self.labels = labels;
    }

    /// `www.example.com.`: each label moves to where its length was, and a dot follows it.
    fn write_out(&mut self, name: &Name) {
        let wire = name.wire();
        let text = &mut self.text[..wire.len()];
        text[..wire.len() - 1].copy_from_slice(&wire[1..]);
        for index in 1..=name.labels() {
            text[name.label_start(index) - 1] = b'.';
        }
    }

    /// The hash of the name without its first `index` labels.
    ///
    /// # Panics
    /// There are not that many.
    #[inline]
    #[must_use]
    pub fn suffix(&self, index: usize) -> u64 {
        self.of[index]
    }

    /// The hash of the name that `label`, its length before it, makes of the name without its first `index` labels.
    ///
    /// # Panics
    /// There are not that many.
    #[must_use]
    pub fn below(&self, index: usize, label: &[u8]) -> u64 {
        self.key.child(self.form, self.of[index], label)
    }

    /// How many labels the name has.
    #[must_use]
    pub const fn labels(&self) -> usize {
        self.labels
    }
}

impl fmt::Debug for Suffixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.of[..=self.labels]).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        let mut name = Name::root();
        name.set(&dns::name::from_text(text.as_bytes()).unwrap()).unwrap();
        name
    }

    fn hashes(form: Form, text: &str) -> Vec<u64> {
        let mut suffixes = Suffixes::new(Key::new(*b"0123456789abcdef"), form);
        suffixes.fill(&name(text));
        (0..=suffixes.labels()).map(|index| suffixes.suffix(index)).collect()
    }

    #[test]
    fn a_suffix_hashes_as_the_name_that_it_is() {
        for form in [Form::Wire, Form::Name] {
            let long = hashes(form, "a-label-that-is-longer-than-a-word.www.eXample.com.");
            assert_eq!(long[1..], hashes(form, "www.example.com.")[..]);
            assert_eq!(long[4], Key::new(*b"0123456789abcdef").root());
        }
    }

    #[test]
    fn a_child_hashes_as_the_name_that_it_makes() {
        let key = Key::new(*b"0123456789abcdef");
        for form in [Form::Wire, Form::Name] {
            for label in ["*", "a", "1234567", "12345678", "123456789", &"x".repeat(63)] {
                let wire = dns::name::from_text(label.as_bytes()).unwrap();
                let whole = hashes(form, &format!("{label}.example."));
                assert_eq!(key.child(form, whole[1], &wire[..wire.len() - 1]), whole[0], "{label}");
            }
        }
    }

    #[test]
    fn neighbouring_names_do_not_collide() {
        for form in [Form::Wire, Form::Name] {
            let mut all: Vec<u64> =
                (0..200_000).map(|index| hashes(form, &format!("h{index}.example."))[0]).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 200_000);
            // Also in the upper half, which chooses the slot, no more than chance brings about (4.7 expected).
            all.dedup_by_key(|hash| *hash >> 32);
            assert!(all.len() >= 200_000 - 25, "{}", all.len());
        }
    }
}
