//! Signals belong to the process, so this test has one of its own.
#![expect(clippy::tests_outside_test_module, reason = "this file is only built as a test")]

use control::{
    AccessLog, Command, Destination, Event, Figure, Figures, Outcome, Plan, Reloaded, Report, Server,
    Signals, Status, Wake, WorkerPort, mailbox,
};
use core::time::Duration;
use rustix::process::{Signal, getpid, kill_process};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

#[derive(Clone, Copy)]
struct Nothing;

impl Figures for Nothing {
    fn visit(&self, _visit: &mut dyn FnMut(Figure)) {}
}

struct Fake {
    ready: Sender<()>,
}

impl Server for Fake {
    type Snapshot = &'static str;
    type Counters = Nothing;
    type Record = &'static str;
    const NAME: &'static str = "fake";

    fn on_ready(&mut self) {
        self.ready.send(()).expect("the test waits");
    }

    fn reload(&mut self) -> Reloaded<&'static str> {
        Reloaded { snapshot: Some("renewed"), events: Vec::<Event>::new(), drain: None }
    }

    fn rescan(&mut self) -> Option<Reloaded<&'static str>> {
        None
    }

    fn write_record(&mut self, record: &&'static str, line: &mut Vec<u8>) {
        line.extend_from_slice(record.as_bytes());
    }

    fn on_second(&mut self, _status: Status, _workers: &[Option<&Nothing>]) {}

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

type Port = WorkerPort<&'static str, Nothing, &'static str>;

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn command(worker: &mut Port) -> Command<&'static str> {
    let mut found = None;
    eventually("a command", || {
        found = worker.command();
        found.is_some()
    });
    found.expect("found just now")
}

fn raise(signal: Signal) {
    kill_process(getpid(), signal).expect("a signal to ourselves");
}

#[test]
fn each_signal_does_what_the_manual_says() {
    let log: PathBuf = std::env::temp_dir().join(format!("control-signals-{}.log", std::process::id()));
    let moved = log.with_extension("1");
    let bell = Wake::new().expect("a descriptor");
    let (port, mut worker): (_, Port) = mailbox(16, bell.clone()).expect("a descriptor");
    let plan = Plan {
        signals: Signals::catch().expect("signals"),
        bell,
        admin: None,
        access_log: Some(AccessLog::open(Destination::File(log.clone())).expect("a file")),
        capture: None,
        drain: Duration::from_secs(600),
        rescan: None,
    };
    let (ready, is_ready) = channel();
    let control = thread::spawn(move || control::run(plan, vec![port], &mut Fake { ready }));
    worker.report(Report::Ready);
    is_ready.recv().expect("control is ready");

    raise(Signal::HUP);
    assert!(matches!(command(&mut worker), Command::Snapshot("renewed")), "SIGHUP reloads");

    std::fs::rename(&log, &moved).expect("our own file");
    raise(Signal::USR1);
    eventually("SIGUSR1 opens the log again", || log.exists());
    worker.report(Report::Record("after rotation"));
    let written = || std::fs::read_to_string(&log).expect("it exists");
    eventually("lines go to the new file", || written() == "after rotation\n");

    raise(Signal::TERM);
    assert!(matches!(command(&mut worker), Command::Drain), "SIGTERM drains");
    thread::sleep(Duration::from_millis(100));
    assert!(worker.command().is_none(), "and waits for what is being sent");
    raise(Signal::INT);
    assert!(matches!(command(&mut worker), Command::Stop), "a second one does not wait");
    raise(Signal::INT);
    thread::sleep(Duration::from_millis(100));
    assert!(!control.is_finished(), "a third one does not blame a worker that is leaving");
    worker.report(Report::Stopped);
    assert_eq!(control.join().expect("no panic"), Outcome::Stopped);

    std::fs::remove_file(log).expect("our own file");
    std::fs::remove_file(moved).expect("our own file");
}
