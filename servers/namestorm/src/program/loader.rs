//! Who reads zones again: a thread of its own, so that control answers while it does.
//!
//! ```text
//!   control ── what to look at ──▶ loader ── what came of it ──▶ control: all of it in one step
//!           signals, admin port, health, word of others           files, and nothing else
//! ```
//!
//! One piece of work at a time: what is asked for meanwhile is begun when the one under way has been taken over, so that each
//! begins from what is in force.

use confine::{ConfineError, Files, Kind};
use control::Wake;
use host::Policy as Privileges;
use namestorm::hash::{Form, Key};
use namestorm::keeper::{Done, Keeper, Source, Task};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::courier::Recalled;
use crate::zones::Zones;

/// What somebody wants to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The operator asked, and is told what comes of it.
    pub(crate) by_operator: bool,
    /// Zones and rules that are to be in force from then on.
    pub(crate) change: Option<Box<Zones>>,
}

impl Wanted {
    /// Both: of two changes, the later one.
    fn and(self, later: Self) -> Self {
        Self { by_operator: self.by_operator || later.by_operator, change: later.change.or(self.change) }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) wanted: Wanted,
    pub(crate) done: Done,
    /// Of zones that come from other servers and are new: what their files have.
    pub(crate) recalled: Vec<Recalled>,
}

struct Work {
    task: Task,
    new: Vec<Source>,
    key: Key,
    form: Form,
}

type Report = (Done, Vec<Recalled>);

/// Control's end.
#[derive(Debug)]
pub(crate) struct Loader {
    orders: Sender<Work>,
    reports: Receiver<Report>,
    thread: JoinHandle<()>,
    /// What is being done, and what is to be done next.
    running: Option<Wanted>,
    next: Option<Wanted>,
}

/// Why there is no loader.
#[derive(Debug)]
pub(crate) enum LoaderError {
    Thread(io::Error),
    Confine(ConfineError),
}

impl Loader {
    /// Starts the thread, and waits until it has given up all but reading in `directories`.
    pub(crate) fn start(
        privileges: Privileges,
        directories: Vec<OwnedFd>,
        control: Wake,
    ) -> Result<Self, LoaderError> {
        let (orders, order) = channel::<Work>();
        let (report, reports) = channel();
        let (tell, told) = channel();
        let thread = std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
            let read = directories.iter().map(|directory| directory.as_fd()).collect();
            let confined = privileges.apply(Kind::Loader, Files { read, ..Files::default() }).map(|_| ());
            let goes_on = confined.is_ok();
            let _ = tell.send(confined);
            // Until control is gone.
            while goes_on && let Ok(Work { task, new, key, form }) = order.recv() {
                let recalled = new.iter().map(|source| Recalled::read(source, key, form)).collect();
                let _ = report.send((task.run(), recalled));
                control.ring();
            }
        });
        let thread = thread.map_err(LoaderError::Thread)?;
        match told.recv() {
            Ok(Ok(())) => Ok(Self { orders, reports, thread, running: None, next: None }),
            Ok(Err(error)) => Err(LoaderError::Confine(error)),
            Err(_) => Err(LoaderError::Thread(io::Error::other("it ended at once"))),
        }
    }

    /// Has the zones of `keeper` looked at, or those that are to be in force; `force` are those that are. When that is being
    /// done, it is done once more afterwards.
    pub(crate) fn look(&mut self, wanted: Wanted, keeper: &Keeper, force: &Zones) {
        if self.running.is_some() {
            self.next = Some(match self.next.take() {
                Some(before) => before.and(wanted),
                None => wanted,
            });
            return;
        }
        let catalogue = keeper.catalogue();
        let (task, new) = match &wanted.change {
            None => (keeper.task(), Vec::new()),
            Some(zones) => {
                let task = keeper.task_for(&zones.files, Arc::clone(&zones.policy));
                let known =
                    |source: &Source| force.secondaries.iter().any(|old| old.source.apex == source.apex);
                let sources = zones.secondaries.iter().map(|zone| &zone.source);
                (task, sources.filter(|source| !known(source)).cloned().collect())
            }
        };
        // Whoever looks after the server finds out that nobody is there.
        let _ = self.orders.send(Work { task, new, key: catalogue.key(), form: catalogue.form() });
        self.running = Some(wanted);
    }

    /// What came of it, once; what was asked for meanwhile is to be [`look`](Self::look)ed at when it has been taken over.
    pub(crate) fn take(&mut self) -> Option<(Outcome, Option<Wanted>)> {
        let (done, recalled) = self.reports.try_recv().ok()?;
        let wanted = self.running.take().unwrap_or_default();
        Some((Outcome { wanted, done, recalled }, self.next.take()))
    }

    /// Something is being done.
    pub(crate) const fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Something is being done, or is about to be, that the operator waits for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.running.iter().chain(&self.next).any(|wanted| wanted.by_operator)
    }

    /// Whether the thread is there; it leaves when this is dropped, and not before.
    pub(crate) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct World {
        directory: PathBuf,
        keeper: Keeper,
        loader: Loader,
        bell: Wake,
    }

    impl World {
        fn new(test: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("namestorm-loader-{test}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let bell = Wake::new().unwrap();
            let keeper = Keeper::new(Key::new([1; 16]), Form::Wire, namestorm::load::Threads(1), Vec::new());
            let loader = Loader::start(Privileges::NOTHING, Vec::new(), bell.clone()).unwrap();
            Self { directory, keeper, loader, bell }
        }

        /// Zones of these names, each in the file of its name.
        fn zones(&self, names: &[&str]) -> Zones {
            let choice = |name: &&str| format!("{name}={}", self.path(name).display()).parse().unwrap();
            Zones::resolve(names.iter().map(choice).collect(), crate::zones::ForAll::default()).unwrap()
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.join(name)
        }

        fn write(&self, name: &str, serial: u32) {
            fs::write(self.path(name), zone(serial)).unwrap();
        }

        /// Waits for what came of it, and takes it over.
        fn take(&mut self) -> (Outcome, Option<Wanted>) {
            let began = Instant::now();
            loop {
                self.bell.silence();
                if let Some(taken) = self.loader.take() {
                    return taken;
                }
                assert!(began.elapsed() < PATIENCE, "nothing came");
                std::thread::sleep(Duration::from_millis(1));
            }
        }

        fn adopt(&mut self, outcome: Outcome) -> usize {
            if let Some(zones) = outcome.wanted.change {
                self.keeper.set(zones.files.clone(), &[], Arc::clone(&zones.policy));
            }
            self.keeper.finish(outcome.done).len()
        }

        fn serial(&self, name: &str) -> Option<u32> {
            let apex = dns::name::from_text(name.as_bytes()).unwrap();
            self.keeper.catalogue().zone(&apex).map(|zone| zone.serial())
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    fn zone(serial: u32) -> String {
        format!("$TTL 1\n@ SOA ns h {serial} 1 1 1 1\n@ NS ns.test.\n")
    }

    /// A zone whose text has not come yet: nothing is as slow as a pipe that nobody writes to.
    fn pipe(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn nobody_waits_while_a_zone_is_read_and_then_it_is_served() {
        let mut world = World::new("slow");
        world.write("quick", 1);
        pipe(&world.path("slow"));
        let (none, both) = (world.zones(&["quick"]), world.zones(&["quick", "slow"]));
        let change = Some(Box::new(both));
        world.loader.look(Wanted { by_operator: true, change }, &world.keeper, &none);
        // This is the thread that answers: it is here again, and the zone is not.
        assert!(world.loader.is_busy() && world.loader.is_awaited() && world.loader.is_alive());
        assert!(world.loader.take().is_none());
        fs::write(world.path("slow"), zone(7)).unwrap();
        let (outcome, next) = world.take();
        assert!(next.is_none() && !world.loader.is_busy());
        assert_eq!(world.serial("quick"), None, "all of it in one step");
        assert_eq!(world.adopt(outcome), 2);
        assert_eq!((world.serial("quick"), world.serial("slow")), (Some(1), Some(7)));
    }

    #[test]
    fn what_is_asked_for_meanwhile_is_done_afterwards_and_of_two_changes_the_later_counts() {
        let mut world = World::new("meanwhile");
        pipe(&world.path("slow"));
        world.write("a", 1);
        world.write("b", 1);
        let of = |world: &World, names: &[&str], by_operator| Wanted {
            by_operator,
            change: Some(Box::new(world.zones(names))),
        };
        let force = world.zones(&["a"]);
        for (names, by_operator) in [(["slow"], false), (["a"], true), (["b"], false)] {
            let wanted = of(&world, &names, by_operator);
            world.loader.look(wanted, &world.keeper, &force);
        }
        world.loader.look(Wanted::default(), &world.keeper, &force);
        assert!(world.loader.is_awaited(), "the operator asked for the second");
        fs::write(world.path("slow"), zone(1)).unwrap();
        let (outcome, next) = world.take();
        assert!(!outcome.wanted.by_operator);
        assert_eq!(world.adopt(outcome), 1);
        assert_eq!(world.serial("slow"), Some(1));
        world.loader.look(next.unwrap(), &world.keeper, &force);
        let (outcome, next) = world.take();
        assert!(outcome.wanted.by_operator && next.is_none());
        assert_eq!(world.adopt(outcome), 1);
        assert_eq!((world.serial("a"), world.serial("b"), world.serial("slow")), (None, Some(1), None));
    }
}
