//! Media types by file name, for what a video server has in its directories.

/// What a name says nothing about.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file of this name or path, judged by its suffix without regard to case.
#[must_use]
pub fn of(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return UNKNOWN };
    let mut lower = [0_u8; SUFFIX_BYTES_MAX];
    let suffix = &name[dot + 1..];
    let Some(lower) = lower.get_mut(..suffix.len()) else { return UNKNOWN };
    lower.copy_from_slice(suffix);
    lower.make_ascii_lowercase();
    of_suffix(lower)
}

/// No suffix below is longer.
const SUFFIX_BYTES_MAX: usize = 11;

fn of_suffix(suffix: &[u8]) -> &'static str {
    match suffix {
        // Playlists and manifests: RFC 8216 §4, ISO/IEC 23009-1 annex C.
        b"m3u8" => "application/vnd.apple.mpegurl",
        b"m3u" => "audio/mpegurl",
        b"mpd" => "application/dash+xml",
        b"ism" | b"ismc" => "application/vnd.ms-sstr+xml",
        // Segments: CMAF (ISO/IEC 23000-19 §7.3), MPEG-2 transport streams.
        b"m4s" => "video/iso.segment",
        b"cmfv" | b"mp4" | b"m4v" => "video/mp4",
        b"cmfa" | b"m4a" | b"mp4a" => "audio/mp4",
        b"cmft" | b"cmfm" => "application/mp4",
        b"ts" | b"m2ts" | b"mts" => "video/mp2t",
        // Films and sound.
        b"webm" => "video/webm",
        b"weba" => "audio/webm",
        b"mkv" => "video/matroska",
        b"mka" => "audio/matroska",
        b"mov" | b"qt" => "video/quicktime",
        b"ogv" => "video/ogg",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"aac" | b"adts" => "audio/aac",
        b"ac3" => "audio/ac3",
        b"ec3" | b"eac3" => "audio/eac3",
        b"mp3" => "audio/mpeg",
        b"flac" => "audio/flac",
        b"wav" => "audio/wav",
        // Subtitles.
        b"vtt" => "text/vtt; charset=utf-8",
        b"ttml" | b"dfxp" => "application/ttml+xml",
        b"srt" => "application/x-subrip",
        // Pictures.
        b"jpg" | b"jpeg" => "image/jpeg",
        b"png" => "image/png",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"gif" => "image/gif",
        b"svg" => "image/svg+xml",
        b"ico" => "image/vnd.microsoft.icon",
        // Pages.
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"json" | b"map" => "application/json",
        b"webmanifest" => "application/manifest+json",
        b"txt" | b"log" => "text/plain; charset=utf-8",
        b"md" => "text/markdown; charset=utf-8",
        b"xml" => "application/xml",
        b"wasm" => "application/wasm",
        b"woff2" => "font/woff2",
        b"pdf" => "application/pdf",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN, of};

    #[test]
    fn the_files_of_a_stream_have_their_registered_types() {
        let table: [(&[u8], &str); 12] = [
            (b"a/master.m3u8", "application/vnd.apple.mpegurl"),
            (b"manifest.mpd", "application/dash+xml"),
            (b"init.mp4", "video/mp4"),
            (b"seg-1.m4s", "video/iso.segment"),
            (b"v.cmfv", "video/mp4"),
            (b"a.cmfa", "audio/mp4"),
            (b"t.cmft", "application/mp4"),
            (b"seg.ts", "video/mp2t"),
            (b"subtitles.vtt", "text/vtt; charset=utf-8"),
            (b"film.webm", "video/webm"),
            (b"sound.aac", "audio/aac"),
            (b"sound.ac3", "audio/ac3"),
        ];
        for (path, expected) in table {
            assert_eq!(of(path), expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(of(b"FILM.MP4"), "video/mp4");
    }

    #[test]
    fn the_suffix_is_the_names_not_a_directorys() {
        assert_eq!(of(b"films.mp4/README"), UNKNOWN);
    }

    #[test]
    fn a_strange_suffix_is_only_octets() {
        for path in [b"x".as_slice(), b"x.", b"x.thisisaverylongsuffix", b"", b"x.\xff", b"x.key"] {
            assert_eq!(of(path), UNKNOWN);
        }
    }

    #[test]
    fn every_suffix_fits() {
        assert_eq!(of(b"site.webmanifest"), "application/manifest+json");
    }
}
