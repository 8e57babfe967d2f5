use super::*;
use core::time::Duration;
use std::os::unix::ffi::OsStrExt as _;
use std::time::SystemTime;

/// A directory of a test's own, gone when the test is.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sandstorm-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Sets a file's time of change to so many seconds ago.
    pub(crate) fn age(&self, path: &str, seconds: u64) -> &Self {
        let file = File::options().append(true).open(self.0.join(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        self
    }

    pub(crate) fn site(&self) -> Site {
        Site::load(&self.0, Settings::default(), Redirects::default(), None).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn codings(site: &Site, path: &str) -> Vec<Option<Coding>> {
    site.find(path.as_bytes()).unwrap().variants.iter().map(|variant| variant.coding).collect()
}

#[test]
fn coded_siblings_are_forms_of_their_file_and_files_of_their_own() {
    let dir = Directory::new("siblings");
    dir.write("a.js", b"bare").write("a.js.br", b"br").write("a.js.zst", b"zst").write("b.gz", b"gz");
    let site = dir.site();
    assert_eq!(codings(&site, "a.js"), [None, Some(Coding::Brotli), Some(Coding::Zstd)]);
    assert_eq!(codings(&site, "a.js.br"), [None]);
    assert_eq!(codings(&site, "b.gz"), [None], "a coded file without a bare one is only itself");
    let coded = &site.find(b"a.js").unwrap().variants[1];
    assert_eq!(site.read(coded).unwrap(), b"br");
    assert_ne!(coded.etag, site.find(b"a.js").unwrap().variants[0].etag);
}

#[test]
fn a_sibling_older_than_its_file_is_told_and_left_out() {
    let dir = Directory::new("stale");
    dir.write("a.js", b"new").write("a.js.gz", b"old").age("a.js.gz", 60);
    let site = dir.site();
    assert_eq!(codings(&site, "a.js"), [None]);
    let line = site.problems()[0].to_string();
    assert!(line.contains("a.js.gz") && line.contains("compress it again"), "{line}");
}

#[test]
fn a_directory_is_its_index_and_is_known_without_its_slash() {
    let dir = Directory::new("index");
    dir.write("index.html", b"root").write("docs/index.html", b"docs").write("bare/file", b"x");
    let site = dir.site();
    assert!(site.find(b"").is_some() && site.find(b"docs/").is_some() && site.find(b"docs").is_none());
    assert!(site.lacks_slash(b"docs") && !site.lacks_slash(b"bare") && !site.lacks_slash(b"docs/"));
    assert!(site.find(b"bare/").is_none());
}

#[test]
fn a_name_that_is_not_utf_8_is_served_like_any_other() {
    let dir = Directory::new("names");
    fs::write(dir.0.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.css")), b"x").unwrap();
    let site = dir.site();
    let resource = site.find(b"\xff\xfe.css").unwrap();
    assert_eq!(resource.content_type, "text/css; charset=utf-8");
    assert_eq!(site.read(&resource.variants[0]).unwrap(), b"x");
    assert!(site.problems().is_empty());
}

#[test]
fn hidden_files_and_links_out_of_the_directory_are_nobodys() {
    let dir = Directory::new("hidden");
    dir.write(".secret", b"x").write("a", b"a");
    std::os::unix::fs::symlink("/etc/hostname", dir.0.join("out")).unwrap();
    std::os::unix::fs::symlink("a", dir.0.join("in")).unwrap();
    let site = dir.site();
    assert!(site.find(b".secret").is_none() && site.find(b"out").is_none());
    assert_eq!(site.read(&site.find(b"in").unwrap().variants[0]).unwrap(), b"a");
}

#[test]
fn bytes_of_another_file_are_never_read_under_the_old_tag() {
    let dir = Directory::new("changed");
    dir.write("written", b"one").age("written", 60).write("replaced", b"one").write("gone", b"one");
    let site = dir.site();
    let read = |name: &str| site.read(&site.find(name.as_bytes()).unwrap().variants[0]);
    assert!(read("written").is_ok());
    dir.write("written", b"two").write("new", b"two");
    fs::rename(dir.0.join("new"), dir.0.join("replaced")).unwrap();
    fs::remove_file(dir.0.join("gone")).unwrap();
    for name in ["written", "replaced", "gone"] {
        let error = read(name).unwrap_err();
        assert!(matches!(error, LoadError::Changed { .. }), "{name}: {error}");
        assert!(error.to_string().contains(name));
        assert!(!site.is_fresh(&site.find(name.as_bytes()).unwrap().variants[0]));
    }
}

#[test]
fn what_did_not_change_keeps_its_number_in_the_next_site() {
    let dir = Directory::new("numbers");
    dir.write("same", b"one").write("other", b"one").age("other", 60);
    let before = dir.site();
    dir.write("other", b"two").write("more", b"x");
    let after = Site::load(&dir.0, Settings::default(), Redirects::default(), Some(&before)).unwrap();
    let key = |site: &Site, name: &str| site.find(name.as_bytes()).unwrap().variants[0].key;
    assert_eq!(key(&before, "same"), key(&after, "same"));
    assert_ne!(key(&before, "other"), key(&after, "other"));
    let mut keys: Vec<Key> = after.variants().map(|variant| variant.key).collect();
    keys.dedup();
    assert_eq!(keys.len(), 3);
}

#[test]
fn fields_that_find_no_room_beside_others_are_told_once_with_the_limit() {
    let dir = Directory::new("crowded");
    dir.write("a.js", b"x").write("b.js", b"x");
    let rule = |pattern: &str, name: &str| crate::rules::Rule {
        pattern: pattern.to_owned(),
        cache_control: None,
        fields: vec![(name.to_owned(), "x".repeat(4_000))],
    };
    let settings = Settings { rules: vec![rule("**", "X-A"), rule("*.js", "X-B")], ..Settings::default() };
    let site = Site::load(&dir.0, settings, Redirects::default(), None).unwrap();
    let [problem] = site.problems() else { panic!("{:?}", site.problems()) };
    let line = problem.to_string();
    assert!(line.contains("a.js") && line.contains("4096"), "{line}");
}

#[test]
fn a_coded_sibling_is_one_file_under_both_names_from_site_to_site() {
    let dir = Directory::new("sibling-numbers");
    dir.write("a.js", b"bare").write("a.js.gz", b"gz");
    let before = dir.site();
    dir.write("more", b"x");
    let after = Site::load(&dir.0, Settings::default(), Redirects::default(), Some(&before)).unwrap();
    for site in [&before, &after] {
        let coded = &site.find(b"a.js").unwrap().variants[1];
        let own = &site.find(b"a.js.gz").unwrap().variants[0];
        assert_eq!((coded.key, coded.coding, own.coding), (own.key, Some(Coding::Gzip), None));
        assert_eq!(coded.key, before.find(b"a.js").unwrap().variants[1].key);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_a_change_and_nobody_waits_for_a_writer() {
    let dir = Directory::new("pipe");
    dir.write("a", b"one");
    let site = dir.site();
    fs::remove_file(dir.0.join("a")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, dir.0.join("a"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = site.read(&site.find(b"a").unwrap().variants[0]).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
    assert!(dir.site().find(b"a").is_none());
}

#[test]
fn a_file_whose_time_was_set_back_is_another_all_the_same() {
    let dir = Directory::new("set-back");
    dir.write("a", b"one");
    let path = dir.0.join("a");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let site = dir.site();
    // Files tell time in ticks of the kernel's coarse clock.
    std::thread::sleep(Duration::from_millis(20));
    dir.write("a", b"two");
    File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    let before = &site.find(b"a").unwrap().variants[0];
    let error = site.read(before).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
    let site = dir.site();
    let after = &site.find(b"a").unwrap().variants[0];
    assert_eq!((after.last_modified, after.len()), (before.last_modified, before.len()));
    assert_ne!(after.etag, before.etag, "nobody is told that he has it already");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = Site::load(Path::new("/nowhere/at/all"), Settings::default(), Redirects::default(), None);
    assert!(error.unwrap_err().to_string().contains("/nowhere/at/all"));
}
