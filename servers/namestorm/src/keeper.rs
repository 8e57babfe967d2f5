//! The operator's zones: loaded once, loaded again when their files change, one at a time.
//!
//! ```text
//! files ── load beside ──▶ zone ──▶ a new catalogue, which shares all other zones ──▶ whoever asks next
//!              │ broken: an error, and the zone that was served goes on being served
//! ```

use crate::catalogue::Catalogue;
use crate::hash::{Form, Key};
use crate::load::{self, Files, Threads, ZoneError};
use crate::zone::{self, Warning, Weight, Zone};
use std::path::PathBuf;
use std::sync::Arc;

/// A zone and the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, folded, on the wire.
    pub apex: Vec<u8>,
    /// Its file.
    pub path: PathBuf,
}

/// What came of loading a zone.
#[derive(Debug)]
pub struct Outcome {
    /// Which zone.
    pub source: Source,
    /// What it weighs and what looks wrong with it; or why what was served before is served on.
    pub result: Result<(Weight, Vec<Warning>), ZoneError>,
}

#[derive(Debug)]
struct Kept {
    source: Source,
    /// Its file and those that it includes, as they were when they were read; nothing when they were not.
    files: Option<Files>,
}

/// Keeps zones and their catalogue.
#[derive(Debug)]
pub struct Keeper {
    kept: Vec<Kept>,
    threads: Threads,
    catalogue: Arc<Catalogue>,
}

impl Keeper {
    /// A keeper that has loaded nothing yet.
    #[must_use]
    pub fn new(key: Key, form: Form, threads: Threads, sources: Vec<Source>) -> Self {
        let kept = sources.into_iter().map(|source| Kept { source, files: None }).collect();
        Self { kept, threads, catalogue: Arc::new(Catalogue::empty(key, form)) }
    }

    /// From now on, so many threads parse a zone: a thread that has given up making others parses alone.
    pub const fn set_threads(&mut self, threads: Threads) {
        self.threads = threads;
    }

    /// The zones as they are now. It never changes: after a reload there is another.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue)
    }

    /// Loads every zone of which a file, its own or an included one, is not what it was, and says what came of each.
    pub fn refresh(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut fresh: Vec<Arc<Zone>> = Vec::new();
        for kept in &mut self.kept {
            // A zone that is broken is not read again before it changes.
            if kept.files.as_ref().is_some_and(Files::are_as_they_were) {
                continue;
            }
            let (key, form) = (self.catalogue.key(), self.catalogue.form());
            let files = kept.files.insert(Files::default());
            let loaded = load_zone_noting(&kept.source, key, form, self.threads, files);
            let result = loaded.map(|built| {
                let weight = built.zone.weight();
                fresh.push(Arc::new(built.zone));
                (weight, built.warnings)
            });
            outcomes.push(Outcome { source: kept.source.clone(), result });
        }
        if !fresh.is_empty() {
            let mut zones = self.catalogue.zones().to_vec();
            let (key, form) = (self.catalogue.key(), self.catalogue.form());
            zones.retain(|old| {
                self.catalogue.zone(old.apex()).is_some_and(|current| Arc::ptr_eq(current, old))
            });
            zones.retain(|old| !fresh.iter().any(|zone| zone.apex() == old.apex()));
            zones.extend(fresh);
            self.catalogue = Arc::new(Catalogue::new(key, form, zones));
        }
        outcomes
    }
}

/// Loads one zone; an error says where it stands.
///
/// # Errors
/// What is wrong with the zone.
pub fn load_zone(source: &Source, key: Key, form: Form, threads: Threads) -> Result<zone::Built, ZoneError> {
    load_zone_noting(source, key, form, threads, &mut Files::default())
}

fn load_zone_noting(
    source: &Source,
    key: Key,
    form: Form,
    threads: Threads,
    files: &mut Files,
) -> Result<zone::Built, ZoneError> {
    let Source { apex, path } = source;
    let loaded = load::read_file_noting(path, apex, threads, files)?;
    zone::build(apex, loaded, key, form).map_err(|mut error| {
        if error.place.is_none()
            && let Some((owner, rtype)) = error.subject()
        {
            error.place = load::locate(path, apex, owner, rtype);
        }
        error
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dns::name::from_text;

    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("namestorm-keeper-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        fn write(&self, name: &str, serial: u32, rest: &str) -> Source {
            let path = self.0.join(name);
            let text = format!("$TTL 1\n@ SOA a b {serial} 1 1 1 1\n@ NS ns.test.\n{rest}");
            std::fs::write(&path, text).unwrap();
            Source { apex: from_text(name.as_bytes()).unwrap(), path }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn serial(keeper: &Keeper, name: &str) -> Option<u32> {
        keeper.catalogue().zone(&from_text(name.as_bytes()).unwrap()).map(|zone| zone.serial())
    }

    #[test]
    fn a_broken_zone_stops_no_other_and_replaces_nothing() {
        let files = Directory::new("broken");
        let sources = vec![files.write("good", 1, ""), files.write("bad", 1, "x A 1.2.3\n")];
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), sources);
        let outcomes = keeper.refresh();
        assert!(outcomes[0].result.is_ok());
        let error = outcomes[1].result.as_ref().unwrap_err().to_string();
        assert!(error.contains("bad:4: "), "{error}");
        assert_eq!((serial(&keeper, "good"), serial(&keeper, "bad")), (Some(1), None));

        files.write("bad", 2, "repaired A 1.2.3.4\n");
        files.write("good", 2, "now CNAME broken\nnow TXT \"indeed, and longer than it was\"\n");
        let before = keeper.catalogue();
        let outcomes = keeper.refresh();
        let error = outcomes[0].result.as_ref().unwrap_err().to_string();
        assert!(error.contains("good:4: ") && error.contains("CNAME"), "{error}");
        assert_eq!((serial(&keeper, "good"), serial(&keeper, "bad")), (Some(1), Some(2)));
        // Whoever holds the old catalogue goes on with it, and what did not change is shared.
        assert!(before.zone(&from_text(b"bad").unwrap()).is_none());
        let good = from_text(b"good").unwrap();
        assert!(Arc::ptr_eq(before.zone(&good).unwrap(), keeper.catalogue().zone(&good).unwrap()));
        assert!(keeper.refresh().is_empty(), "nothing changed");
    }

    #[test]
    fn an_included_file_that_changes_alone_is_read_again_even_after_it_was_broken() {
        let files = Directory::new("include");
        let included = files.0.join("hosts");
        std::fs::write(&included, "a A 192.0.2.1\n").unwrap();
        let sources = vec![files.write("zone", 1, "$INCLUDE hosts\n")];
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), sources);
        let names = |keeper: &mut Keeper| match &keeper.refresh()[..] {
            [] => None,
            [outcome] => {
                Some(outcome.result.as_ref().map(|(weight, _)| weight.names).map_err(ToString::to_string))
            }
            more => panic!("{more:?}"),
        };
        assert_eq!(names(&mut keeper), Some(Ok(2)));
        assert_eq!(names(&mut keeper), None, "nothing changed");

        std::fs::write(&included, "a A 192.0.2.1\nb A 192.0.2.2\n").unwrap();
        assert_eq!(names(&mut keeper), Some(Ok(3)));

        std::fs::write(&included, "a A 192.0.2.1\nb A 192.0.2.999\n").unwrap();
        let error = names(&mut keeper).unwrap().unwrap_err();
        assert!(error.contains("hosts:2: "), "{error}");
        assert_eq!(names(&mut keeper), None, "it is as broken as it was");

        std::fs::remove_file(&included).unwrap();
        let error = names(&mut keeper).unwrap().unwrap_err();
        assert!(error.contains("zone:4: cannot read ") && error.contains("hosts"), "{error}");

        std::fs::write(&included, "a A 192.0.2.1\nb A 192.0.2.2\nc A 192.0.2.3\n").unwrap();
        assert_eq!(names(&mut keeper), Some(Ok(4)));
    }

    #[test]
    fn of_many_zones_each_is_found() {
        let files = Directory::new("many");
        let sources: Vec<_> =
            (0..300).map(|index| files.write(&format!("z{index}.test"), index, "")).collect();
        let mut keeper = Keeper::new(Key::new([3; 16]), Form::Name, Threads(1), sources);
        assert!(keeper.refresh().iter().all(|outcome| outcome.result.is_ok()));
        for index in 0..300 {
            assert_eq!(serial(&keeper, &format!("z{index}.test")), Some(index));
        }
    }
}
