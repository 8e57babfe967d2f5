//! The operator's zones: loaded once, loaded again when their files change, one at a time.
//!
//! ```text
//! files ── load beside ──▶ zone ──▶ a new catalogue, which shares all other zones ──▶ whoever asks next
//!              │ broken: an error, and the zone that was served goes on being served
//! ```
//!
//! Loading is a [`Task`] that another thread can run while the keeper goes on: what comes of it is taken over at once.

use crate::catalogue::Catalogue;
use crate::hash::{Form, Key};
use crate::load::{self, Files, Reason, Threads, ZoneError};
use crate::transfer::policy::Policy;
use crate::zone::{self, Warning, Weight, Zone};
use core::panic::AssertUnwindSafe;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;

/// A zone and the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

#[derive(Clone, Debug)]
struct Kept {
    source: Source,
    /// Its file and those that it includes, as they were when they were read; nothing when they were not.
    files: Option<Files>,
}

/// Zones to be looked at, and all that it takes.
#[derive(Debug)]
pub struct Task {
    kept: Vec<Kept>,
    threads: Threads,
    /// What is served: a zone that changes says how.
    catalogue: Arc<Catalogue>,
    /// The rules that will be in force.
    policy: Arc<Policy>,
}

/// What came of a [`Task`].
#[derive(Debug, Default)]
pub struct Done {
    read: Vec<(Kept, Result<Read, ZoneError>)>,
}

#[derive(Debug)]
struct Read {
    zone: Arc<Zone>,
    warnings: Vec<Warning>,
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

    /// From now on these zones from files, those with these names from other servers, and no others, under these rules.
    /// A zone that stays is not read again; one that other servers have and we do not is withheld.
    pub fn set(&mut self, sources: Vec<Source>, fetched: &[Vec<u8>], policy: Arc<Policy>) {
        let mut before: BTreeMap<Source, Option<Files>> =
            self.kept.drain(..).map(|kept| (kept.source, kept.files)).collect();
        self.kept = sources
            .into_iter()
            .map(|source| Kept { files: before.remove(&source).flatten(), source })
            .collect();
        let (key, form) = (self.catalogue.key(), self.catalogue.form());
        let named: BTreeSet<&[u8]> =
            self.kept.iter().map(|kept| &kept.source.apex).chain(fetched).map(|apex| &apex[..]).collect();
        let mut zones: Vec<_> =
            self.catalogue.zones().iter().filter(|zone| named.contains(zone.apex())).cloned().collect();
        let missing = fetched.iter().filter(|apex| self.catalogue.zone(apex).is_none());
        zones.extend(missing.map(|apex| Arc::new(Zone::withheld(apex, key, form))));
        self.catalogue = Arc::new(Catalogue::new(key, form, zones).governed(policy));
    }

    /// Zones that came from elsewhere take the places of those of their names.
    pub fn install(&mut self, zones: Vec<Arc<Zone>>) {
        if zones.is_empty() {
            return;
        }
        let replaced: BTreeSet<&[u8]> = zones.iter().map(|zone| zone.apex()).collect();
        let others = self.catalogue.zones().iter().filter(|zone| !replaced.contains(zone.apex())).cloned();
        let all = others.chain(zones.iter().cloned()).collect();
        let (key, form) = (self.catalogue.key(), self.catalogue.form());
        let policy = Arc::clone(self.catalogue.policy());
        self.catalogue = Arc::new(Catalogue::new(key, form, all).governed(policy));
    }

    /// The zones as they are now. It never changes: after a reload there is another.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue)
    }

    /// Loads every zone of which a file, its own or an included one, is not what it was, and says what came of each.
    pub fn refresh(&mut self) -> Vec<Outcome> {
        let done = self.task().run();
        self.finish(done)
    }

    /// What [`refresh`](Self::refresh) does before it changes anything.
    #[must_use]
    pub fn task(&self) -> Task {
        self.task_of(self.kept.clone(), Arc::clone(self.catalogue.policy()))
    }

    /// The same for zones and rules that will be [`set`](Self::set).
    #[must_use]
    pub fn task_for(&self, sources: &[Source], policy: Arc<Policy>) -> Task {
        let known: BTreeMap<&Source, &Option<Files>> =
            self.kept.iter().map(|kept| (&kept.source, &kept.files)).collect();
        let kept = sources.iter().map(|source| {
            let files = known.get(source).copied().cloned().flatten();
            Kept { source: source.clone(), files }
        });
        self.task_of(kept.collect(), policy)
    }

    fn task_of(&self, kept: Vec<Kept>, policy: Arc<Policy>) -> Task {
        Task { kept, threads: self.threads, catalogue: self.catalogue(), policy }
    }

    /// Takes over what came of a task. A zone that is no longer wanted, or from another file, does not count.
    pub fn finish(&mut self, done: Done) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut fresh = Vec::new();
        let places: BTreeMap<Source, usize> =
            self.kept.iter().enumerate().map(|(index, kept)| (kept.source.clone(), index)).collect();
        for (read, result) in done.read {
            let Some(index) = places.get(&read.source) else { continue };
            self.kept[*index].files = read.files;
            let result = result.map(|Read { zone, warnings }| {
                let weight = zone.weight();
                fresh.push(zone);
                (weight, warnings)
            });
            outcomes.push(Outcome { source: read.source, result });
        }
        self.install(fresh);
        outcomes
    }
}

impl Task {
    /// Loads what has changed. May take long; nothing waits for it but whoever wants to know.
    #[must_use]
    pub fn run(self) -> Done {
        let Self { kept, threads, catalogue, policy } = self;
        let (key, form) = (catalogue.key(), catalogue.form());
        let mut read = Vec::new();
        for mut kept in kept {
            // A zone that is broken is not read again before it changes.
            if kept.files.as_ref().is_some_and(Files::are_as_they_were) {
                continue;
            }
            let files = kept.files.insert(Files::default());
            let result = load_zone_noting(&kept.source, key, form, threads, files).map(|mut built| {
                let apex = &kept.source.apex;
                if let Some(before) = catalogue.zone(apex).filter(|_| policy.is_sent(apex)) {
                    if built.zone.serial() == before.serial() && !built.zone.says_what(before) {
                        built.warnings.push(Warning::SameSerial(before.serial()));
                    }
                    built.zone.succeed(before, key, form);
                }
                Read { zone: Arc::new(built.zone), warnings: built.warnings }
            });
            read.push((kept, result));
        }
        Done { read }
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
    let load = || {
        let loaded = load::read_file_noting(path, apex, threads, files)?;
        zone::build(apex, loaded, key, form)
    };
    // A zone that we stumble over is to stop nothing but itself, whoever is to blame.
    let built = catch_unwind(AssertUnwindSafe(load));
    built.unwrap_or_else(|_| Err(ZoneError::new(Reason::Panic))).map_err(|mut error| {
        if error.place.is_none()
            && let Some((owner, rtype)) = error.subject()
        {
            error.place = load::locate(path, apex, owner, rtype);
        }
        // What is missing stands nowhere: the file is to blame from its first line on.
        error.place.get_or_insert_with(|| load::Place { file: path.clone(), line: 1 });
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
    fn zones_come_and_go_and_those_that_stay_are_not_read_again() {
        let files = Directory::new("set");
        let (a, b) = (files.write("a", 1, ""), files.write("b", 1, ""));
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), vec![a.clone()]);
        keeper.refresh();
        let first = keeper.catalogue();
        keeper.set(vec![a.clone(), b.clone()], &[from_text(b"c").unwrap()], Arc::default());
        let outcomes = keeper.refresh();
        assert_eq!(outcomes.iter().map(|outcome| &outcome.source).collect::<Vec<_>>(), [&b]);
        assert!(Arc::ptr_eq(first.zone(&a.apex).unwrap(), keeper.catalogue().zone(&a.apex).unwrap()));
        let fetched = |keeper: &Keeper| keeper.catalogue().zone(&from_text(b"c").unwrap()).cloned();
        assert!(fetched(&keeper).unwrap().is_withheld(), "it is ours, and nothing is known of it");
        keeper.set(vec![b], &[], Arc::default());
        assert!(keeper.refresh().is_empty());
        assert_eq!((serial(&keeper, "a"), serial(&keeper, "b")), (None, Some(1)));
        assert!(fetched(&keeper).is_none());
    }

    #[test]
    fn what_was_loaded_for_a_zone_that_has_gone_meanwhile_does_not_count() {
        let files = Directory::new("meanwhile");
        let (a, b) = (files.write("a", 1, ""), files.write("b", 1, ""));
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), vec![a.clone(), b]);
        keeper.refresh();
        files.write("a", 2, "x A 192.0.2.1\n");
        files.write("b", 2, "x A 192.0.2.1\n");
        let done = keeper.task().run();
        keeper.set(vec![a.clone()], &[], Arc::default());
        let outcomes = keeper.finish(done);
        assert_eq!(outcomes.iter().map(|outcome| &outcome.source).collect::<Vec<_>>(), [&a]);
        assert_eq!((serial(&keeper, "a"), serial(&keeper, "b")), (Some(2), None));
        assert!(keeper.refresh().is_empty(), "a was read as it is");
    }

    #[test]
    fn zones_that_will_be_set_are_loaded_before_they_are() {
        let files = Directory::new("before");
        let (a, b) = (files.write("a", 1, ""), files.write("b", 1, ""));
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), vec![a.clone()]);
        keeper.refresh();
        let done = keeper.task_for(&[a.clone(), b.clone()], Arc::default()).run();
        assert_eq!((serial(&keeper, "a"), serial(&keeper, "b")), (Some(1), None));
        keeper.set(vec![a, b.clone()], &[], Arc::default());
        let outcomes = keeper.finish(done);
        assert_eq!(
            outcomes.iter().map(|outcome| &outcome.source).collect::<Vec<_>>(),
            [&b],
            "a is as it was"
        );
        assert_eq!((serial(&keeper, "a"), serial(&keeper, "b")), (Some(1), Some(1)));
    }

    #[test]
    fn a_change_that_secondaries_will_not_see_is_said() {
        let files = Directory::new("serial");
        let source = files.write("a", 1, "");
        let mut keeper = Keeper::new(Key::new([0; 16]), Form::Wire, Threads(1), Vec::new());
        let rules = crate::transfer::policy::Rules {
            transfer: vec!["0.0.0.0/0".parse().unwrap()],
            primaries: Vec::new(),
        };
        let rules = [(source.apex.clone().into(), rules)].into();
        keeper.set(vec![source], &[], Arc::new(Policy::new(Vec::new(), rules)));
        let mut warnings = |serial, rest: &str| {
            files.write("a", serial, rest);
            let outcomes = keeper.refresh();
            outcomes.into_iter().flat_map(|outcome| outcome.result.unwrap().1).collect::<Vec<_>>()
        };
        assert_eq!(warnings(1, ""), []);
        assert_eq!(warnings(1, "; no more than a remark\n"), []);
        assert_eq!(warnings(1, "x A 1.1.1.1\n"), [Warning::SameSerial(1)]);
        assert_eq!(warnings(2, "x A 1.1.1.1\nxx A 1.1.1.1\n"), []);
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
