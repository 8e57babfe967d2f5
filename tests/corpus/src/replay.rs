//! Every committed input, and near misses of each.

use crate::TARGETS;
use std::path::{Path, PathBuf};

/// Near misses per input.
const MISSES: u64 = 500;

#[test]
fn every_target_replays_its_corpus() {
    for (name, target) in TARGETS {
        for (file, bytes) in corpus(name) {
            // Named before it runs, so that a panic is preceded by the input to blame.
            let _named = Named(&file);
            target(&bytes);
        }
    }
}

#[test]
fn near_misses_of_the_corpus_break_no_law() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        let mut dice = Dice(0x5eed);
        for (file, bytes) in &inputs {
            for _ in 0..MISSES {
                let (_, other) = &inputs[dice.below(inputs.len())];
                let missed = dice.miss(bytes, other);
                let _named = Named(file);
                target(&missed);
            }
        }
    }
}

/// A script that never gets beyond a handshake finds nothing behind it.
#[test]
fn the_corpus_of_the_engine_reaches_the_disk() {
    let ends: Vec<_> = corpus("engine").iter().map(|(_, bytes)| crate::engine::run(bytes)).collect();
    assert!(ends.iter().any(|vitals| vitals.finished > 0), "no connection ended in order");
    assert!(ends.iter().any(|vitals| vitals.read_bytes >= 300_000), "no file was read");
    assert!(ends.iter().any(|vitals| vitals.resent_bytes > 0), "nothing was sent again");
    assert!(ends.iter().any(|vitals| vitals.disk_failures > 0), "no read failed");
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    for (name, _) in TARGETS {
        assert!(
            root().join(format!("fuzz_targets/{name}.rs")).is_file(),
            "fuzz/fuzz_targets/{name}.rs is missing"
        );
        assert!(corpus(name).len() >= 3, "fuzz/corpus/{name} holds next to nothing");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("fuzz has a manifest");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml does not build {name}");
    }
}

/// The committed inputs of a target, in order of name, and the empty one, which every target meets.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = root().join("corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory that can be read").path())
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        let bytes = std::fs::read(&file).expect("a file that can be read");
        (file, bytes)
    };
    core::iter::once((PathBuf::from("nothing"), Vec::new())).chain(files.into_iter().map(read)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Says which input was running when a panic passes by.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the input to blame belongs to the failure")]
            {
                eprintln!("while replaying {} (or a near miss of it)", self.0.display());
            }
        }
    }
}

/// Numbers that are the same everywhere (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).expect("below a usize")
    }

    /// `bytes` with a few things wrong.
    fn miss(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut missed = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(missed.len().max(1));
            let byte = self.next().to_le_bytes()[0];
            match self.below(6) {
                _ if missed.is_empty() => missed.extend_from_slice(&other[..other.len().min(1 + at)]),
                0 => missed[at] = byte,
                1 => missed[at] ^= 1 << (byte % 8),
                2 => missed.truncate(at),
                3 => missed.insert(at, byte),
                4 => drop(missed.remove(at)),
                _ => {
                    let from = self.below(other.len().max(1));
                    missed.splice(at.., other[from.min(other.len())..].iter().copied());
                }
            }
        }
        missed
    }
}
