//! Files whose every byte is known.

use core::sync::atomic::{AtomicU32, Ordering};
use std::path::{Path, PathBuf};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A new directory in `place` that is nobody else's. A process's number names nothing by itself: tests run beside each
/// other, each in a namespace where numbers begin anew.
pub(crate) fn fresh_directory(place: &Path, name: &str) -> PathBuf {
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = place.join(format!("{name}-{}-{number}", std::process::id()));
        match std::fs::create_dir(&directory) {
            Ok(()) => return directory,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", directory.display()),
        }
    }
}

/// Sizes at which something begins or ends: sectors, pages, records, reads, superframes, and their neighbours.
pub(crate) const SIZES: &[usize] = &[
    0, 1, 2, 511, 512, 513, 1_447, 1_448, 1_449, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 49_152, 65_495,
    65_536, 131_071, 131_072, 131_073, 300_000, 1_048_583,
];

/// A directory that is removed with everything in it.
#[derive(Debug)]
pub(crate) struct Library {
    directory: PathBuf,
}

impl Library {
    /// A directory `served` with a file `SIZE.bin` for each of [`SIZES`], beside which `secret.txt` lies.
    pub(crate) fn new() -> Self {
        let library = Self::empty();
        for size in SIZES {
            library.add(&format!("{size}.bin"), *size);
        }
        library.write("playlist.m3u8", b"#EXTM3U\n");
        library.write("a directory/file.txt", b"below\n");
        std::fs::write(library.directory.join("secret.txt"), SECRET).expect("a file of ours");
        library
    }

    /// Nothing yet.
    pub(crate) fn empty() -> Self {
        // Beside the test program, because that is a disk: where temporary files usually go is often memory.
        let program = std::env::current_exe().expect("our own path");
        let place = program.parent().expect("a program lies in a directory");
        let directory = fresh_directory(place, "interop");
        std::fs::create_dir(directory.join("served")).expect("a directory of ours");
        Self { directory }
    }

    /// What is served.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("served")
    }

    /// A place beside what is served.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Adds a file with bytes drawn from its name.
    pub(crate) fn add(&self, name: &str, size: usize) -> Vec<u8> {
        let bytes = bytes_of(name, size);
        self.write(name, &bytes);
        bytes
    }

    /// Adds or replaces a file.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory of ours");
        std::fs::write(path, bytes).expect("a file of ours");
    }

    /// The bytes of a served file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root().join(name)).expect("a file of ours")
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What lies just outside the served directory, and must never be seen.
pub(crate) const SECRET: &[u8] = b"this lies outside the served directory\n";

/// `size` bytes without a pattern, the same for the same name (splitmix64).
pub(crate) fn bytes_of(name: &str, size: usize) -> Vec<u8> {
    let mut state = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Fails with the place of the first difference, not with megabytes of bytes.
#[track_caller]
pub(crate) fn assert_same(what: &str, received: &[u8], expected: &[u8]) {
    if received == expected {
        return;
    }
    let at = received.iter().zip(expected).position(|(a, b)| a != b);
    panic!(
        "{what}: {} bytes received, {} expected, first difference at {}",
        received.len(),
        expected.len(),
        at.unwrap_or_else(|| received.len().min(expected.len()))
    );
}

/// The directory for what a person may want to look at afterwards.
pub(crate) fn artefacts() -> PathBuf {
    let directory =
        std::env::var_os("ATLAS_ARTEFACTS").map_or_else(|| target().join("artefacts"), PathBuf::from);
    std::fs::create_dir_all(&directory).expect("a directory for artefacts");
    directory
}

/// The stream that comes with the project.
pub(crate) fn example_video() -> PathBuf {
    std::env::var_os("ATLAS_VIDEO")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/video"), PathBuf::from)
}

/// The target directory we were built into: `target/debug/deps/interop-…`.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().expect("our own path");
    program.ancestors().nth(3).expect("three directories up").to_path_buf()
}
