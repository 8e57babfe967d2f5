//! Sandstorm, as its workers, its control and its operator see it: what is not as in every server of the web.

use confine::{Files, Kind};
use control::{Figure, Opener};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use dma::PoolLayout;
use host::values::{Bytes, LogChoice};
use host::{Facts, HostLink, Machine, Place, Tenant};
use program::{Complaint, Config, ConfigError, Events, Program, Seating};
use sandstorm::desk::First;
use sandstorm::seat::{Seat, ends};
use sandstorm::shelf::demand;
use sandstorm::{Given, SandstormService, Shelf, Tally};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use turn::MemoryVariant;
use web::AccessRecord;

use crate::content::{self, Content, ContentError};
use crate::own::{Choices, Copy, Own};

/// Memory for objects and packets, unless chosen otherwise.
const MEMORY: u64 = 2 << 30;
/// Frames that are never objects': what the engine seals, keeps until it is acknowledged and shakes hands with.
const RESERVE_SHARE: u32 = 8;
const RESERVE_LARGE_MIN: u32 = 64;
const RESERVE_LARGE_MAX: u32 = 4_096;
/// Small frames of the reserve for each large one.
const SMALL_FOR_EACH_LARGE: u32 = 2;
/// Objects that are too large are told of up to here.
const PROBLEMS_MAX: usize = 20;

/// Control's side of Sandstorm.
#[derive(Debug)]
pub(crate) struct Sandstorm {
    /// The directory.
    content: Content,
    /// What the workers serve by.
    given: Arc<Given>,
    /// What they served by before, and may still: whoever lets go of a site last has much to free, and is to be us.
    before: Vec<Arc<Given>>,
    /// What each worker has for objects, once that is known.
    shelf: Option<PoolLayout>,
    preload: bool,
    /// A loader found that the directory is not as it was.
    stale: Arc<AtomicBool>,
    /// What has been told of the directory: not again before it changes.
    told: Vec<String>,
}

/// What a worker has for itself.
#[derive(Debug)]
pub(crate) struct Furniture {
    seat: Seat,
    shelf: PoolLayout,
    preload: bool,
}

impl Tenant for Sandstorm {
    type Service = SandstormService;
    type Link = HostLink;
    type Counters = web::Counters<Tally>;
    type Record = AccessRecord;
    type Seat = Furniture;

    fn service(given: Arc<Given>, own: Furniture, place: &Place<'_>) -> SandstormService {
        let Furniture { seat, shelf, preload } = own;
        let shelf = Shelf::new(place.pool.clone(), shelf);
        SandstormService::new(First { given, shelf, seat, preload }, place.unix_seconds)
    }

    fn front(_: &mut SandstormService, link: HostLink) -> HostLink {
        link
    }

    fn counters(service: &SandstormService) -> web::Counters<Tally> {
        service.counters()
    }

    fn take_record(service: &mut SandstormService) -> Option<AccessRecord> {
        service.take_record()
    }
}

/// The operator gave less memory than anything can be served from.
#[derive(Debug)]
struct TooLittle {
    given: Bytes,
    needed: Bytes,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--memory {} is too little for these workers: {} is the least", self.given, self.needed)
    }
}

impl core::error::Error for TooLittle {}

/// The frames of a worker with so many bytes, those of them that objects may have: in the proportion in which this
/// directory needs large ones and small ones, and with some of both for whatever comes. `None` if they are too few.
fn layouts(bytes: u64, (large, small): (u64, u64)) -> Option<(PoolLayout, PoolLayout)> {
    // In percent; each kind gets ten at least.
    let share =
        small.saturating_mul(100).checked_div(large.saturating_add(small)).unwrap_or(50).clamp(10, 90);
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX / 4);
    let large_count = narrow(bytes / 100 * (100 - share) / dma::LARGE_BYTES as u64);
    let reserve_large = (large_count / RESERVE_SHARE).clamp(RESERVE_LARGE_MIN, RESERVE_LARGE_MAX);
    let reserve_small = reserve_large * SMALL_FOR_EACH_LARGE;
    let mut pool =
        PoolLayout { large_count, small_count: narrow(bytes / 100 * share / dma::SMALL_BYTES as u64) };
    // What alignment takes.
    while pool.large_count > 0 && pool.bytes() as u64 > bytes {
        pool.large_count -= 1;
    }
    let shelf = PoolLayout {
        large_count: pool.large_count.checked_sub(reserve_large)?,
        small_count: pool.small_count.checked_sub(reserve_small)?,
    };
    (shelf.large_count > 0 && shelf.small_count > 0).then_some((pool, shelf))
}

/// The least that a worker can be given.
fn least() -> u64 {
    let enough = |bytes: &u64| layouts(*bytes, (1, 1)).is_some();
    (1..).map(|half| half << 19).find(enough).unwrap_or(u64::MAX)
}

impl Program for Sandstorm {
    type Tally = Tally;
    type Own = Own;
    type Choices = Choices;

    const NAME: &'static str = "sandstorm";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const MONITOR: &'static str = "sandstorm-monitor";
    /// Beside Atlas's.
    const ADMIN_PORT: u16 = 9_465;
    const EXAMPLE: &'static str = "sandstorm serve examples/site";
    const RESCAN_SECONDS: u32 = 2;
    /// What somebody is sent stays in memory.
    const STALLED_SECONDS: u32 = 60;
    const TABLES: &'static [&'static str] = &["service"];

    fn over(own: Own, below: Own) -> Own {
        own.over(below)
    }

    fn paths(own: &mut Own) -> Vec<&mut PathBuf> {
        own.redirects.iter_mut().collect()
    }

    fn resolve(own: Own) -> Result<Choices, ConfigError> {
        own.resolve()
    }

    fn adopt(choices: &mut Choices, new: Choices) -> Vec<&'static str> {
        let Choices { copy, memory, preload, redirects, service } = new;
        choices.redirects = redirects;
        choices.service = service;
        let mut fixed = Vec::new();
        for (name, same) in [
            ("copy", choices.copy == copy),
            ("memory", choices.memory == memory),
            ("preload", choices.preload == preload),
        ] {
            if !same {
                fixed.push(name);
            }
        }
        fixed
    }

    fn named(choices: &Choices) -> Vec<PathBuf> {
        choices.redirects.iter().cloned().collect()
    }

    fn open(dir: &Path, config: &Config, choices: &Choices, opener: &dyn Opener) -> Result<Self, Complaint> {
        let redirects = content::redirects(choices.redirects.as_deref(), opener)?;
        let content = Content::open(dir, choices.service.settings(), redirects)?;
        let terms = choices.service.terms(config.access_log != LogChoice::Off);
        let given = Arc::new(Given::new(Arc::clone(content.site()), terms));
        let stale = Arc::default();
        Ok(Self {
            content,
            given,
            before: Vec::new(),
            shelf: None,
            preload: choices.preload,
            stale,
            told: Vec::new(),
        })
    }

    fn pool(
        &mut self,
        choices: &Choices,
        machine: &Machine,
        workers: u16,
    ) -> Result<(PoolLayout, Vec<String>), Complaint> {
        let workers = u64::from(workers);
        let memory = choices.memory.map_or_else(|| MEMORY.min(machine.memory / 4), |Bytes(bytes)| bytes);
        let lens = self.content.site().files().map(sandstorm::Variant::len);
        let (large, small) = demand(lens);
        let (pool, shelf) = layouts(memory / workers, (large, small))
            .ok_or_else(|| TooLittle { given: Bytes(memory), needed: Bytes(least() * workers) })?;
        self.shelf = Some(shelf);
        let room = shelf.bytes() as u64;
        let mut notes =
            vec![format!("of each worker's, {} are for objects and the rest for packets", Bytes(room))];
        let taken = large.saturating_add(small);
        if taken > room {
            notes.push(format!(
                "the directory would take {}: what was not asked for longest makes room (--memory gives more)",
                Bytes(taken)
            ));
        }
        Ok((pool, notes))
    }

    fn seat(&mut self, seating: &Seating<'_>) -> io::Result<Furniture> {
        let Seating { index, pool: _, bell, control, policy } = *seating;
        let (seat, loader) = ends(bell.clone(), control.clone(), Arc::clone(&self.stale));
        let directory = self.content.as_fd().try_clone_to_owned()?;
        std::thread::Builder::new().name(format!("loader-{index}")).spawn(move || {
            let files = Files { read: vec![directory.as_fd()], ..Files::default() };
            if let Err(error) = policy.apply(Kind::Control, files) {
                tracing::error!("nothing is read for worker {index}: {error}");
                return;
            }
            drop(directory);
            loader.run(|error| tracing::warn!("{error}"));
        })?;
        let shelf = self.shelf.expect("a pool was asked for first");
        Ok(Furniture { seat, shelf, preload: self.preload })
    }

    fn roots(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.content.as_fd()
    }

    fn description(&self) -> String {
        self.content.description()
    }

    fn problems(&self) -> Vec<String> {
        let site = self.content.site();
        let mut problems: Vec<String> = site.problems().iter().map(ToString::to_string).collect();
        if let Some(shelf) = self.shelf {
            let too_large =
                site.files().filter(|variant| !sandstorm::shelf::could_hold(shelf, variant.len()));
            problems.extend(too_large.take(PROBLEMS_MAX).map(|variant| {
                format!(
                    "not served: {}: {} is more than the memory for objects of a worker holds; raise --memory, or leave \
                     it to a server that reads from disk",
                    variant.path.escape_ascii(),
                    Bytes(variant.len())
                )
            }));
        }
        problems
    }

    fn snapshot(&self) -> Arc<Given> {
        Arc::clone(&self.given)
    }

    fn memory(choices: &Choices) -> MemoryVariant {
        match choices.copy {
            Some(Copy::Pre) => MemoryVariant::Pre,
            Some(Copy::Mem) => MemoryVariant::Mem,
            Some(Copy::Gather) => MemoryVariant::Gather,
            None => MemoryVariant::default(),
        }
    }

    fn on_ready(&mut self, choices: &Choices, facts: &[Facts]) -> Vec<(&'static str, String)> {
        self.told = self.problems();
        let Some(Facts { memory, .. }) = facts.first() else { return Vec::new() };
        let does = match memory {
            MemoryVariant::Gather => "gather: packets name the frames that objects lie in",
            MemoryVariant::Mem => "mem: each packet is a copy of its part of the object",
            MemoryVariant::Pre => "pre: packets that are sent again and again are kept as replicas",
        };
        let asked = choices.copy.filter(|_| *memory != Self::memory(choices));
        let why = asked.map(|asked| match memory {
            MemoryVariant::Mem => format!(" (not {asked}: this link takes packets in memory of its own)"),
            _ => {
                format!(" (not {asked}: this link cuts segments itself, and what is not cut has no replicas)")
            }
        });
        vec![("copy", format!("{does}{}", why.unwrap_or_default()))]
    }

    fn reload(&mut self, config: &Config, choices: &Choices, opener: &dyn Opener, events: &mut Events) {
        self.look(choices, opener, events);
        // What holds for connections may have changed though the directory has not.
        self.renew(config, choices);
        events.info(format!("directory: {}", self.content.description()));
    }

    fn rescan(
        &mut self,
        config: &Config,
        choices: &Choices,
        opener: &dyn Opener,
        events: &mut Events,
    ) -> bool {
        if !self.content.is_due() {
            return false;
        }
        let was_stale = self.stale.load(Ordering::Acquire);
        self.forget();
        let changed = self.look(choices, opener, events);
        if changed {
            self.renew(config, choices);
            events.debug(format!("directory: {}", self.content.description()));
        }
        // Whoever waits for another look is told that there was one, even if it found nothing new.
        changed || was_stale
    }

    fn wants_rescan(&self) -> bool {
        self.stale.load(Ordering::Acquire) && self.content.is_due()
    }

    fn figures(&self) -> Vec<Figure> {
        let site = self.content.site();
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        vec![
            Figure::gauge("site_names", "Names that are served", count(site.names())),
            Figure::gauge(
                "site_forms",
                "Files that are served, coded ones included",
                count(site.variants().count()),
            ),
            Figure::gauge(
                "site_problems",
                "What is not served, though it is there",
                count(site.problems().len()),
            ),
        ]
    }
}

impl Sandstorm {
    /// From now on workers are to serve by what was found last.
    fn renew(&mut self, config: &Config, choices: &Choices) {
        let terms = choices.service.terms(config.access_log != LogChoice::Off);
        let given = Arc::new(Given::new(Arc::clone(self.content.site()), terms));
        self.before.push(core::mem::replace(&mut self.given, given));
        self.forget();
    }

    /// Frees what no worker has any more.
    fn forget(&mut self) {
        self.before.retain(|given| Arc::strong_count(given) > 1);
    }

    /// Looks through the directory, and takes over what is new. Returns whether anything is.
    fn look(&mut self, choices: &Choices, opener: &dyn Opener, events: &mut Events) -> bool {
        // Before looking: what a loader finds from now on is another change.
        self.stale.store(false, Ordering::Release);
        let mut broken = Vec::new();
        let mut tell = |error: ContentError| {
            let line = format!("directory: {error}; what was in force stays");
            // A directory that is away is told once, not with every look.
            if !self.told.contains(&line) {
                events.error(line.clone());
            }
            broken.push(line);
        };
        let redirects = content::redirects(choices.redirects.as_deref(), opener).unwrap_or_else(|error| {
            // Files change all the same.
            tell(error);
            self.content.site().redirects().clone()
        });
        let changed = match self.content.scan(choices.service.settings(), redirects) {
            Ok(changed) => changed,
            Err(error) => {
                tell(error);
                // What was told of the directory is true again when it is back.
                broken.retain(|line| !self.told.contains(line));
                self.told.append(&mut broken);
                return false;
            }
        };
        let mut problems = self.problems();
        for problem in problems.iter().filter(|problem| !self.told.contains(problem)) {
            events.warn(format!("directory: {problem}"));
        }
        problems.append(&mut broken);
        self.told = problems;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_divided_as_the_directory_needs_it() {
        for (demand, large_first) in [((9, 1), true), ((1, 9), false), ((0, 0), true)] {
            let (pool, shelf) = layouts(1 << 30, demand).unwrap();
            assert!(pool.bytes() <= 1 << 30 && pool.bytes() > 1000 << 20, "{pool:?}");
            assert!(shelf.large_count < pool.large_count && shelf.small_count < pool.small_count);
            let large_bytes = u64::from(pool.large_count) * dma::LARGE_BYTES as u64;
            assert_eq!(large_bytes > 400 << 20, large_first, "{demand:?}: {pool:?}");
        }
    }

    #[test]
    fn files_that_change_are_noticed_though_the_redirects_are_broken_and_that_is_told_once() {
        let dir = std::env::temp_dir().join(format!("sandstorm-look-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a"), "a").unwrap();
        let moved = dir.join(".moved");
        std::fs::write(&moved, "/old /a\n").unwrap();
        let mut choices = Own::default().resolve().unwrap();
        choices.redirects = Some(moved.clone());
        let opener = &control::Directly;
        let redirects = content::redirects(Some(&moved), opener).unwrap();
        let content = Content::open(&dir, choices.service.settings(), redirects).unwrap();
        let given = Arc::new(Given::new(Arc::clone(content.site()), choices.service.terms(false)));
        let mut sandstorm = Sandstorm {
            content,
            given,
            before: Vec::new(),
            shelf: None,
            preload: false,
            stale: Arc::default(),
            told: Vec::new(),
        };
        std::fs::write(&moved, "/old\n").unwrap();
        std::fs::write(dir.join("b"), "b").unwrap();
        let mut look = |name: &[u8]| {
            let mut events = Events::default();
            let changed = sandstorm.look(&choices, opener, &mut events);
            let site = sandstorm.content.site();
            (
                changed,
                site.find(name).is_some() && site.redirects().of(b"old").is_some(),
                format!("{events:?}"),
            )
        };
        let (changed, served, told) = look(b"b");
        assert!(changed && served && told.contains("line 1 of the redirects"), "{told}");
        std::fs::write(dir.join("c"), "c").unwrap();
        let (changed, served, told) = look(b"c");
        assert!(changed && served && !told.contains("redirects"), "{told}");
        let away = dir.with_extension("away");
        std::fs::rename(&dir, &away).unwrap();
        let (changed, served, told) = look(b"c");
        assert!(!changed && served && told.contains("cannot read the directory"), "{told}");
        assert!(!look(b"c").2.contains("directory"), "once");
        std::fs::rename(&away, &dir).unwrap();
        assert_eq!(
            look(b"c"),
            (false, true, "Events([])".to_owned()),
            "and what was told before is not told again"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_least_is_enough_and_less_is_not() {
        assert!(layouts(least(), (1, 1)).is_some());
        assert!(layouts(least() - (1 << 20), (1, 1)).is_none());
        let line = TooLittle { given: Bytes(1 << 20), needed: Bytes(least()) }.to_string();
        assert!(line.contains("--memory 1024 KiB"), "{line}");
    }
}
