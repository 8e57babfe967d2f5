//! What may be asked of the monitor, as bytes.
//!
//! ```text
//!   1                     the link again, for every worker
//!   2 | access | path     one file that the configuration names
//!
//!   0 | note              done; descriptors come with it
//!   1 | reason            not done
//! ```
//!
//! There is no request that carries a device, an address, a flag or a mode: the monitor knows those from the start.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// The longest path (`PATH_MAX` without its NUL).
pub const PATH_BYTES_MAX: usize = 4_095;

const LINK: u8 = 1;
const FILE: u8 = 2;
const READ: u8 = 0;
const APPEND: u8 = 1;
const DONE: u8 = 0;
const NOT_DONE: u8 = 1;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be written at its end, and created when it is not there.
    Append,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make or open the link again, as it was at the start: one descriptor for each worker.
    Link,
    /// Open a file that the configuration names now.
    File {
        /// Absolute, and as it is named there.
        path: PathBuf,
        /// What for.
        access: Access,
    },
}

impl Request {
    /// As bytes.
    pub(crate) fn emit(&self) -> Vec<u8> {
        match self {
            Self::Link => vec![LINK],
            Self::File { path, access } => {
                let access = match access {
                    Access::Read => READ,
                    Access::Append => APPEND,
                };
                let mut bytes = vec![FILE, access];
                bytes.extend_from_slice(path.as_os_str().as_bytes());
                bytes
            }
        }
    }

    /// From bytes; `None` for what is no request.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [LINK] => Some(Self::Link),
            [FILE, access, path @ ..] => {
                let access = match *access {
                    READ => Access::Read,
                    APPEND => Access::Append,
                    _ => return None,
                };
                let fits =
                    (1..=PATH_BYTES_MAX).contains(&path.len()) && path[0] == b'/' && !path.contains(&0);
                fits.then(|| Self::File { path: OsString::from_vec(path.to_vec()).into(), access })
            }
            _ => None,
        }
    }
}

/// An answer: a note for who asked, or the reason why not.
pub(crate) fn emit_answer(answer: Result<&[u8], &str>) -> Vec<u8> {
    let (status, rest) = match answer {
        Ok(note) => (DONE, note),
        Err(reason) => (NOT_DONE, reason.as_bytes()),
    };
    let mut bytes = vec![status];
    bytes.extend_from_slice(rest);
    bytes
}

/// The answer in these bytes; `None` when they are none.
pub(crate) fn parse_answer(bytes: &[u8]) -> Option<Result<Vec<u8>, String>> {
    match bytes {
        [DONE, note @ ..] => Some(Ok(note.to_vec())),
        [NOT_DONE, reason @ ..] => Some(Err(String::from_utf8_lossy(reason).into_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_it_was_on_the_other_side() {
        for request in [
            Request::Link,
            Request::File { path: "/etc/atlas/chain.pem".into(), access: Access::Read },
            Request::File { path: "/var/log/atlas/access.log".into(), access: Access::Append },
        ] {
            assert_eq!(Request::parse(&request.emit()), Some(request));
        }
    }

    #[test]
    fn what_no_honest_server_says_is_no_request() {
        let long = [&[FILE, READ, b'/'][..], &[b'x'; PATH_BYTES_MAX]].concat();
        let bad: [&[u8]; 9] = [
            b"",
            &[0],
            &[3],
            &[LINK, 0],
            &[FILE],
            &[FILE, READ],
            &[FILE, 2, b'/'],
            &[FILE, READ, b'e', b't', b'c'],
            &[FILE, READ, b'/', 0, b'x'],
        ];
        for bytes in bad.into_iter().chain([long.as_slice()]) {
            assert_eq!(Request::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_is_a_note_or_a_reason() {
        assert_eq!(parse_answer(&emit_answer(Ok(b"note"))), Some(Ok(b"note".to_vec())));
        assert_eq!(parse_answer(&emit_answer(Err("why"))), Some(Err("why".to_owned())));
        assert_eq!(parse_answer(&[]), None);
        assert_eq!(parse_answer(&[7]), None);
    }
}
