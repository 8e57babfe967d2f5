use super::*;
use crate::{Destination, WorkerPort, mailbox};
use core::net::SocketAddr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

#[derive(Clone, Copy)]
struct Counters(u64);

impl Figures for Counters {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        visit(Figure::counter("turns", "Turns", self.0));
    }
}

/// A server that remembers what it was asked.
#[derive(Default)]
struct Fake {
    ready: bool,
    reload_fails: bool,
    /// What a reload goes on with once it was begun; it ends when a line comes.
    reloading: Option<mpsc::Receiver<&'static str>>,
    awaited: bool,
    /// Whose descriptor is readable for ever.
    news: Option<std::os::unix::net::UnixStream>,
    wakes_while_stopping: u32,
    /// What the operator has set, and nobody was told yet.
    set: Option<u32>,
}

impl Server for Fake {
    type Snapshot = u32;
    type Counters = Counters;
    type Record = &'static str;
    const NAME: &'static str = "fake";

    fn on_ready(&mut self) {
        self.ready = true;
    }

    fn reload(&mut self) -> Reloaded<u32> {
        let event = |level, text: &str| Event { level, text: text.into() };
        if self.reloading.is_some() {
            self.awaited = true;
            return Reloaded { snapshot: None, events: vec![event(Level::INFO, "begun")], drain: None };
        }
        if self.reload_fails {
            let events = vec![event(Level::ERROR, "the certificate is broken; the old one stays")];
            return Reloaded { snapshot: None, events, drain: None };
        }
        Reloaded { snapshot: Some(7), events: vec![event(Level::INFO, "reloaded")], drain: None }
    }

    fn is_reloading(&self) -> bool {
        self.awaited
    }

    fn rescan(&mut self) -> Option<Reloaded<u32>> {
        None
    }

    fn write_record(&mut self, record: &&'static str, line: &mut Vec<u8>) {
        line.extend_from_slice(record.as_bytes());
    }

    fn on_second(&mut self, _status: Status, _workers: &[Option<&Counters>]) {}

    fn news(&mut self) -> Option<Reloaded<u32>> {
        if let Some(line) = self.reloading.as_ref().and_then(|lines| lines.try_recv().ok()) {
            self.awaited = false;
            let level = if line.starts_with("broken") { Level::ERROR } else { Level::INFO };
            let events = vec![Event { level, text: line.into() }];
            return Some(Reloaded { snapshot: Some(8), events, drain: None });
        }
        let snapshot = Some(self.set.take()?);
        Some(Reloaded { snapshot, events: Vec::new(), drain: None })
    }

    fn on_request(&mut self, wish: &Wish<'_>) -> Option<Said> {
        if wish.path() != "/set" {
            return None;
        }
        if !wish.is_command() {
            return Some(Said::Json("{}".to_owned()));
        }
        match wish.parameter("value").and_then(|value| value.parse().ok()) {
            Some(value) => {
                self.set = Some(value);
                Some(Said::Done(format!("it is {value}")))
            }
            None => Some(Said::Refused(400, "value is a number".to_owned())),
        }
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.news.iter().map(AsFd::as_fd).collect()
    }

    fn on_wake(&mut self, status: Status, _now: Instant) -> Result<(), String> {
        self.wakes_while_stopping += u32::from(status == Status::Stopping);
        Ok(())
    }
}

type Port = WorkerPort<u32, Counters, &'static str>;

/// Control on a thread of its own, the workers' ends in our hands.
struct World {
    workers: Vec<Port>,
    admin: SocketAddr,
    log: std::path::PathBuf,
    control: JoinHandle<(Outcome, Fake)>,
}

fn world(name: &str, workers: usize, drain: Duration, fake: Fake) -> World {
    world_with(name, workers, drain, fake, None)
}

fn world_with(name: &str, workers: usize, drain: Duration, fake: Fake, capture: Option<Capture>) -> World {
    let bell = Wake::new().unwrap();
    let (ports, workers) =
        (0..workers).map(|_| mailbox(16, bell.clone()).unwrap()).unzip::<_, _, Vec<_>, Vec<_>>();
    let log = std::env::temp_dir().join(format!("atlas-control-{}-{name}.log", std::process::id()));
    let access_log = AccessLog::open(Destination::File(log.clone())).unwrap();
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = admin.address();
    let (sender, receiver) = mpsc::channel();
    let control = thread::spawn(move || {
        let signals = Signals::catch().unwrap();
        sender.send(()).unwrap();
        let plan = Plan {
            signals,
            bell,
            admin: Some(admin),
            access_log: Some(access_log),
            capture,
            drain,
            rescan: None,
        };
        let mut fake = fake;
        (run(plan, ports, &mut fake), fake)
    });
    receiver.recv().unwrap();
    World { workers, admin: address, log, control }
}

fn ask(admin: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl World {
    fn ask(&self, request: &str) -> String {
        ask(self.admin, request)
    }

    fn status(&self, request: &str) -> u16 {
        self.ask(request)[9..12].parse().unwrap()
    }

    fn ready(mut self) -> Self {
        self.workers.iter_mut().for_each(|worker| worker.report(Report::Ready));
        while self.status("GET /readyz") != 200 {
            thread::yield_now();
        }
        self
    }

    /// Everybody goes, in order.
    fn leave(mut self) {
        self.workers.iter_mut().for_each(|worker| worker.report(Report::Stopped));
        assert_eq!(self.status("POST /drain"), 202);
        assert_eq!(self.end().0, Outcome::Stopped);
    }

    fn end(self) -> (Outcome, Fake) {
        drop(self.workers);
        let end = self.control.join().unwrap();
        std::fs::remove_file(self.log).unwrap();
        end
    }
}

/// Waits for the next command.
fn command(worker: &mut Port) -> Command<u32> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match worker.command() {
            Some(command) => return command,
            None if Instant::now() < until => thread::yield_now(),
            None => panic!("no command in ten seconds"),
        }
    }
}

const PATIENT: Duration = Duration::from_secs(60);

#[test]
fn ready_is_when_every_worker_is() {
    let mut world = world("ready", 2, PATIENT, Fake::default());
    world.workers[0].report(Report::Ready);
    assert_eq!(world.status("GET /readyz"), 503);
    assert_eq!(world.status("GET /healthz"), 200);
    world.workers[1].report(Report::Ready);
    while world.status("GET /readyz") != 200 {
        thread::yield_now();
    }
    world.workers.iter_mut().for_each(|worker| worker.report(Report::Stopped));
    assert_eq!(world.status("POST /drain"), 202);
    let (outcome, fake) = world.end();
    assert!(fake.ready);
    assert_eq!(outcome, Outcome::Stopped);
}

#[test]
fn draining_ends_when_the_last_worker_has_drained() {
    let mut world = world("drain", 2, PATIENT, Fake::default()).ready();
    assert_eq!(world.status("POST /drain"), 202);
    assert_eq!(world.status("GET /readyz"), 503);
    for worker in &mut world.workers {
        assert!(matches!(command(worker), Command::Drain));
    }
    world.workers[0].report(Report::Drained);
    assert!(world.ask("GET /healthz").ends_with("draining\n"));
    world.workers[1].report(Report::Drained);
    for worker in &mut world.workers {
        assert!(matches!(command(worker), Command::Stop));
        worker.report(Report::Stopped);
    }
    assert_eq!(world.end().0, Outcome::Stopped);
}

#[test]
fn draining_ends_at_its_deadline_too() {
    let mut world = world("deadline", 1, Duration::from_millis(50), Fake::default()).ready();
    world.status("POST /drain");
    assert!(matches!(command(&mut world.workers[0]), Command::Drain));
    assert!(matches!(command(&mut world.workers[0]), Command::Stop));
    world.workers[0].report(Report::Stopped);
    assert_eq!(world.end().0, Outcome::Stopped);
}

#[test]
fn a_worker_that_leaves_slowly_is_waited_for_asleep() {
    let (news, mut teller) = std::os::unix::net::UnixStream::pair().unwrap();
    let fake = Fake { news: Some(news), ..Fake::default() };
    let mut world = world("asleep", 1, Duration::ZERO, fake).ready();
    world.status("POST /drain");
    while !matches!(command(&mut world.workers[0]), Command::Stop) {}
    teller.write_all(b"its device goes").unwrap();
    thread::sleep(Duration::from_millis(200));
    world.workers[0].report(Report::Stopped);
    let (outcome, fake) = world.end();
    assert_eq!(outcome, Outcome::Stopped);
    // A look every 25 ms, and some for what was said.
    assert!(fake.wakes_while_stopping < 50, "{}", fake.wakes_while_stopping);
}

#[test]
fn a_worker_that_cannot_start_ends_everything_with_its_own_words() {
    let mut world = world("failed", 2, PATIENT, Fake::default());
    world.workers[0].report(Report::Ready);
    world.workers[1].report(Report::Failed("no io_uring".into()));
    assert!(matches!(command(&mut world.workers[0]), Command::Stop));
    world.workers[0].report(Report::Stopped);
    let (outcome, fake) = world.end();
    assert_eq!(outcome, Outcome::Failed { at_start: true, line: "no io_uring".to_owned() });
    assert!(!fake.ready);
}

#[test]
fn a_worker_that_dies_without_a_word_is_noticed() {
    let mut world = world("died", 2, PATIENT, Fake::default()).ready();
    drop(world.workers.remove(0));
    assert!(matches!(command(&mut world.workers[0]), Command::Stop));
    world.workers[0].report(Report::Stopped);
    let Outcome::Failed { at_start: false, line } = world.end().0 else { panic!() };
    assert!(line.contains("worker 0 died"), "{line}");
}

#[test]
fn a_reload_reaches_every_worker_and_whoever_asked() {
    let mut world = world("reload", 2, PATIENT, Fake::default()).ready();
    let answer = world.ask("POST /reload");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nreloaded\n"), "{answer}");
    for worker in &mut world.workers {
        assert!(matches!(command(worker), Command::Snapshot(7)));
        worker.report(Report::Stopped);
    }
    world.status("POST /drain");
    assert_eq!(world.end().0, Outcome::Stopped);
}

#[test]
fn a_worker_that_hung_through_many_reloads_is_told_the_last_and_to_drain() {
    let mut world = world("hung", 1, PATIENT, Fake::default()).ready();
    for value in 0..100 {
        assert_eq!(world.status(&format!("POST /set?value={value}")), 200);
    }
    world.status("POST /drain");
    let mut last = None;
    while let Command::Snapshot(value) = command(&mut world.workers[0]) {
        last = Some(value);
    }
    assert_eq!(last, Some(99), "and then what is no snapshot: to drain");
    world.workers[0].report(Report::Stopped);
    assert_eq!(world.end().0, Outcome::Stopped);
}

#[test]
fn what_only_the_server_understands_reaches_it_and_then_the_workers() {
    let mut world = world("wish", 1, PATIENT, Fake::default()).ready();
    assert!(world.ask("GET /set").ends_with("{}"));
    assert_eq!(world.status("POST /set?value=x"), 400);
    assert!(world.workers[0].command().is_none());
    assert!(world.ask("POST /set?value=9").ends_with("it is 9\n"));
    assert!(matches!(command(&mut world.workers[0]), Command::Snapshot(9)));
    assert_eq!(world.status("POST /unset"), 404);
    world.leave();
}

#[test]
fn while_a_reload_takes_its_time_everybody_else_is_answered_and_then_who_asked() {
    for (line, status) in [("all was read", 200), ("broken: a line", 500)] {
        let (lines, reloading) = mpsc::channel();
        let fake = Fake { reloading: Some(reloading), ..Fake::default() };
        let mut world = world("reloading", 1, PATIENT, fake).ready();
        let admin = world.admin;
        let asked = thread::spawn(move || ask(admin, "POST /reload"));
        while !world.ask("GET /metrics").contains("fake_reloads_total 1") {
            thread::yield_now();
        }
        assert_eq!(world.status("GET /healthz"), 200);
        assert!(!asked.is_finished(), "nothing came of it yet");
        lines.send(line).unwrap();
        let answer = asked.join().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\nbegun\n{line}\n")), "{answer}");
        assert!(matches!(command(&mut world.workers[0]), Command::Snapshot(8)));
        world.leave();
    }
}

#[test]
fn a_broken_reload_is_told_and_changes_nothing() {
    let mut world = world("broken", 1, PATIENT, Fake { reload_fails: true, ..Fake::default() }).ready();
    let answer = world.ask("POST /reload");
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("the old one stays"), "{answer}");
    assert!(world.workers[0].command().is_none());
    world.workers[0].report(Report::Stopped);
    world.status("POST /drain");
    assert_eq!(world.end().0, Outcome::Stopped);
}

#[test]
fn counters_and_records_come_out_where_they_are_asked_for() {
    let mut world = world("figures", 1, PATIENT, Fake::default()).ready();
    world.workers[0].report(Report::Counters(Box::new(Counters(41))));
    world.workers[0].report(Report::Record("GET /a 200"));
    while !world.ask("GET /metrics").contains("fake_turns_total{worker=\"0\"} 41.0\n") {
        thread::yield_now();
    }
    assert!(world.ask("GET /stats").contains("\"turns\": 41"));
    while std::fs::read_to_string(&world.log).unwrap() != "GET /a 200\n" {
        thread::yield_now();
    }
    let index = world.ask("GET /");
    assert!(index.starts_with("HTTP/1.1 200 ") && index.contains("/metrics"), "{index}");
    assert_eq!(world.status("GET /nothing"), 404);
    assert_eq!(world.status("GET /drain"), 405);
    world.workers[0].report(Report::Stopped);
    world.status("POST /drain");
    assert_eq!(world.end().0, Outcome::Stopped);
}

fn connection(port: u16) -> crate::Connection {
    let address = |port| SocketAddr::from(([192, 0, 2, 7], port));
    crate::Connection {
        local: address(443),
        peer: address(port),
        state: "ESTAB".into(),
        tls: Some("TLS1.3 AES-128-GCM".into()),
        cwnd: 14_480,
        ssthresh: None,
        snd_wnd: 65_535,
        mss: 1_448,
        srtt_us: Some(20_000),
        rttvar_us: 1_000,
        rtt_min_us: None,
        rto_us: 200_000,
        pacing_rate: 0,
        in_flight: 0,
        lost: 0,
        unsent: 0,
        sent_bytes: 1,
        resent_bytes: 0,
        retransmitted_segments: 0,
        timeouts: 0,
        received_bytes: 2,
        reads: 0,
        object: Some("/film.mp4".to_owned()),
        ending: None,
    }
}

#[test]
fn a_page_of_connections_comes_from_the_worker_that_was_asked() {
    let mut world = world("pages", 2, Duration::from_secs(1), Fake::default()).ready();
    assert_eq!(world.status("GET /connections?worker=2"), 400);
    assert_eq!(world.status("GET /connections?worker=x"), 400);
    assert_eq!(world.status("GET /connections?form=1"), 400);
    assert_eq!(world.status("POST /connections"), 405);
    let admin = world.admin;
    let asking = thread::spawn(move || {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.write_all(b"GET /connections?worker=1&from=12 HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let Command::List(order) = command(&mut world.workers[1]) else { panic!() };
    assert_eq!(order.from, 12);
    let connections = vec![connection(5_000)];
    let listed = crate::Listed { id: order.id, next: Some(99), connections: connections.clone() };
    world.workers[1].report(Report::Listed(Box::new(listed)));
    let answer = asking.join().unwrap();
    let page: crate::Page = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(page, crate::Page { worker: 1, workers: 2, next: Some(99), connections });
    world.leave();
}

#[test]
fn without_a_file_named_at_start_nothing_is_captured() {
    let world = world("nofile", 1, Duration::from_secs(1), Fake::default()).ready();
    let answer = world.ask("POST /capture/start?port=443");
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("--pcap FILE"), "{answer}");
    world.leave();
}

#[test]
fn a_capture_is_switched_on_and_off_while_the_server_runs() {
    let file = std::env::temp_dir().join(format!("atlas-control-capture-{}", std::process::id()));
    let plan = crate::CapturePlan {
        file: file.clone(),
        bytes_max: crate::CAPTURE_BYTES_MIN,
        snap: 128,
        filter: CaptureFilter::default(),
        at_start: false,
        program: "test".to_owned(),
        links: vec!["dev".to_owned()],
    };
    let capture = Capture::open(plan, || Ok(())).unwrap();
    let mut world = world_with("capture", 1, Duration::from_secs(1), Fake::default(), Some(capture)).ready();
    for bad in ["port=0", "host=a.example", "snap=10", "prot=80"] {
        assert_eq!(world.status(&format!("POST /capture/start?{bad}")), 400, "{bad}");
    }
    assert_eq!(world.status("GET /capture/start"), 405);
    let answer = world.ask("POST /capture/start?host=2001%3Adb8::7&port=443&snap=1000");
    assert!(answer.contains("\"filter\": \"host 2001:db8::7 and port 443\""), "{answer}");
    assert!(answer.contains("\"active\": true") && answer.contains("\"snap\": 1000"), "{answer}");
    let taken = |world: &mut World| match command(&mut world.workers[0]) {
        Command::Capture(sink) => sink,
        other => panic!("{other:?}"),
    };
    let sink = taken(&mut world);
    assert!(sink.is_some());
    assert!(world.ask("GET /metrics").contains("fake_capture_active 1.0"));
    assert!(world.ask("POST /capture/stop").contains("\"active\": false"));
    assert!(taken(&mut world).is_none());
    drop(sink);
    world.leave();
    for file in [file.clone(), file.with_extension("1")] {
        assert!(std::fs::metadata(&file).unwrap().len() > 0, "{}", file.display());
        std::fs::remove_file(file).unwrap();
    }
}
