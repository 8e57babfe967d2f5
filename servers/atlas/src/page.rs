//! The page at `/`: a list of what there is to watch, and a player for it.
//!
//! ```text
//!   /                        index.html      ┐
//!   /.atlas/style.css                        │  ours, compiled in, no third party's
//!   /.atlas/app.js           list and route  │
//!   /.atlas/player.js        Media Source    │
//!   /.atlas/playlist.js      HLS             ┘
//!   /.atlas/catalogue.json   made from the snapshot's catalogue
//! ```

use std::sync::Arc;

use http::etag::ETag;

/// Under this directory all addresses are ours.
pub const DIRECTORY: &[u8] = b".atlas/";

/// Scripts, styles, pictures and data from here and nowhere else; `blob:` is how Media Source Extensions hand a stream to
/// the `video` element, `data:` the icon in the page.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'self'";

/// The catalogue and the page may be newer after the next reload: asking again costs a 304.
pub(crate) const CACHE_CONTROL: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Address below the root, media type, content.
const COMPILED_IN: [(&str, &str, &str); 5] = [
    ("", HTML, include_str!("page/index.html")),
    (".atlas/style.css", STYLE, include_str!("page/style.css")),
    (".atlas/app.js", SCRIPT, include_str!("page/app.js")),
    (".atlas/player.js", SCRIPT, include_str!("page/player.js")),
    (".atlas/playlist.js", SCRIPT, include_str!("page/playlist.js")),
];

/// Content that is sent from memory.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) content_type: &'static str,
    pub(crate) content: Arc<[u8]>,
    pub(crate) etag: ETag,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Pages {
    pages: Vec<(&'static str, Page)>,
}

impl Pages {
    pub(crate) fn new(catalogue_json: &str) -> Self {
        let page = |content_type, content: &str| Page {
            content_type,
            content: content.as_bytes().into(),
            etag: ETag::of_content(content.as_bytes()),
        };
        let mut pages: Vec<_> = COMPILED_IN
            .iter()
            .map(|&(path, content_type, content)| (path, page(content_type, content)))
            .collect();
        pages.push((".atlas/catalogue.json", page("application/json", catalogue_json)));
        Self { pages }
    }

    /// The page at a decoded path.
    pub(crate) fn at(&self, path: &[u8]) -> Option<&Page> {
        self.pages.iter().find(|(at, _)| at.as_bytes() == path).map(|(_, page)| page)
    }
}

#[cfg(test)]
mod tests {
    use super::{COMPILED_IN, Pages};

    /// A reply waits in memory until it is acknowledged, so all pages have to be small.
    #[test]
    fn pages_are_small_and_there() {
        let pages = Pages::new("{}");
        for (path, content_type, content) in COMPILED_IN {
            let page = pages.at(path.as_bytes()).unwrap();
            assert_eq!(page.content_type, content_type);
            assert!(!content.is_empty() && content.len() < 64 * 1024, "{path}");
        }
        assert_eq!(&*pages.at(b".atlas/catalogue.json").unwrap().content, b"{}");
        assert!(pages.at(b".atlas/").is_none());
    }

    #[test]
    fn everything_a_page_names_is_there_and_nothing_comes_from_elsewhere() {
        let pages = Pages::new("{}");
        for (path, _, content) in COMPILED_IN {
            for part in content.split(['"', '\'', '`']).filter(|part| part.starts_with("/.atlas/")) {
                assert!(pages.at(&part.as_bytes()[1..]).is_some(), "{path} names {part}");
            }
            // The one absolute address is the name of the SVG language in the icon.
            let elsewhere = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}");
            assert!(
                !content.contains("<script>") && !content.contains("style="),
                "{path}: the policy forbids it"
            );
        }
    }

    #[test]
    fn another_catalogue_has_another_tag() {
        let tag = |json| Pages::new(json).at(b".atlas/catalogue.json").unwrap().etag;
        assert_ne!(tag("{}"), tag("[]"));
    }
}
