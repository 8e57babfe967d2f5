//! The player's playlist reader in the browser it is written for.
//!
//! The module and its laws are put into one page, which Chromium opens from a file and prints when its script has run.
//! No server and no network take part; that the player plays is another test's, in `tests/interop`.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    #[test]
    #[ignore = "needs root"]
    fn playlists_are_read_as_rfc_8216_has_them() {
        let module = include_str!("../src/page/playlist.js").replace("export function", "function");
        let laws = include_str!("playlist.js");
        let page = format!(
            "<!doctype html><meta charset=\"utf-8\"><body>no script has run</body><script type=\"module\">{module}\n{laws}</script>"
        );
        let directory = Directory::new();
        let file = directory.0.join("laws.html");
        fs::write(&file, page).expect("a temporary directory can be written");

        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .arg(format!("--user-data-dir={}", directory.0.join("profile").display()))
            .arg(format!("file://{}", file.display()))
            .output()
            .expect("chromium starts: apt-get install chromium");
        let page = String::from_utf8_lossy(&output.stdout);
        assert!(
            page.contains("<body>every law holds</body>"),
            "{page}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A directory that is gone when the test is.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("atlas-laws-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a temporary directory can be made");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            // The browser may still be tidying up; what it leaves is a temporary file.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
