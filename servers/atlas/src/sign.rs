//! `atlas sign`: the same keys and the same rules as the server's, the other way round.

use core::fmt;
use http::signature::{Key, KeyError, Keys};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::cli::SignArgs;

/// Why nothing was signed. The operator's.
#[derive(Debug)]
pub(crate) enum SignError {
    Unreadable { path: PathBuf, source: io::Error },
    Key { path: PathBuf, source: KeyError },
    Path { path: String },
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "cannot read the key {}: {source}", path.display())
            }
            Self::Key { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Path { path } => {
                write!(f, "'{path}' cannot be served: give a path below the directory, without '..'")
            }
        }
    }
}

impl core::error::Error for SignError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Key { source, .. } => Some(source),
            Self::Path { .. } => None,
        }
    }
}

/// The signed URL.
pub(crate) fn sign(arguments: &SignArgs) -> Result<String, SignError> {
    let SignArgs { path, signing_key, expires_in, directory, query, base } = arguments;
    let text = std::fs::read_to_string(signing_key)
        .map_err(|source| SignError::Unreadable { path: signing_key.clone(), source })?;
    let keys = Key::new(text.trim().as_bytes())
        .and_then(|key| Keys::new(vec![key]))
        .map_err(|source| SignError::Key { path: signing_key.clone(), source })?;
    let bare = path.trim_start_matches('/');
    if bare.is_empty()
        || bare.split('/').any(|segment| matches!(segment, "" | "." | ".."))
        || bare.contains('\0')
    {
        return Err(SignError::Path { path: path.clone() });
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let expires = (now + *expires_in).as_secs();
    let signed = match (directory, query) {
        (false, _) => keys.sign_file(bare.as_bytes(), expires),
        (true, false) => keys.sign_directory_of(bare.as_bytes(), expires),
        (true, true) => keys.sign_directory_of_in_query(bare.as_bytes(), expires),
    };
    let signed = signed.expect("there is a key");
    Ok(format!("{}{signed}", base.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn arguments(name: &str, key: &str) -> SignArgs {
        let signing_key = std::env::temp_dir().join(format!("atlas-sign-{}-{name}", std::process::id()));
        std::fs::write(&signing_key, key).unwrap();
        SignArgs {
            path: "/films/a/master.m3u8".to_owned(),
            signing_key,
            expires_in: Duration::from_secs(60),
            directory: false,
            query: false,
            base: "https://video.example/".to_owned(),
        }
    }

    /// What a server with the same key says to it.
    fn opens(url: &str, key: &str) -> bool {
        let keys = Keys::new(vec![Key::new(key.as_bytes()).unwrap()]).unwrap();
        let path = url.strip_prefix("https://video.example/").unwrap();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        keys.check(path.as_bytes(), query.map(str::as_bytes), now) == Ok(b"films/a/master.m3u8")
    }

    #[test]
    fn what_is_signed_is_let_through_by_the_same_key_alone() {
        const KEY: &str = "sixteen bytes and more";
        let mut arguments = arguments("roundtrip", &format!("{KEY}\n"));
        for (directory, query) in [(false, false), (true, false), (true, true)] {
            (arguments.directory, arguments.query) = (directory, query);
            let url = sign(&arguments).unwrap();
            assert!(opens(&url, KEY), "{url}");
            assert!(!opens(&url, "another key of sixteen bytes"), "{url}");
        }
        std::fs::remove_file(arguments.signing_key).unwrap();
    }

    #[test]
    fn what_cannot_be_signed_is_one_line() {
        let short = arguments("short", "short");
        assert!(sign(&short).unwrap_err().to_string().contains("5 bytes"));
        for path in ["", "/", "a/../b", "a//b", "./a"] {
            let wrong = SignArgs { path: path.to_owned(), ..arguments("path", "sixteen bytes and more") };
            assert!(sign(&wrong).unwrap_err().to_string().contains("cannot be served"), "{path}");
        }
        let missing = SignArgs { signing_key: "/nonexistent/key".into(), ..arguments("missing", "") };
        assert!(sign(&missing).unwrap_err().to_string().contains("/nonexistent/key"));
    }
}
