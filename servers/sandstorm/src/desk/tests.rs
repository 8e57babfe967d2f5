//! The desk against a fake engine and a loader that is run by hand.

use super::*;
use crate::load::tests::Directory;
use crate::rules::{Redirects, Settings};
use crate::seat::{Loader, ends};
use control::Wake;
use dma::{Pool, PoolLayout};
use http::{Limits, Parse, Request};
use turn::Action;

struct World {
    desk: Objects,
    loader: Loader,
    stale: Arc<AtomicBool>,
    directory: Directory,
    now: Now,
}

const TERMS: Terms = Terms {
    limits: Limits { head_bytes_max: 16_384, target_bytes_max: 8_192 },
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    requests_per_connection_max: 100,
    connections_max: 100,
    access_log: false,
};

/// What came of a request.
#[derive(Debug, PartialEq)]
enum Came {
    Waits(u64),
    Answer { status: Status, head: String, content_bytes: u64, close: bool },
}

impl Came {
    fn status(&self) -> Option<Status> {
        match self {
            Self::Waits(_) => None,
            Self::Answer { status, .. } => Some(*status),
        }
    }
}

impl World {
    fn of(directory: Directory) -> Self {
        let site = Site::load(directory.path(), Settings::default(), Redirects::default(), None).unwrap();
        let layout = PoolLayout { large_count: 8, small_count: 32 };
        let stale = Arc::default();
        let (seat, loader) = ends(Wake::new().unwrap(), Wake::new().unwrap(), Arc::clone(&stale));
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Now { instant: Instant::from_nanos(0), unix: unix + Duration::from_secs(3_600) };
        let given = Arc::new(Given::new(Arc::new(site), TERMS));
        let shelf = Shelf::new(Pool::new(layout).unwrap(), layout);
        let desk = Objects::new(First { given, shelf, seat, preload: false }, now.unix.as_secs());
        Self { desk, loader, stale, directory, now }
    }

    fn ask(&mut self, target: &str) -> Came {
        self.ask_as(target, self.now, Objects::on_request)
    }

    /// The request that came at `arrived` asks again.
    fn ask_again(&mut self, target: &str, arrived: Now) -> Came {
        self.ask_as(target, arrived, Objects::on_roused)
    }

    fn ask_as(
        &mut self,
        target: &str,
        arrived: Now,
        ask: impl FnOnce(&mut Objects, &Asked<'_>, &mut Answered, &mut Actions) -> Step,
    ) -> Came {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let Parse::Complete { request, .. } = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head:?}")
        };
        let asked = Asked { now: self.now, arrived, request: &request, draining: false };
        let status = Status::InternalServerError;
        let mut answered = Answered { close: false, status, head_bytes: 0, content_bytes: 0, rest: None };
        let mut actions = Actions::new();
        let step = ask(&mut self.desk, &asked, &mut answered, &mut actions);
        let actions = actions.take();
        if let Step::WaitsFor(Ticket(ticket)) = step {
            let [Action::Deadline(until)] = actions[..] else { panic!("{actions:?}") };
            assert_eq!(until, arrived.instant + PATIENCE);
            return Came::Waits(ticket);
        }
        let Some(Action::Send(bytes)) = actions.first() else { panic!("{actions:?}") };
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(answered.head_bytes, end as u64);
        let sent: u64 = actions
            .iter()
            .map(|action| match action {
                Action::Send(bytes) => bytes.len() as u64,
                Action::SendMemory(_, range) => range.end - range.start,
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(sent, answered.head_bytes + answered.content_bytes);
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let Answered { status, content_bytes, close, .. } = answered;
        Came::Answer { status, head, content_bytes, close }
    }

    /// Reads what is wanted, while the desk takes what comes. Returns the tickets that were called.
    fn read_all(&mut self) -> Vec<u64> {
        let mut called = Vec::new();
        while self.loader.serve_one(&mut |_| ()) {
            called.extend(self.turn());
        }
        called
    }

    fn turn(&mut self) -> Vec<u64> {
        while self.desk.on_turn(self.now) {}
        core::iter::from_fn(|| self.desk.poll_ticket()).map(|Ticket(number)| number).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix + time };
    }

    /// Control looks through the directory again.
    fn look(&mut self) {
        let before = Arc::clone(&self.desk.given.site);
        let (settings, redirects) = (Settings::default(), Redirects::default());
        let site = Site::load(self.directory.path(), settings, redirects, Some(&before)).unwrap();
        self.desk.on_snapshot(self.now, Arc::new(Given::new(Arc::new(site), TERMS)));
    }
}

mod not_on_the_shelf {
    use super::*;

    #[test]
    fn whoever_asks_waits_and_is_answered_when_it_was_read() {
        let directory = Directory::new("desk-first");
        directory.write("a.txt", &[7; 100_000]);
        let mut world = World::of(directory);
        let arrived = world.now;
        let Came::Waits(number) = world.ask("/a.txt") else { panic!("not read yet") };
        assert_eq!(world.read_all(), [number]);
        let Came::Answer { status, content_bytes, close, .. } = world.ask_again("/a.txt", arrived) else {
            panic!("it is there")
        };
        assert_eq!((status, content_bytes, close), (Status::Ok, 100_000, false));
        assert_eq!(world.ask("/a.txt").status(), Some(Status::Ok), "and stays there");
        let Tally { loaded, objects, refused, .. } = world.desk.tally();
        assert_eq!((loaded, objects, refused), (1, 1, 0));
    }

    #[test]
    fn however_many_ask_it_is_read_once() {
        let directory = Directory::new("desk-once");
        directory.write("a.txt", b"a").write("b.txt", b"b");
        let mut world = World::of(directory);
        let first = world.ask("/a.txt");
        assert_eq!(world.ask("/a.txt"), first);
        assert_ne!(world.ask("/b.txt"), first);
        assert_eq!(world.read_all().len(), 2);
        assert_eq!(world.desk.tally().loaded, 2);
    }

    #[test]
    fn a_file_without_bytes_is_an_object_too() {
        let directory = Directory::new("desk-empty");
        directory.write("empty", b"");
        let mut world = World::of(directory);
        assert!(matches!(world.ask("/empty"), Came::Waits(_)));
        assert_eq!(world.read_all().len(), 1);
        assert_eq!(world.ask("/empty").status(), Some(Status::Ok));
    }

    #[test]
    fn a_disk_that_says_nothing_is_503_in_the_end_and_not_asked_again_at_once() {
        let directory = Directory::new("desk-slow");
        directory.write("a.txt", b"a");
        let mut world = World::of(directory);
        let arrived = world.now;
        let Came::Waits(number) = world.ask("/a.txt") else { panic!("not read yet") };
        world.wait(PATIENCE - Duration::from_millis(1));
        assert!(world.turn().is_empty());
        world.wait(Duration::from_millis(1));
        assert_eq!(world.turn(), [number]);
        let Came::Answer { status, head, close, .. } = world.ask_again("/a.txt", arrived) else {
            panic!("it cannot wait for ever")
        };
        assert_eq!((status, close), (Status::ServiceUnavailable, true));
        assert!(head.contains("Retry-After: 1\r\n"), "{head}");
        assert_eq!(world.ask("/a.txt").status(), Some(Status::ServiceUnavailable));
        world.wait(RETRY);
        assert!(matches!(world.ask("/a.txt"), Came::Waits(_)));
        // What the disk says of the load that was given up comes to nothing.
        world.read_all();
        assert_eq!(world.ask("/a.txt").status(), Some(Status::Ok));
    }

    #[test]
    fn a_load_that_comes_slowly_is_not_given_up_but_whoever_waited_long_enough_is_told() {
        let directory = Directory::new("desk-slowly");
        directory.write("a", &[1; 120_000]);
        let mut world = World::of(directory);
        let first = world.now;
        let Came::Waits(number) = world.ask("/a") else { panic!("not read yet") };
        let came = |world: &mut World, seconds| {
            world.wait(Duration::from_secs(seconds));
            world.desk.on_bytes(number, &[1; 40_000], world.now.instant);
            world.turn()
        };
        assert!(came(&mut world, 9).is_empty());
        let second = world.now;
        assert_eq!(world.ask("/a"), Came::Waits(number));
        assert_eq!(came(&mut world, 2), [number]);
        assert_eq!(world.ask_again("/a", first).status(), Some(Status::ServiceUnavailable));
        let Came::Waits(ticket) = world.ask_again("/a", second) else { panic!("it has time left") };
        assert_ne!(ticket, number);
        assert!(came(&mut world, 0).is_empty());
        world.desk.on_whole(number, world.now.instant);
        assert_eq!(world.turn(), [ticket]);
        assert_eq!(world.ask_again("/a", second).status(), Some(Status::Ok));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_read() {
        let directory = Directory::new("desk-left");
        directory.write("a", &[1; 100_000]).write("b", b"b").write("c", b"c");
        let mut world = World::of(directory);
        let Came::Waits(left) = world.ask("/a") else { panic!("not read yet") };
        assert_eq!(world.ask("/a"), Came::Waits(left));
        let Came::Waits(kept) = world.ask("/b") else { panic!("not read yet") };
        world.desk.on_left(Ticket(left));
        world.desk.on_left(Ticket(kept + 1_000));
        assert!(world.turn().is_empty(), "somebody still waits for each");
        world.desk.on_left(Ticket(left));
        assert_eq!(world.turn(), [left], "to be forgotten by whoever has the list");
        // One that was given up is not read either.
        let Came::Waits(late) = world.ask("/c") else { panic!("not read yet") };
        let Came::Waits(again) = world.ask("/a") else { panic!("asked for again") };
        world.desk.end(late, None);
        let mut called = world.read_all();
        called.sort_unstable();
        assert_eq!(called, [kept, late, again]);
        let Tally { loaded, objects, .. } = world.desk.tally();
        assert_eq!((loaded, objects), (2, 2));
    }

    #[test]
    fn a_load_that_came_slowly_and_comes_no_more_is_given_up() {
        let directory = Directory::new("desk-stalled");
        directory.write("a", &[1; 120_000]);
        let mut world = World::of(directory);
        let Came::Waits(number) = world.ask("/a") else { panic!("not read yet") };
        world.wait(Duration::from_secs(9));
        world.desk.on_bytes(number, &[1; 40_000], world.now.instant);
        world.wait(Duration::from_secs(9));
        assert_eq!(world.turn(), [number], "who waited long enough is told");
        assert!(matches!(world.ask("/a"), Came::Waits(_)));
        world.wait(Duration::from_secs(1));
        assert_eq!(world.turn().len(), 1);
        assert_eq!(world.desk.tally().unloaded, 1);
    }

    #[test]
    fn a_file_larger_than_the_shelf_is_not_asked_for() {
        let directory = Directory::new("desk-large");
        directory.write("large", &[1; 300_000]);
        let mut world = World::of(directory);
        assert_eq!(world.ask("/large").status(), Some(Status::InternalServerError));
        assert!(world.read_all().is_empty());
    }
}

mod a_file_that_has_changed {
    use super::*;

    #[test]
    fn is_waited_for_until_the_next_look_and_served_as_it_is_now() {
        let directory = Directory::new("desk-changed");
        directory.write("a.txt", b"old");
        let mut world = World::of(directory);
        world.directory.write("a.txt", b"newer");
        let arrived = world.now;
        let Came::Waits(first) = world.ask("/a.txt") else { panic!("not read yet") };
        assert!(world.read_all().is_empty(), "nobody is called before the next look");
        assert!(world.stale.load(Ordering::Acquire), "which is asked for");
        world.look();
        assert_eq!(world.turn(), [first]);
        let Came::Waits(second) = world.ask_again("/a.txt", arrived) else { panic!("the new one is read") };
        assert_eq!(world.read_all(), [second]);
        let Came::Answer { status, content_bytes, .. } = world.ask_again("/a.txt", arrived) else {
            panic!("it is there")
        };
        assert_eq!((status, content_bytes), (Status::Ok, 5));
    }

    #[test]
    fn is_asked_for_again_when_the_look_has_passed_the_word_of_the_change() {
        let directory = Directory::new("desk-passed");
        directory.write("a.txt", b"old");
        let mut world = World::of(directory);
        world.directory.write("a.txt", b"newer");
        let arrived = world.now;
        let Came::Waits(first) = world.ask("/a.txt") else { panic!("not read yet") };
        assert!(world.loader.serve_one(&mut |_| ()));
        world.look();
        assert_eq!(world.turn(), [first], "the word comes behind the look that knows");
        assert!(matches!(world.ask_again("/a.txt", arrived), Came::Waits(_)));
        world.read_all();
        assert_eq!(world.ask("/a.txt").status(), Some(Status::Ok));
    }

    #[test]
    fn leaves_the_shelf_with_the_next_look() {
        let directory = Directory::new("desk-leaves");
        directory.write("a.txt", b"old").write("b.txt", b"same");
        let mut world = World::of(directory);
        for name in ["/a.txt", "/b.txt"] {
            assert!(matches!(world.ask(name), Came::Waits(_)));
        }
        world.read_all();
        world.directory.write("a.txt", b"newer");
        world.look();
        assert!(matches!(world.ask("/a.txt"), Came::Waits(_)));
        assert_eq!(world.ask("/b.txt").status(), Some(Status::Ok));
    }

    #[test]
    fn is_not_put_on_the_shelf_if_it_was_read_for_a_site_that_is_gone() {
        let directory = Directory::new("desk-gone");
        directory.write("a.txt", b"a");
        let mut world = World::of(directory);
        assert!(matches!(world.ask("/a.txt"), Came::Waits(_)));
        // The file is read as it was; by then there is another.
        assert!(world.loader.serve_one(&mut |_| ()));
        world.directory.write("a.txt", b"newer");
        world.look();
        assert_eq!(world.turn().len(), 1);
        assert_eq!(world.desk.tally().objects, 0);
    }
}

#[test]
fn health_is_told_without_an_object_unless_there_is_one_of_that_name() {
    let directory = Directory::new("desk-health");
    directory.write("a.txt", b"a");
    let mut world = World::of(directory);
    assert_eq!(world.ask("/healthz").status(), Some(Status::Ok));
    world.directory.write("healthz", b"my own\n");
    world.look();
    assert!(matches!(world.ask("/healthz"), Came::Waits(_)));
}

#[test]
fn files_are_read_ahead_as_long_as_there_is_room() {
    let directory = Directory::new("desk-ahead");
    directory.write("a", &[1; 60_000]).write("b", &[2; 60_000]).write("c", &[3; 60_000]).write("d", b"small");
    let mut world = World::of(directory);
    world.desk.ahead = Some(Key::NONE);
    world.turn();
    while world.loader.serve_one(&mut |_| ()) {
        world.turn();
    }
    // Two of the large ones fill the large frames; nothing made room for the third, and the small one found its place.
    let Tally { objects, evicted, .. } = world.desk.tally();
    assert_eq!((objects, evicted), (3, 0));
}

#[test]
fn what_has_come_or_changed_since_the_start_is_read_ahead_too_and_nothing_twice() {
    let directory = Directory::new("desk-ahead-on");
    directory.write("a", b"a").write("b.js", b"b").write("b.js.gz", b"coded");
    let mut world = World::of(directory);
    world.desk.ahead = Some(Key::NONE);
    assert!(world.ask("/a") != world.ask("/b.js"), "what was asked for is on its way already");
    // A new site comes before all of the old one was read.
    world.directory.write("0", b"new");
    world.look();
    world.turn();
    while world.loader.serve_one(&mut |_| ()) {
        world.turn();
    }
    let Tally { objects, loaded, .. } = world.desk.tally();
    assert_eq!((objects, loaded), (4, 4));
    world.directory.write("a", b"changed");
    world.look();
    world.turn();
    while world.loader.serve_one(&mut |_| ()) {
        world.turn();
    }
    let Tally { objects, loaded, .. } = world.desk.tally();
    assert_eq!((objects, loaded), (4, 5));
    assert_eq!(world.ask("/a").status(), Some(Status::Ok));
}

#[test]
fn looking_through_many_files_takes_many_turns_and_comes_to_an_end() {
    let directory = Directory::new("desk-many");
    for number in 0..3 * LOOKS {
        directory.write(&number.to_string(), &[0; 3_000]);
    }
    let mut world = World::of(directory);
    world.desk.ahead = Some(Key::NONE);
    let mut turns = 0;
    loop {
        turns += 1;
        let busy = world.desk.on_turn(world.now);
        if !busy && !world.loader.serve_one(&mut |_| ()) {
            break;
        }
    }
    // Sixteen of them fill the small frames; what is left finds no room, and is looked at once.
    let Tally { objects, evicted, .. } = world.desk.tally();
    assert_eq!((objects, evicted), (16, 0));
    assert!((16..100).contains(&turns), "{turns}");
    world.directory.write("0", b"changed");
    world.look();
    while world.desk.on_turn(world.now) {}
    assert_eq!(world.desk.tally().objects, 15, "and the one that is no more is swept off");
}
