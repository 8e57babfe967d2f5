//! As much of an HLS playlist (RFC 8216) as a catalogue needs: whom it names, and how long it lasts.

use http::target::{self, Target};

/// What a playlist says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    /// Every address in it: playlists, segments, initialisation sections.
    pub(super) uris: Vec<String>,
    /// The segments' durations together; nothing for a playlist of playlists.
    pub(super) duration_s: Option<f64>,
}

impl Content {
    /// Reads any text; what is no playlist names nobody.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        // RFC 8216 §4.3.1.1: "It MUST be the first line".
        if lines.next() != Some("#EXTM3U") {
            return Self::default();
        }
        let mut content = Self::default();
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(info) = line.strip_prefix("#EXTINF:") {
                let seconds = info.split(',').next().and_then(|seconds| seconds.trim().parse::<f64>().ok());
                if let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
                    *content.duration_s.get_or_insert(0.0) += seconds;
                }
            } else if line.starts_with("#EXT") {
                content.uris.extend(uri_attribute(line).map(str::to_owned));
            } else if !line.starts_with('#') {
                content.uris.push(line.to_owned());
            }
        }
        content
    }
}

/// The value of the attribute `URI="…"` of a tag (RFC 8216 §4.2).
fn uri_attribute(line: &str) -> Option<&str> {
    let (_, attributes) = line.split_once(':')?;
    let start = if attributes.starts_with("URI=\"") { 5 } else { attributes.find(",URI=\"")? + 6 };
    attributes[start..].split_once('"').map(|(uri, _)| uri)
}

/// The path below the root that `uri` means in the playlist at `path`; nothing when it leads elsewhere.
pub(super) fn resolve(path: &[u8], uri: &str) -> Option<Vec<u8>> {
    if uri.contains("://") || uri.starts_with("//") {
        return None;
    }
    let uri = uri.split(['?', '#']).next()?;
    // The directory is a name and the reference an address: both as an address, then decoded the way a request is.
    let base: String = match uri.strip_prefix('/') {
        Some(_) => String::new(),
        None => target::encode(super::directory_of(path)).map(char::from).collect(),
    };
    // RFC 3986 §5.2.4.
    let mut segments: Vec<&str> = base.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in uri.split('/') {
        match segment {
            "." | "" => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    let address = format!("/{}", segments.join("/"));
    match Target::parse(address.as_bytes()) {
        Ok(Target::Resource(resource)) => Some(resource.path.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, resolve};

    #[test]
    fn a_media_playlist_names_its_segments_and_adds_up() {
        let text = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"9@0\"\r\n#EXTINF:2.5,title\na.m4s\n#EXTINF:1.5\n b.m4s \n\n#x\n";
        let content = Content::parse(text);
        assert_eq!(content.uris, ["init.mp4", "a.m4s", "b.m4s"]);
        assert_eq!(content.duration_s, Some(4.0));
    }

    #[test]
    fn a_master_playlist_names_its_variants_and_lasts_nothing_itself() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a,URI\",URI=\"s/i.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/i.m3u8\n";
        let content = Content::parse(text);
        assert_eq!(content.uris, ["s/i.m3u8", "v/i.m3u8"]);
        assert_eq!(content.duration_s, None);
    }

    #[test]
    fn other_texts_name_nobody() {
        for text in ["", "a.m4s", "\n#EXTM3U\na", "#EXTM3U8\na", "\u{0}"] {
            assert_eq!(Content::parse(text), Content::default(), "{text:?}");
        }
    }

    #[test]
    fn durations_that_are_none_do_not_count() {
        let text = "#EXTM3U\n#EXTINF:NaN,\na\n#EXTINF:-3,\nb\n#EXTINF:inf,\nc\n#EXTINF:,\nd\n#EXTINF:1,\ne\n";
        assert_eq!(Content::parse(text).duration_s, Some(1.0));
    }

    #[test]
    fn references_lead_to_paths_below_the_root_or_nowhere() {
        let table = [
            ("a/b/m.m3u8", "s.m4s", Some("a/b/s.m4s")),
            ("a/b/m.m3u8", "../s.m4s?x#y", Some("a/s.m4s")),
            ("a/b/m.m3u8", "./c//s.m4s", Some("a/b/c/s.m4s")),
            ("a/b/m.m3u8", "/s.m4s", Some("s.m4s")),
            ("m.m3u8", "s%20t.m4s", Some("s t.m4s")),
            ("100%/m.m3u8", "s.m4s", Some("100%/s.m4s")),
            ("a/m.m3u8", "../../s.m4s", None),
            ("a/m.m3u8", "%2e%2e/s.m4s", None),
            ("a/m.m3u8", "https://elsewhere/s.m4s", None),
            ("a/m.m3u8", "//elsewhere/s.m4s", None),
            ("a/m.m3u8", "s%zz", None),
        ];
        for (path, uri, expected) in table {
            let resolved = resolve(path.as_bytes(), uri);
            assert_eq!(resolved.as_deref(), expected.map(str::as_bytes), "{path} {uri}");
        }
    }
}
