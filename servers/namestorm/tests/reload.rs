//! Many zones and a large one, read again by one thread while another answers from them.
//!
//! ```text
//! files ─▶ Keeper, in a thread of its own ── catalogues ──▶ Desk ─▶ Front ◀── link in memory ── who asks and keeps count
//! ```
//!
//! Every name has two addresses, and both say which version of the zone they are of.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use core::cell::RefCell;
use core::fmt::Write as _;
use core::time::Duration;
use dns::{Flags, Rcode};
use link_memory::{MemoryLink, MemoryLinkConfig};
use namestorm::catalogue::Catalogue;
use namestorm::desk::{Desk, Serving, Snapshot};
use namestorm::front::Front;
use namestorm::hash::{Form, Key};
use namestorm::keeper::{Keeper, Source};
use namestorm::load::Threads;
use namestorm::respond::Settings;
use namestorm::zone::Zone;
use platform::Link;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use wire::checksum::{Sum, checksum};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Questions between two looks at whether there are new zones.
const BATCH: usize = 48;

/// Zones in files, all of them of one version.
struct Zones {
    directory: PathBuf,
    /// How many names each has.
    names: Vec<usize>,
}

impl Zones {
    fn new(test: &str, names: Vec<usize>) -> Self {
        let directory = std::env::temp_dir().join(format!("namestorm-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let zones = Self { directory, names };
        (0..zones.names.len()).for_each(|zone| zones.write(zone, 1));
        zones
    }

    fn path(&self, zone: usize) -> PathBuf {
        self.directory.join(format!("{zone}.zone"))
    }

    /// Renamed into place, as an operator does it: what is read is never half of it.
    fn write(&self, zone: usize, version: u8) {
        let mut text = format!("$TTL 60\n@ SOA ns host {version} 1 1 1 1\n@ NS ns\nns A 10.0.0.1\n");
        for name in 0..self.names[zone] {
            let [_, _, high, low] = u32::try_from(name).unwrap().to_be_bytes();
            let _ = writeln!(text, "n{name} A 10.{version}.{high}.{low}\n A 11.{version}.{high}.{low}");
        }
        let beside = self.directory.join("beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, self.path(zone)).unwrap();
    }

    fn keeper(&self) -> Keeper {
        let sources = (0..self.names.len())
            .map(|zone| Source { apex: wire(&format!("z{zone}.test")), path: self.path(zone) })
            .collect();
        Keeper::new(Key::new(*b"a key of a test."), Form::Wire, Threads(1), sources)
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn wire(text: &str) -> Vec<u8> {
    dns::name::from_text(text.as_bytes()).unwrap()
}

/// Asks a front, and holds every answer against the version that it may be of.
struct World {
    front: Front<MemoryLink>,
    client: MemoryLink,
    desk: Rc<RefCell<Desk>>,
    /// The version that each zone was last seen in.
    seen: Vec<u8>,
    names: Vec<usize>,
    dice: u64,
    answered: u64,
}

impl World {
    fn new(catalogue: Arc<Catalogue>, names: Vec<usize>) -> Self {
        let serving = Serving {
            addresses: vec![[192, 0, 2, 1].into()],
            port: 53,
            settings: Settings::default(),
            idle: Duration::from_secs(10),
        };
        let desk = Desk::new(&Snapshot { catalogue, serving: Arc::new(serving.clone()) });
        let desk = Rc::new(RefCell::new(desk));
        let config = MemoryLinkConfig { macs: MACS, ..MemoryLinkConfig::default() };
        let (server, client) = link_memory::pair(256, config);
        let front = Front::new(server, &serving, Rc::clone(&desk));
        Self { front, client, desk, seen: vec![1; names.len()], names, dice: 0x5eed, answered: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.dice >> 33).unwrap() % end
    }

    /// A batch of questions, each answered whole, all of one zone from one version.
    fn ask(&mut self) {
        let mut asked = Vec::new();
        for id in 0..BATCH {
            let zone = self.below(self.names.len());
            let name = self.below(self.names[zone]);
            let frame = question(u16::try_from(id).unwrap(), &wire(&format!("n{name}.z{zone}.test")));
            self.client.stage_bytes(&frame).expect("the link holds a batch");
            asked.push((zone, name));
        }
        self.client.flush();
        assert!(self.front.receive().is_none());
        let mut of_this_batch = vec![None; self.names.len()];
        for (id, (zone, name)) in asked.iter().enumerate() {
            let received = self.client.receive().expect("an answer to every question, in their order");
            let message = &received.bytes[42..];
            let header = dns::Header::parse(message).unwrap();
            assert_eq!(usize::from(header.id), id);
            assert_eq!((header.flags.rcode(), header.ancount), (Rcode::NOERROR, 2), "n{name}.z{zone}");
            assert!(header.flags.has(Flags::AA));
            let low = u16::try_from(*name).unwrap().to_be_bytes();
            let [first, second] = [message.len() - 20, message.len() - 4].map(|at| &message[at..at + 4]);
            assert_eq!((first[0], second[0], &first[2..], &second[2..]), (10, 11, &low[..], &low[..]));
            assert_eq!(first[1], second[1], "an answer of two versions");
            assert!(first[1] >= self.seen[*zone], "a version that had been replaced");
            let version = *of_this_batch[*zone].get_or_insert(first[1]);
            assert_eq!(
                first[1], version,
                "answers from two versions of a zone without a change between them"
            );
            self.seen[*zone] = version;
            self.answered += 1;
        }
        assert!(self.client.receive().is_none(), "more answers than questions");
        self.client.reclaim();
    }

    /// Asks for as long as new zones come.
    fn ask_while(&mut self, catalogues: &Receiver<Arc<Catalogue>>) {
        loop {
            self.ask();
            match catalogues.try_recv() {
                Ok(catalogue) => self.desk.borrow_mut().renew(catalogue),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

fn question(id: u16, name: &[u8]) -> Vec<u8> {
    let mut message = dns::Header { id, qdcount: 1, ..dns::Header::default() }.emit().to_vec();
    message.extend_from_slice(name);
    message.extend_from_slice(&[0, 1, 0, 1]);
    let datagram = u16::try_from(8 + message.len()).unwrap();
    let mut frame = [&MACS[0][..], &MACS[1][..], &[8, 0, 0x45, 0]].concat();
    frame.extend((20 + datagram).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
    let ip = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let udp = frame.len();
    for field in [4_000, 53, datagram, 0] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend(message);
    let [us, peer] = [[192, 0, 2, 1].into(), [192, 0, 2, 9].into()];
    let pseudo = Sum::pseudo_v4(peer, us, wire::Protocol::UDP, u32::from(datagram));
    let sum = pseudo.then(&frame[udp..]).finish();
    frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Loads zones, then rewrites those that `changed` names, once for each version, while others ask. Returns the catalogues
/// before and after.
fn replaced_under_load(
    test: &str,
    names: Vec<usize>,
    versions: u8,
    changed: impl Fn(usize) -> bool + Send,
) -> [Arc<Catalogue>; 2] {
    let zones = Zones::new(test, names.clone());
    let mut keeper = zones.keeper();
    assert!(keeper.refresh().iter().all(|outcome| outcome.result.is_ok()));
    let before = keeper.catalogue();
    let mut world = World::new(keeper.catalogue(), names);
    let (tell, catalogues) = channel();
    let after = std::thread::scope(|scope| {
        let reloading = scope.spawn(move || {
            for version in 2..=versions {
                let written = (0..zones.names.len()).filter(|zone| changed(*zone));
                let written = written.inspect(|zone| zones.write(*zone, version)).count();
                let outcomes = keeper.refresh();
                assert_eq!(outcomes.len(), written, "what was written is read, and nothing else");
                assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
                tell.send(keeper.catalogue()).unwrap();
            }
            keeper.catalogue()
        });
        world.ask_while(&catalogues);
        reloading.join().unwrap()
    });
    // What was in force last is, now.
    (0..20).for_each(|_| world.ask());
    let current = |zone: usize| after.zones().iter().find(|one| one.apex() == wire(&format!("z{zone}.test")));
    for (zone, seen) in world.seen.iter().enumerate() {
        assert!(u32::from(*seen) <= current(zone).unwrap().serial());
    }
    assert!(world.seen.contains(&versions), "nobody has seen what was written last");
    let counters = world.desk.borrow().counters();
    assert_eq!(counters.datagrams.answered, world.answered, "as many answers as were counted by who asked");
    assert_eq!(counters.responses.prebuilt, world.answered);
    [before, after]
}

#[test]
fn of_many_small_zones_some_are_replaced_under_load_and_the_others_are_shared() {
    let [before, after] = replaced_under_load("many", vec![5; 400], 6, |zone| zone % 4 == 0);
    let shared = |zone: &&Arc<Zone>| before.zones().iter().any(|old| Arc::ptr_eq(old, zone));
    assert_eq!(after.zones().iter().filter(shared).count(), 300);
    assert!(after.zones().iter().all(|zone| matches!(zone.serial(), 1 | 6)));
    assert_eq!(after.zones().iter().filter(|zone| zone.serial() == 6).count(), 100);
}

#[test]
fn a_large_zone_is_replaced_under_load_beside_others_and_weighs_no_more_than_before() {
    let [before, after] = replaced_under_load("large", vec![20_000, 10, 10], 4, |zone| zone == 0);
    let of = |catalogue: &Catalogue| catalogue.zone(&wire("z0.test")).unwrap().weight();
    assert_eq!((of(&before).names, of(&after).names), (20_002, 20_002));
    assert_eq!(of(&before).bytes, of(&after).bytes);
    let (bytes, text_bytes) = (of(&after).bytes, of(&after).text_bytes);
    assert!(bytes <= 3 * text_bytes, "{bytes} bytes for {text_bytes} of text");
}
