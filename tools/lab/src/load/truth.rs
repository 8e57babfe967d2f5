//! What the bytes must be.

use core::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::fault::Fault;

/// Where one knows what a server must send.
pub trait Truth: Debug + Send + Sync {
    /// The object's bytes, to be compared with.
    ///
    /// # Errors
    /// [`Fault::Truth`]
    fn open(&self, path: &str) -> Result<Box<dyn Original>, Fault>;
}

/// One object's bytes.
pub trait Original: Debug {
    /// How many they are.
    fn bytes(&self) -> u64;

    /// Reads at an offset; the range lies within the object.
    ///
    /// # Errors
    /// [`Fault::Truth`]
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault>;
}

/// Files below a directory.
#[derive(Clone, Debug)]
pub struct Files(pub PathBuf);

#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
    path: PathBuf,
}

impl Truth for Files {
    fn open(&self, path: &str) -> Result<Box<dyn Original>, Fault> {
        if path.split('/').any(|part| part == "..") {
            return Err(Fault::Truth(format!("{path} leads out of the directory")));
        }
        let path = self.0.join(path);
        let unreadable = |error: std::io::Error| Fault::Truth(format!("{}: {error}", path.display()));
        let file = File::open(&path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        Ok(Box::new(OpenFile { file, bytes, path }))
    }
}

impl Original for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.file
            .read_exact_at(out, offset)
            .map_err(|error| Fault::Truth(format!("{}: {error}", self.path.display())))
    }
}

/// A response being compared.
#[derive(Debug)]
pub(crate) struct Comparison {
    original: Box<dyn Original>,
    target: String,
    /// Where in the object the next byte belongs.
    at: u64,
    end: u64,
}

impl Comparison {
    pub(crate) fn new(original: Box<dyn Original>, target: String, range: Option<(u64, u64)>) -> Self {
        let bytes = original.bytes();
        let (at, end) = range.map_or((0, bytes), |(first, last)| (first, bytes.min(last + 1)));
        Self { original, target, at, end }
    }

    /// The next bytes of the body.
    pub(crate) fn on_bytes(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let mut expected = [0; 16 << 10];
        while !bytes.is_empty() {
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let count = bytes.len().min(expected.len()).min(left);
            if count == 0 {
                return Err(self.length(self.at + bytes.len() as u64));
            }
            let (now, rest) = bytes.split_at(count);
            let expected = &mut expected[..count];
            self.original.read(self.at, expected)?;
            if now != expected {
                let differs = now.iter().zip(&*expected).position(|(a, b)| a != b).unwrap_or(0);
                return Err(Fault::Mismatch { target: self.target.clone(), at: self.at + differs as u64 });
            }
            self.at += count as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// The response is whole.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        if self.at == self.end { Ok(()) } else { Err(self.length(self.at)) }
    }

    fn length(&self, found: u64) -> Fault {
        Fault::Length { target: self.target.clone(), expected: self.end, found }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Every object is these bytes.
    #[derive(Clone, Debug)]
    pub(crate) struct Constant(pub(crate) Vec<u8>);

    impl Truth for Constant {
        fn open(&self, _: &str) -> Result<Box<dyn Original>, Fault> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Original for Constant {
        fn bytes(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
            let at = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.0[at..at + out.len()]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Constant;
    use super::*;

    fn compare(range: Option<(u64, u64)>, body: &[u8]) -> Result<(), Fault> {
        let original = Constant(b"0123456789".to_vec()).open("x").unwrap();
        let mut comparison = Comparison::new(original, "/x".to_owned(), range);
        body.chunks(3).try_for_each(|bytes| comparison.on_bytes(bytes))?;
        comparison.finish()
    }

    #[test]
    fn the_right_bytes_pass_and_one_wrong_one_does_not() {
        assert_eq!(compare(None, b"0123456789"), Ok(()));
        assert_eq!(compare(Some((4, 6)), b"456"), Ok(()));
        assert_eq!(compare(None, b"01234567_9"), Err(Fault::Mismatch { target: "/x".to_owned(), at: 8 }));
    }

    #[test]
    fn too_few_and_too_many_are_noticed() {
        assert!(matches!(compare(None, b"012345678"), Err(Fault::Length { expected: 10, found: 9, .. })));
        assert!(matches!(compare(None, b"0123456789+"), Err(Fault::Length { expected: 10, .. })));
        assert!(matches!(compare(Some((8, 20)), b"89"), Ok(())));
    }

    #[test]
    fn nothing_outside_the_directory_is_read() {
        assert!(matches!(Files("/tmp".into()).open("../etc/passwd"), Err(Fault::Truth(_))));
    }
}
