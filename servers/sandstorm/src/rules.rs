//! What the operator says about names: Cache-Control and fields by pattern, redirects, pages.
//!
//! ```text
//!   *.js              any name with that suffix, in any directory     *  stands for anything but a slash
//!   /assets/*.css     in that directory only                          ** for anything at all
//!   /assets/**        everything below it
//! ```

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use http::response::{is_field_name, is_field_value};
use http::target::{Resource, Target};

/// What holds for a whole site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The value of the Server field; empty leaves it out.
    pub server: String,
    /// What is served for a directory: the first of these names that is there.
    pub index: Vec<String>,
    /// The file whose content goes with 404, below the root.
    pub not_found: Option<String>,
    /// Whether scripts of any other origin may read what is served.
    pub any_origin: bool,
    /// Cache-Control where no rule says it.
    pub cache_default: String,
    /// Every rule that fits counts; of several that say the same thing, the first.
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: "sandstorm".to_owned(),
            index: vec!["index.html".to_owned()],
            not_found: Some("404.html".to_owned()),
            any_origin: true,
            cache_default: "public, max-age=60".to_owned(),
            rules: Vec::new(),
        }
    }
}

/// What holds for the names that fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pattern.
    pub pattern: String,
    /// Cache-Control for them.
    pub cache_control: Option<String>,
    /// More fields for their responses.
    pub fields: Vec<(String, String)>,
}

/// What a setting or a line of a redirects file cannot mean. The operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// A pattern is empty.
    Pattern,
    /// A field has a name or a value that no field can have.
    Field {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// A field that the server says itself: it would come twice.
    Ours {
        /// The name.
        name: String,
    },
    /// More bytes of fields than a response has room for.
    TooMany {
        /// Whose.
        pattern: String,
        /// How many.
        bytes: usize,
    },
    /// A line of a redirects file is not `FROM TO [STATUS]`.
    Line {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern => f.write_str("an empty pattern fits nothing: write ** for everything"),
            Self::Field { name, value } => {
                write!(f, "no response can have the field {name:?} with the value {value:?}")
            }
            Self::Ours { name } => {
                write!(f, "a rule cannot add the field {name:?}: the server says it itself")?;
                if name.eq_ignore_ascii_case("cache-control") {
                    f.write_str("; write cache_control = in the rule")?;
                } else if name.to_ascii_lowercase().starts_with(CORS_PREFIX) {
                    f.write_str("; cors_origins is about that")?;
                }
                Ok(())
            }
            Self::TooMany { pattern, bytes } => write!(
                f,
                "the fields of the rule for {pattern:?} are {bytes} bytes: a response has room for {FIELDS_BYTES_MAX}"
            ),
            Self::Line { number, why } => {
                write!(f, "line {number} of the redirects: {why}; write FROM TO, or FROM TO STATUS")
            }
        }
    }
}

impl core::error::Error for RuleError {}

/// Fields of which only the server knows the values, or that it has settings for.
const OURS: [&str; 19] = [
    "timing-allow-origin",
    "allow",
    "cache-control",
    "keep-alive",
    "retry-after",
    "trailer",
    "upgrade",
    "date",
    "server",
    "connection",
    "content-length",
    "content-type",
    "content-range",
    "content-encoding",
    "transfer-encoding",
    "accept-ranges",
    "etag",
    "last-modified",
    "location",
];

/// What the fields begin with that say whose scripts may read a response.
const CORS_PREFIX: &str = "access-control-";

/// The most bytes of fields that rules add to one response: a head has to fit its buffer.
pub const FIELDS_BYTES_MAX: usize = 4_096;

/// What a field takes in a head.
const fn field_bytes(name: &str, value: &str) -> usize {
    name.len() + value.len() + ": \r\n".len()
}

/// What rules amount to for one path.
#[derive(Debug, PartialEq, Eq)]
pub struct Ruled<'a> {
    /// The value of Cache-Control.
    pub cache_control: &'a str,
    /// More fields.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Of those that fit, some found no room: together they are more than [`FIELDS_BYTES_MAX`].
    pub crowded: bool,
}

impl Settings {
    /// Finds what cannot be meant.
    ///
    /// # Errors
    /// The first such value.
    pub fn check(&self) -> Result<(), RuleError> {
        let value = |name: &str, value: &str| {
            if is_field_value(value) && value.len() <= FIELDS_BYTES_MAX / 4 {
                Ok(())
            } else {
                Err(RuleError::Field { name: name.to_owned(), value: value.to_owned() })
            }
        };
        value("Server", &self.server)?;
        value("Cache-Control", &self.cache_default)?;
        for rule in &self.rules {
            if rule.pattern.is_empty() {
                return Err(RuleError::Pattern);
            }
            if let Some(text) = &rule.cache_control {
                value("Cache-Control", text)?;
            }
            for (name, text) in &rule.fields {
                if !is_field_name(name) || !is_field_value(text) {
                    return Err(RuleError::Field { name: name.clone(), value: text.clone() });
                }
                let lower = name.to_ascii_lowercase();
                if OURS.contains(&lower.as_str()) || lower.starts_with(CORS_PREFIX) {
                    return Err(RuleError::Ours { name: name.clone() });
                }
            }
            let bytes = rule.fields.iter().map(|(name, value)| field_bytes(name, value)).sum();
            if bytes > FIELDS_BYTES_MAX {
                return Err(RuleError::TooMany { pattern: rule.pattern.clone(), bytes });
            }
        }
        Ok(())
    }

    /// The Cache-Control of a path below the root, and the fields that go with it.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Ruled<'_> {
        let mut cache_control = None;
        let mut crowded = false;
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let mut room = FIELDS_BYTES_MAX;
        for rule in self.rules.iter().filter(|rule| fits(rule.pattern.as_bytes(), path)) {
            cache_control = cache_control.or(rule.cache_control.as_deref());
            for (name, value) in &rule.fields {
                let bytes = field_bytes(name, value);
                if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    continue;
                }
                if bytes > room {
                    crowded = true;
                    continue;
                }
                room -= bytes;
                fields.push((name, value));
            }
        }
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("X-Content-Type-Options")) {
            fields.push(("X-Content-Type-Options", "nosniff"));
        }
        Ruled { cache_control: cache_control.unwrap_or(&self.cache_default), fields, crowded }
    }
}

/// Whether `path`, below the root and without its leading slash, fits a pattern.
#[must_use]
pub fn fits(pattern: &[u8], path: &[u8]) -> bool {
    if let Some(pattern) = pattern.strip_prefix(b"/") {
        return matches(pattern, path);
    }
    // A pattern without a place is about names.
    if pattern.contains(&b'/') {
        return matches(pattern, path);
    }
    matches(pattern, path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)) || pattern == b"**"
}

/// Reads the path once and keeps every place in the pattern that could have been reached: time is at most the product of
/// the lengths, whatever stars there are.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    // A place stands before its byte, or at its star; stars may be left without taking anything.
    let is_star = |at: usize| pattern.get(at) == Some(&b'*');
    let leave = |places: &mut [bool]| {
        for at in 0..pattern.len() {
            places[at + 1] |= places[at] && is_star(at);
        }
    };
    let mut places = vec![false; pattern.len() + 1];
    places[0] = true;
    leave(&mut places);
    for &byte in path {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|&at| places[at]) {
            if is_star(at) {
                let is_double = is_star(at + 1) || at > 0 && is_star(at - 1);
                next[at] |= byte != b'/' || is_double;
            } else {
                next[at + 1] |= pattern[at] == byte;
            }
        }
        leave(&mut next);
        places = next;
    }
    places[pattern.len()]
}

/// Where a name has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The value of Location: a path of this server with its slash, or a whole URI.
    pub to: String,
    /// For good (301), or for now (302).
    pub permanent: bool,
}

/// The decoded path that a client asks for who is sent there, and whether there is a query; `None` when it is not ours.
fn path_of(target: &str) -> Option<(Vec<u8>, bool)> {
    let target = target.split('#').next().unwrap_or(target);
    match Target::parse(target.as_bytes()) {
        Ok(Target::Resource(Resource { path, query })) if target.starts_with('/') => {
            Some((path.into_owned(), query.is_some()))
        }
        _ => None,
    }
}

/// Names that have gone elsewhere, from a file with one `FROM TO [STATUS]` on each line; `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirects {
    exact: BTreeMap<Vec<u8>, Redirect>,
}

impl Redirects {
    /// Reads the text of such a file.
    ///
    /// # Errors
    /// The first line that cannot be meant.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut redirects = Self::default();
        let mut numbers = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |why| RuleError::Line { number: index + 1, why };
            // A URI may hold a # of its own; a comment stands alone or behind a space.
            let line = line.split(" #").next().unwrap_or(line).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(from), Some(to)) = (words.next(), words.next()) else {
                return Err(wrong("there is no second word"));
            };
            let permanent = match words.next() {
                None | Some("301") => true,
                Some("302") => false,
                Some(_) => return Err(wrong("the status is neither 301 nor 302")),
            };
            if words.next().is_some() {
                return Err(wrong("there is a fourth word"));
            }
            // As a client writes it, so that any name can be: a space is %20.
            let Some((from, false)) = path_of(from) else {
                return Err(wrong("what is moved is no path below this server's root"));
            };
            let is_here = to.starts_with('/') && !to.starts_with("//");
            if !is_here && !to.starts_with("https://") && !to.starts_with("http://") {
                return Err(wrong("where it has gone is neither a path nor a URI"));
            }
            if !is_field_value(to) || to.len() > FIELDS_BYTES_MAX {
                return Err(wrong("where it has gone cannot stand in a response"));
            }
            let redirect = Redirect { to: to.to_owned(), permanent };
            if redirects.exact.insert(from.clone(), redirect).is_some() {
                return Err(wrong("this name was moved before"));
            }
            numbers.insert(from, index + 1);
        }
        redirects.check_loops(&numbers)?;
        Ok(redirects)
    }

    /// Nobody is sent round in circles: each chain of moves ends. `numbers` are the lines of the names.
    fn check_loops(&self, numbers: &BTreeMap<Vec<u8>, usize>) -> Result<(), RuleError> {
        let mut ends: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (from, &number) in numbers {
            let mut chain = BTreeSet::new();
            let mut at = from.clone();
            while !ends.contains(&at) && self.exact.contains_key(&at) {
                if !chain.insert(at.clone()) {
                    return Err(RuleError::Line { number, why: "it leads round in a circle" });
                }
                match path_of(&self.exact[&at].to) {
                    Some((to, _)) => at = to,
                    None => break,
                }
            }
            ends.append(&mut chain);
        }
        Ok(())
    }

    /// Where a decoded path below the root has gone.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Option<&Redirect> {
        self.exact.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_a_slash_is_about_names_and_one_with_a_slash_about_places() {
        for (pattern, path, fit) in [
            ("*.js", "a.js", true),
            ("*.js", "x/y/a.js", true),
            ("*.js", "a.jsx", false),
            ("/*.js", "a.js", true),
            ("/*.js", "x/a.js", false),
            ("/assets/**", "assets/x/y", true),
            ("/assets/**", "assets.html", false),
            ("/a/*/c", "a/b/c", true),
            ("/a/*/c", "a/b/b/c", false),
            ("/a/**/c", "a/b/b/c", true),
            ("**", "any/thing", true),
            ("robots.txt", "robots.txt", true),
            ("/", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), path.as_bytes()), fit, "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let pattern = "*a".repeat(100);
        assert!(fits(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
        assert!(!fits(pattern.as_bytes(), "b".repeat(2_000).as_bytes()));
    }

    fn rule(pattern: &str, cache: Option<&str>, fields: &[(&str, &str)]) -> Rule {
        Rule {
            pattern: pattern.to_owned(),
            cache_control: cache.map(str::to_owned),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn every_rule_that_fits_adds_what_no_earlier_one_said() {
        let rules = vec![
            rule("/assets/**", Some("immutable"), &[("X-A", "1")]),
            rule("*.js", Some("no-store"), &[("x-a", "2"), ("X-B", "3")]),
        ];
        let settings = Settings { rules, ..Settings::default() };
        settings.check().unwrap();
        let nosniff = ("X-Content-Type-Options", "nosniff");
        let ruled = |cache_control, fields| Ruled { cache_control, fields, crowded: false };
        let all = vec![("X-A", "1"), ("X-B", "3"), nosniff];
        assert_eq!(settings.of(b"assets/a.js"), ruled("immutable", all));
        assert_eq!(settings.of(b"a.js").cache_control, "no-store");
        assert_eq!(settings.of(b"a.css"), ruled("public, max-age=60", vec![nosniff]));
    }

    #[test]
    fn more_fields_than_a_response_has_room_for_are_refused_in_one_rule_and_told_of_several() {
        let long = "x".repeat(FIELDS_BYTES_MAX - 100);
        let rules = |rules| Settings { rules, ..Settings::default() };
        let both = rules(vec![rule("**", None, &[("X-A", &long), ("X-B", &long)])]);
        let line = both.check().unwrap_err().to_string();
        assert!(line.contains("\"**\"") && line.contains("4096"), "{line}");
        let each = rules(vec![rule("**", None, &[("X-A", &long)]), rule("*.js", None, &[("X-B", &long)])]);
        each.check().unwrap();
        assert!(each.of(b"a.js").crowded && !each.of(b"a.css").crowded);
    }

    #[test]
    fn what_the_server_says_itself_no_rule_says_again() {
        for name in ["Date", "cache-control", "Access-Control-Allow-Origin", "Allow", "Retry-After", "ETAG"] {
            let settings = Settings { rules: vec![rule("**", None, &[(name, "x")])], ..Settings::default() };
            let line = settings.check().unwrap_err().to_string();
            assert!(line.contains(name) && line.contains("itself"), "{line}");
        }
    }

    #[test]
    fn a_field_that_would_split_the_response_is_refused() {
        for (name, value) in [("X A", "1"), ("X-A", "1\r\nX-B: 2"), ("", "1"), ("X-A", "\0")] {
            let settings =
                Settings { rules: vec![rule("**", None, &[(name, value)])], ..Settings::default() };
            assert!(matches!(settings.check(), Err(RuleError::Field { .. })), "{name}: {value}");
        }
    }

    #[test]
    fn a_redirects_file_says_from_to_and_how_long() {
        let text = "# moved in spring\n/old /new\n\n/shop https://shop.example/#top 302 # for now\n";
        let redirects = Redirects::parse(text).unwrap();
        assert_eq!(redirects.of(b"old"), Some(&Redirect { to: "/new".to_owned(), permanent: true }));
        let shop = Redirect { to: "https://shop.example/#top".to_owned(), permanent: false };
        assert_eq!(redirects.of(b"shop"), Some(&shop));
        assert_eq!(redirects.of(b"new"), None);
    }

    #[test]
    fn a_name_is_written_as_a_client_asks_for_it() {
        let redirects = Redirects::parse("/a%20b /c\n/%ff /d\n").unwrap();
        assert!(redirects.of(b"a b").is_some() && redirects.of(b"\xff").is_some());
        assert!(Redirects::parse("/a?b=c /d").is_err(), "a query is not looked at");
    }

    #[test]
    fn nobody_is_sent_round_in_circles() {
        for (text, number) in [("/a /a", 1), ("/x /a\n/a /b%63\n/bc /a#top", 2), ("/d /x\n/a /a?again", 2)] {
            let error = Redirects::parse(text).unwrap_err();
            assert!(
                matches!(error, RuleError::Line { number: told, .. } if told == number),
                "{text}: {error}"
            );
        }
        assert!(Redirects::parse("/a /b\n/b /c\n/c https://a.example/a\n/d /b").is_ok());
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_named() {
        for line in ["/a", "a /b", "/a b", "/a //evil.example", "/a /b 200", "/a /b 301 x", "/a javascript:x"]
        {
            let error = Redirects::parse(&format!("/x /y\n{line}")).unwrap_err();
            assert!(matches!(error, RuleError::Line { number: 2, .. }), "{line}: {error}");
        }
        assert!(Redirects::parse("/a /b\n/a /c").unwrap_err().to_string().contains("moved before"));
    }
}
