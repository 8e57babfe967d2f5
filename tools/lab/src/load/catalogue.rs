//! What may be asked for: servers, objects on them, and how much of an object at a time.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::net::ToSocketAddrs as _;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// A server, as URLs name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// TLS or not.
    pub secure: bool,
    /// For `Host` and SNI.
    pub name: String,
    /// The `Host` field: the name, and the port where it is not the scheme's.
    pub authority: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// An object.
#[derive(Debug)]
pub struct Object {
    /// Which server has it.
    pub server: usize,
    /// Path and query.
    pub target: String,
    /// Its size: 0 until it is known.
    bytes: AtomicU64,
}

/// Everything that may be asked for.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// The servers.
    pub servers: Vec<Server>,
    /// The objects.
    pub objects: Vec<Object>,
}

/// Why a list of URLs is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl {
    url: String,
    why: String,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.why)
    }
}

impl core::error::Error for BadUrl {}

impl Catalogue {
    /// Adds a URL, `http://HOST[:PORT]/PATH` or `https://…`, and its size where that is known.
    ///
    /// # Errors
    /// It is none, or its host has no address.
    pub fn add(&mut self, url: &str, bytes: Option<u64>) -> Result<(), BadUrl> {
        let bad = |why: &str| BadUrl { url: url.to_owned(), why: why.to_owned() };
        let (secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(bad("a URL begins with http:// or https://")),
        };
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
            return Err(bad("a path has no spaces, control characters or fragments: percent-encode them"));
        }
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let server = match self
            .servers
            .iter()
            .position(|server| server.secure == secure && server.authority == authority)
        {
            Some(known) => known,
            None => {
                let server = resolve(secure, authority).map_err(|why| bad(&why))?;
                self.servers.push(server);
                self.servers.len() - 1
            }
        };
        self.objects.push(Object { server, target, bytes: AtomicU64::new(bytes.unwrap_or(0)) });
        Ok(())
    }

    /// Adds a list: a URL a line, perhaps a size in bytes behind it; empty lines and those with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is no URL.
    pub fn add_list(&mut self, text: &str) -> Result<(), BadUrl> {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (url, size) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let bytes = match size.trim() {
                "" => None,
                digits => Some(digits.parse().map_err(|_| BadUrl {
                    url: line.to_owned(),
                    why: "behind a URL stands its size in bytes, or nothing".to_owned(),
                })?),
            };
            self.add(url, bytes)?;
        }
        Ok(())
    }
}

impl Object {
    /// Its size, once anybody knows.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        Some(self.bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Its size became known.
    pub fn learn(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Its path below a directory of files: the target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("").trim_start_matches('/')
    }
}

fn resolve(secure: bool, authority: &str) -> Result<Server, String> {
    if authority.is_empty() || authority.contains('@') {
        return Err("a URL names a host, and no user".to_owned());
    }
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = match port_at {
        None => (authority, if secure { 443 } else { 80 }),
        Some(at) => {
            (&authority[..at], authority[at + 1..].parse().map_err(|_| "a port is 1 to 65535".to_owned())?)
        }
    };
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = (name.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| format!("its host has no address ({error})"))?
        .next()
        .ok_or("its host has no address")?;
    Ok(Server { secure, name, authority: authority.to_owned(), address })
}

/// How much of an object is asked for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Always these bytes, both ends included.
    Fixed {
        /// The first,
        first: u64,
        /// and the last.
        last: u64,
    },
    /// So many, from anywhere.
    Random {
        /// How many.
        bytes: u64,
    },
    /// So many, then the next so many, to the end.
    Sequential {
        /// How many.
        bytes: u64,
    },
}

/// A range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl Part {
    /// The range to ask for of an object of `size`, when a viewer of it has come to `progress`; `None` is all of it.
    ///
    /// While the size is not known, the first range is asked for; the response says it.
    pub fn range(self, size: Option<u64>, progress: u64, random: &mut SmallRng) -> Option<Range> {
        let within = |first: u64, bytes: u64| {
            let last = first + bytes.max(1) - 1;
            Some(Range { first, last: size.map_or(last, |size| last.min(size.saturating_sub(1))) })
        };
        match (self, size) {
            (Self::Whole, _) => None,
            (Self::Fixed { first, last }, _) => within(first, last - first + 1),
            (Self::Random { bytes }, None) => within(0, bytes),
            (Self::Random { bytes }, Some(size)) => {
                within(random.random_range(0..=size.saturating_sub(bytes)), bytes)
            }
            (Self::Sequential { bytes }, _) => within(progress, bytes),
        }
    }
}

impl Range {
    /// How many bytes it is.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_url_names_server_and_target() {
        let mut catalogue = Catalogue::default();
        catalogue
            .add_list("# a list\nhttps://127.0.0.1:8443/a/b.m4s?x=1 300\n\nhttps://127.0.0.1:8443/c\nhttp://[::1]\n")
            .unwrap();
        assert_eq!(catalogue.servers.len(), 2);
        let secure = &catalogue.servers[0];
        assert!(secure.secure && secure.authority == "127.0.0.1:8443" && secure.name == "127.0.0.1");
        assert_eq!(catalogue.servers[1].address, "[::1]:80".parse().unwrap());
        let targets: Vec<_> = catalogue.objects.iter().map(|object| &object.target[..]).collect();
        assert_eq!(targets, ["/a/b.m4s?x=1", "/c", "/"]);
        assert_eq!(catalogue.objects[0].path(), "a/b.m4s");
        assert_eq!((catalogue.objects[0].bytes(), catalogue.objects[1].bytes()), (Some(300), None));
    }

    #[test]
    fn what_is_no_url_is_refused_with_a_reason() {
        for url in
            ["ftp://a/", "https:///x", "http://user@h/", "http://127.0.0.1:99999/", "http://127.0.0.1/a b"]
        {
            let error = Catalogue::default().add(url, None).unwrap_err();
            assert!(error.to_string().starts_with(url), "{error}");
        }
    }

    #[test]
    fn ranges_stay_within_the_object() {
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..1_000 {
            let range = Part::Random { bytes: 100 }.range(Some(250), 0, &mut random).unwrap();
            assert!(range.last < 250 && range.bytes() == 100);
            let range = Part::Random { bytes: 300 }.range(Some(250), 0, &mut random).unwrap();
            assert_eq!(range, Range { first: 0, last: 249 });
        }
        let mut part = |progress| Part::Sequential { bytes: 100 }.range(Some(250), progress, &mut random);
        assert_eq!(part(200), Some(Range { first: 200, last: 249 }));
        assert_eq!(part(0), Some(Range { first: 0, last: 99 }));
        assert_eq!(Part::Whole.range(Some(250), 0, &mut random), None);
    }
}
