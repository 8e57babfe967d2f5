use super::{Catalogue, Entry, Kind, Limits, ScanLimits};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A directory of a test's own, gone when the test is.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("atlas-catalogue-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, path: &str, content: &str) -> Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn scan(&self) -> Catalogue {
        Catalogue::scan(&self.0, &ScanLimits::default()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn paths(catalogue: &Catalogue) -> Vec<&str> {
    let path = |entry: &'_ Entry| core::str::from_utf8(&entry.path).map(str::len);
    assert!(catalogue.entries.iter().all(|entry| path(entry).is_ok()));
    let mut paths: Vec<&str> =
        catalogue.entries.iter().map(|entry| core::str::from_utf8(&entry.path).unwrap()).collect();
    paths.sort_unstable();
    paths
}

const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/index.m3u8\n";
const MEDIA: &str = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2,\na.m4s\n#EXTINF:2,\nb.m4s\n";

#[test]
fn a_stream_is_one_entry_with_all_its_files() {
    let directory = Directory::new("stream")
        .with("films/big_buck/master.m3u8", MASTER)
        .with("films/big_buck/720p/index.m3u8", MEDIA)
        .with("films/big_buck/720p/init.mp4", "init")
        .with("films/big_buck/720p/a.m4s", "a")
        .with("films/big_buck/720p/b.m4s", "b")
        .with("films/big_buck/poster.jpg", "jpg");
    let catalogue = directory.scan();
    let bytes = (MASTER.len() + MEDIA.len() + 4 + 1 + 1 + 3) as u64;
    let expected = Entry {
        path: b"films/big_buck/master.m3u8".to_vec(),
        title: "big buck".to_owned(),
        kind: Kind::Hls,
        bytes,
        duration_s: Some(4.0),
        poster: Some(b"films/big_buck/poster.jpg".to_vec()),
    };
    assert_eq!(catalogue.entries, [expected]);
    assert!(!catalogue.truncated && catalogue.problems.is_empty());
}

#[test]
fn files_that_play_are_entries_and_others_are_not() {
    let directory = Directory::new("files")
        .with("a-talk.mp4", "12345")
        .with("a-talk.png", "")
        .with("b.WEBM", "")
        .with("c.mpd", "")
        .with("notes.txt", "")
        .with(".hidden.mp4", "")
        .with(".git/d.mp4", "");
    let catalogue = directory.scan();
    assert_eq!(paths(&catalogue), ["a-talk.mp4", "b.WEBM", "c.mpd"]);
    let talk = &catalogue.entries[0];
    assert_eq!((talk.title.as_str(), talk.bytes, talk.kind), ("a talk", 5, Kind::File));
    assert_eq!(talk.poster.as_deref(), Some(b"a-talk.png".as_slice()));
}

#[test]
fn links_are_followed_inside_only() {
    let outside = Directory::new("outside").with("secret.mp4", "");
    let directory = Directory::new("links").with("films/a.mp4", "123");
    symlink(directory.0.join("films/a.mp4"), directory.0.join("inside.mp4")).unwrap();
    symlink(outside.0.join("secret.mp4"), directory.0.join("out.mp4")).unwrap();
    symlink("nowhere", directory.0.join("dangling.mp4")).unwrap();
    symlink(&directory.0, directory.0.join("films/circle")).unwrap();
    let catalogue = directory.scan();
    assert_eq!(paths(&catalogue), ["films/a.mp4", "inside.mp4"]);
    assert!(catalogue.problems.is_empty());
}

#[test]
fn a_scan_ends_at_its_limits_and_says_so() {
    let mut directory = Directory::new("limits");
    for index in 0..20 {
        directory = directory.with(&format!("{index}.mp4"), "");
    }
    directory = directory.with("1/2/3/deep.mp4", "");
    let scan = |limits| Catalogue::scan(&directory.0, &limits).unwrap();
    let limits = ScanLimits::default();
    for limits in [
        ScanLimits { walk: Limits { files_max: 5, ..limits.walk }, ..limits },
        ScanLimits { entries_max: 5, ..limits },
        ScanLimits { walk: Limits { depth_max: 1, ..limits.walk }, ..limits },
    ] {
        let catalogue = scan(limits);
        assert!(catalogue.truncated, "{limits:?}");
        assert!(catalogue.entries.len() <= limits.entries_max.min(limits.walk.files_max));
    }
    assert!(!scan(limits).truncated);
}

#[test]
fn a_root_that_cannot_be_read_is_an_error() {
    let directory = Directory::new("root").with("file", "");
    assert!(Catalogue::scan(&directory.0.join("missing"), &ScanLimits::default()).is_err());
    assert!(Catalogue::scan(&directory.0.join("file"), &ScanLimits::default()).is_err());
}

#[test]
fn a_playlist_that_is_no_text_is_an_entry_without_duration() {
    let directory = Directory::new("binary").with("x.m3u8", "");
    fs::write(directory.0.join("x.m3u8"), [0xff, 0xfe, 0, 1]).unwrap();
    let catalogue = directory.scan();
    assert_eq!(catalogue.entries.len(), 1);
    assert_eq!(catalogue.entries[0].duration_s, None);
}

#[test]
fn json_escapes_titles_and_encodes_paths() {
    let catalogue = Catalogue {
        entries: vec![Entry {
            path: b"a b/\"<\xff.mp4".to_vec(),
            title: "\"</script>\n".to_owned(),
            kind: Kind::File,
            bytes: 7,
            duration_s: Some(1.5),
            poster: Some(b"p q.jpg".to_vec()),
        }],
        problems: Vec::new(),
        truncated: false,
    };
    assert_eq!(
        catalogue.to_json("At\"las"),
        concat!(
            r#"{"title":"At\"las","truncated":false,"problems":0,"entries":["#,
            "\n",
            r#"{"title":"\"</script>\n","kind":"file","href":"/a%20b/%22%3C%FF.mp4","bytes":7,"duration_s":1.500,"#,
            r#""poster":"/p%20q.jpg"}]}"#,
            "\n"
        )
    );
}
