//! A soak from its first round to its report.
//!
//! ```text
//!   round   load begins ─ calm ─ the fault ─ what came of it: it must go on ─ load ends ─ rest: numbers must agree
//!           └───────────── a look at the server's numbers, lines and process 5 times a second ──────────────┘
//! ```

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use rustix::process::Signal;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use handshake::Trust;

use super::fault::{Fault, Turns};
use super::figures::Figures;
use super::load::{Came, Complaints, Helper, Load, plan, questions};
use super::place::{Desk, Place, SERVER};
use super::report::{Complaint, Life, Report, Round};
use super::server::{ADMIN, Server, is_alarming, program};
use super::torment::{self, Changing};
use super::{Order, Over, Progress, Who, zone};
use crate::error::ProgramError;

/// Nothing takes longer, whatever the path does.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);
/// Who waits for bytes of a server that was killed is told by nobody.
const FORGOTTEN: Duration = Duration::from_secs(3);
/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// After a fault, everything has to go on within this time; and to come to rest after its load.
const RECOVERY: Duration = Duration::from_secs(30);
/// A server sends its SYN again for 63 s, and then forgets who did not answer.
const HALF_OPEN: Duration = Duration::from_secs(70);
/// More complaints than anybody reads: a soak ends with them.
const COMPLAINTS_MAX: usize = 200;
/// Sizes of objects: one byte, around a packet, a record, a read, and some that take many.
const SIZES: [usize; 12] =
    [1, 1_447, 1_449, 4_097, 16_384, 16_385, 65_537, 131_073, 300_000, 300_001, 700_000, 1_500_001];
/// The one that slow readers ask for.
const LARGEST: &str = "s/11.bin";
/// The file that changes.
pub(super) const CHANGING: &str = "v/changing.bin";

/// What a helper does.
type Work = Box<dyn FnOnce(&AtomicBool, &mut dyn FnMut(String)) + Send>;

/// A soak under way.
pub(super) struct Soak<'a> {
    pub(super) order: &'a Order,
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(&Progress),
    pub(super) begun: Instant,
    pub(super) desk: Desk,
    pub(super) place: Place,
    pub(super) server: Server,
    pub(super) turns: Turns,
    pub(super) changing: Arc<Changing>,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) versions: Arc<zone::Versions>,
    pub(super) version: u16,
    pub(super) certificate: String,
    complaints: Complaints,
    pub(super) fault: Fault,
    before: Fault,
    /// When a flood of connections that nobody completed was over.
    pub(super) flooded: Option<Instant>,
    loads: Vec<Load>,
    last: Option<Figures>,
    life: Life,
    progress: Progress,
    report: Report,
}

/// Runs it until its time is over, or `stop`, or the server is beyond help.
///
/// # Errors
/// It could not begin.
pub fn run(
    order: &Order,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Report, ProgramError> {
    let mut soak = Soak::begin(order, stop, tell)?;
    let mut number = 0;
    while soak.goes_on() && (number == 0 || soak.begun.elapsed() < order.duration) {
        let fault = soak.turns.draw();
        if let Err(why) = soak.round(number, fault) {
            soak.complain(format!("the soak cannot go on: {why}"));
            soak.report.ended_early = true;
            break;
        }
        number += 1;
    }
    Ok(soak.end())
}

impl<'a> Soak<'a> {
    fn begin(
        order: &'a Order,
        stop: &'a AtomicBool,
        tell: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self, ProgramError> {
        let binary = program(&order.programs, order.who.name())?;
        program(&order.programs, "middlebox")?;
        let desk = Desk::new()?;
        let mut dice = SmallRng::seed_from_u64(order.seed);
        let mut bytes = |size: usize| {
            let mut bytes = vec![0; size];
            dice.fill_bytes(&mut bytes);
            bytes
        };
        let failed = |source| ProgramError::File { path: desk.path().to_owned(), source };
        for (index, size) in SIZES.into_iter().enumerate() {
            desk.put(&format!("www/s/{index}.bin"), &bytes(size)).map_err(failed)?;
        }
        let content = Arc::new(bytes(400_000));
        desk.put(&format!("www/{CHANGING}"), &content).map_err(failed)?;
        desk.put("zones/zone", zone::file(1).as_bytes()).map_err(failed)?;
        let changing = Arc::new(Changing::default());
        changing.set(vec![Arc::clone(&content)], false);
        let place = Place::new(&order.programs, order.over, order.seed)?;
        // From here on this thread is where the server's admin port is.
        place.server.enter()?;
        let mut soak = Self {
            order,
            stop,
            tell,
            begun: Instant::now(),
            server: Server::new(binary, arguments(order, &desk)),
            desk,
            place,
            turns: Turns::new(order.faults.clone(), order.seed),
            changing,
            content,
            versions: Arc::new(zone::Versions::new(1)),
            version: 1,
            certificate: String::new(),
            complaints: Complaints::default(),
            fault: Fault::Calm,
            before: Fault::Calm,
            flooded: None,
            loads: Vec::new(),
            last: None,
            life: Life::default(),
            progress: Progress::default(),
            report: Report::new(order),
        };
        soak.renew_certificate()?;
        soak.report.command = soak.server.command();
        soak.start()?;
        soak.begun = Instant::now();
        Ok(soak)
    }

    /// Starts the server: a new life.
    pub(super) fn start(&mut self) -> Result<(), ProgramError> {
        self.server.start(&self.place.server)?;
        self.last = None;
        self.flooded = None;
        self.life = Life::default();
        Ok(())
    }

    /// Ends a life by a signal.
    pub(super) fn end_life(&mut self, signal: Signal) {
        self.look_at_lines();
        let life = core::mem::take(&mut self.life);
        for what in life.grew() {
            self.complain(what);
        }
        self.report.lives.push(life);
        match self.server.end(signal) {
            Ok(status) if signal == Signal::KILL || status.success() => {}
            Ok(status) => self.complain(format!("it was asked to leave and left with {status}")),
            Err(why) => self.complain(why),
        }
        self.look_at_lines();
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.report.complaints.len() < COMPLAINTS_MAX
    }

    pub(super) fn complain(&mut self, what: String) {
        let at_s = self.begun.elapsed().as_secs_f64();
        self.progress.last.clone_from(&what);
        self.report.complaints.push(Complaint { at_s, round: self.progress.round, fault: self.fault, what });
        self.progress.complaints = self.report.complaints.len();
    }

    /// Lets time pass, and looks at the server meanwhile.
    pub(super) fn keep(&mut self, time: Duration) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            self.look()?;
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() || !self.goes_on() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Until it holds, for at most so long; whether it does.
    pub(super) fn until(
        &mut self,
        patience: Duration,
        holds: impl Fn(&mut Self) -> bool,
    ) -> Result<bool, String> {
        let begun = Instant::now();
        while !holds(self) {
            if begun.elapsed() > patience || !self.goes_on() {
                return Ok(false);
            }
            self.look()?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// One look: numbers, lines, whether it lives.
    fn look(&mut self) -> Result<(), String> {
        self.look_at_lines();
        let told: Vec<String> =
            self.complaints.lock().map(|mut told| core::mem::take(&mut *told)).unwrap_or_default();
        for what in told.into_iter().take(COMPLAINTS_MAX) {
            // Whoever asks while there is no server has nothing to complain of.
            if !self.fault.allows(self.order.who).contains(&"connect") {
                self.complain(what);
            }
        }
        if let Some(status) = self.server.has_ended() {
            return Err(format!("the server ended by itself: {status}"));
        }
        let figures = Figures::ask(ADMIN).map_err(|error| format!("the admin port: {error}"))?;
        self.report.looks += 1;
        let wrong = figures.contradictions().into_iter();
        let wrong: Vec<String> =
            wrong.chain(self.last.iter().flat_map(|last| figures.went_back(last))).collect();
        for what in wrong {
            self.complain(what);
        }
        self.last = Some(figures);
        self.progress.elapsed = self.begun.elapsed();
        self.progress.requests = self.report.requests() + self.loads.iter().map(Load::progress).sum::<u64>();
        (self.tell)(&self.progress);
        Ok(())
    }

    fn look_at_lines(&mut self) {
        for line in self.server.take_lines().into_iter().filter(|line| is_alarming(line)) {
            self.report.lines += 1;
            // What was begun in one round may be told in the next.
            if !self.fault.explains(&line) && !self.before.explains(&line) {
                self.complain(format!("the server said: {line}"));
            }
        }
    }

    fn round(&mut self, number: usize, fault: Fault) -> Result<(), String> {
        self.before = self.fault;
        self.fault = fault;
        self.progress.round = number;
        self.progress.fault = Some(fault);
        let begun = Instant::now();
        let first = self.fresh()?;
        let path = self.begin_path(fault)?;
        self.loads = self.load(number)?;
        let witness = self.witness(number);
        let length = self.order.round();
        self.keep(length.mul_f64(0.2))?;
        self.suffer(fault, length.mul_f64(0.5))?;
        let marks: Vec<u64> = self.loads.iter().map(Load::progress).collect();
        self.keep(length.mul_f64(0.3))?;
        let went_on = self.until(RECOVERY, |soak| {
            soak.loads.iter().zip(&marks).all(|(load, mark)| load.is_over() || load.progress() > *mark)
        })?;
        if !went_on && self.goes_on() {
            self.complain(format!("after the fault nothing came for {} s", RECOVERY.as_secs()));
        }
        let mut came = Came::default();
        for load in core::mem::take(&mut self.loads) {
            came.add(load.end()?);
        }
        witness.end();
        self.end_path(fault)?;
        self.judge(&came);
        self.rest(fault, &came, &first)?;
        self.report.rounds.push(Round::new(number, fault, path, begun.elapsed(), came));
        Ok(())
    }

    /// The server's numbers of now.
    fn fresh(&mut self) -> Result<Figures, String> {
        self.look()?;
        self.last.clone().ok_or_else(|| "the server tells no numbers".to_owned())
    }

    /// Everybody who asks for what does not change.
    fn load(&self, number: usize) -> Result<Vec<Load>, String> {
        let (client, order) = (&self.place.client, self.order);
        let cores = thread::available_parallelism().map_or(1, core::num::NonZero::get);
        let seed = order.seed ^ number as u64;
        if order.who == Who::Namestorm {
            let plan = questions(self.address(53), zone::APEX, zone::NAMES, seed)?;
            return Ok(vec![Load::questions(client, plan, number % cores)]);
        }
        let names: Vec<String> = (0..SIZES.len()).map(|index| format!("s/{index}.bin")).collect();
        let root = self.desk.path().join("www");
        let plan = |scheme: &str, connections, once| {
            let base = format!("{scheme}://{SERVER}");
            let timeout = if self.fault.ends_server() { FORGOTTEN } else { TIMEOUT };
            let demand = (connections, once, order.think, timeout);
            plan(&base, (&root, &names), demand, Trust::Anyone, seed)
        };
        let connections = order.connections.max(4);
        Ok(vec![
            Load::web(client, plan("https", connections / 2, None)?, number % cores, 0.3),
            Load::web(client, plan("http", connections / 4, None)?, (number + 1) % cores, 0.3),
            Load::web(client, plan("https", connections / 8, Some(1))?, (number + 2) % cores, 1.0),
            Load::web(client, plan("http", connections.div_ceil(8), Some(1))?, (number + 3) % cores, 1.0),
        ])
    }

    /// Whoever looks at what does change.
    fn witness(&self, number: usize) -> Helper {
        let (client, seed) = (&self.place.client, self.order.seed ^ !(number as u64));
        if self.order.who == Who::Namestorm {
            let (versions, server) = (Arc::clone(&self.versions), self.address(53));
            return Helper::spawn(client, &self.complaints, move |stop, complain| {
                if let Err(error) = zone::ask(server, &versions, stop, seed, complain) {
                    complain(format!("nobody can ask: {error}"));
                }
            });
        }
        let (changing, server) = (Arc::clone(&self.changing), self.address(80));
        Helper::spawn(client, &self.complaints, move |stop, complain| {
            torment::watch(server, &format!("/{CHANGING}"), &changing, stop, complain);
        })
    }

    /// Peers as a fault has them.
    pub(super) fn tormentors(&self, fault: Fault) -> Vec<Helper> {
        const REQUEST: &[u8] = b"GET /s/9.bin HTTP/1.1\r\nHost: soak\r\n\r\n";
        const QUERY: &[u8] = b"\x00\x21\0\x07\0\0\0\x01\0\0\0\0\0\0\x02n1\x04soak\x07example\0\0\x01\0\x01";
        let (seed, names) = (self.order.seed, self.order.who == Who::Namestorm);
        let server = self.address(if names { 53 } else { 80 });
        let secure = self.address(if names { 53 } else { 443 });
        let help = |work: Work| Helper::spawn(&self.place.client, &self.complaints, work);
        match fault {
            Fault::Resets => [server, server, secure]
                .into_iter()
                .map(|server| {
                    help(Box::new(move |stop, _| {
                        torment::reset(server, if names { QUERY } else { REQUEST }, stop, seed);
                    }))
                })
                .collect(),
            Fault::HalfOpen => vec![help(Box::new(move |stop, complain| {
                if let Err(why) = torment::flood(server, 2_000, stop, seed) {
                    complain(why);
                }
            }))],
            Fault::SlowReaders => (0..8)
                .map(|_| {
                    let expected =
                        std::fs::read(self.desk.path().join("www").join(LARGEST)).unwrap_or_default();
                    help(Box::new(move |stop, complain| {
                        torment::read_slowly(server, (&format!("/{LARGEST}"), &expected), stop, complain);
                    }))
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether clients had only failures that the fault explains.
    fn judge(&mut self, came: &Came) {
        let allowed = self.fault.allows(self.order.who);
        // While a flood fills the backlog, connections begin with cookies: when the first segment of a client's is lost and its
        // second arrives, nobody can know the connection, and it is reset (RFC 4987 §3.6).
        let cookies = self.flooded.is_some_and(|since| since.elapsed() < 2 * HALF_OPEN);
        let lossy = cookies && self.fault.loses();
        for failed in came
            .failed
            .iter()
            .filter(|failed| !(allowed.contains(&failed.kind) || lossy && failed.kind == "reset"))
        {
            self.complain(format!("{} clients failed ({}): {}", failed.count, failed.kind, failed.first));
        }
        if came.requests == 0 && self.goes_on() {
            self.complain("not one request came through".to_owned());
        }
    }

    /// Waits until nobody is connected, and has everybody's numbers agree.
    fn rest(&mut self, fault: Fault, came: &Came, first: &Figures) -> Result<(), String> {
        let flooded = self.flooded.is_some_and(|since| since.elapsed() < HALF_OPEN);
        let rests = |soak: &mut Self| soak.last.as_ref().is_some_and(|figures| figures.is_at_rest(flooded));
        // Numbers are told by a worker that turns, and by one that sleeps now and then.
        self.keep(Duration::from_millis(300))?;
        if !self.until(RECOVERY, rests)? {
            if self.goes_on() {
                let open = self.last.as_ref().map_or(0, |figures| figures.gauge("connections"));
                self.complain(format!(
                    "{} s after the load {open} connections are still there",
                    RECOVERY.as_secs()
                ));
            }
            return Ok(());
        }
        self.keep(Duration::from_millis(300))?;
        let Some(figures) = self.last.clone() else { return Ok(()) };
        let mut wrong = figures.leftovers();
        if !fault.ends_server() {
            let passed = |of: &dyn Fn(&Figures) -> u64| of(&figures).saturating_sub(of(first));
            let streams = passed(&|figures| figures.total("sent_bytes"));
            if streams < came.wire_bytes {
                wrong.push(format!(
                    "clients received {} bytes, and the server sent {streams}",
                    came.wire_bytes
                ));
            }
            let answers = match self.order.who {
                Who::Namestorm => passed(&Figures::responses),
                Who::Atlas | Who::Sandstorm => passed(&Figures::answers),
            };
            if answers < came.requests {
                wrong.push(format!("clients counted {} answers, and the server {answers}", came.requests));
            }
        }
        if let Some(held) = self.server.held() {
            self.life.rest(self.begun.elapsed().as_secs_f64(), held, &figures);
        }
        wrong.into_iter().for_each(|what| self.complain(what));
        Ok(())
    }

    fn end(mut self) -> Report {
        self.fault = Fault::Restart;
        if self.server.has_ended().is_none() {
            self.end_life(Signal::TERM);
        }
        self.report.seconds = self.begun.elapsed().as_secs_f64();
        self.report.interrupted = self.stop.load(Ordering::Relaxed);
        self.report
    }

    pub(super) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(SERVER), port)
    }
}

/// What the server is started with.
fn arguments(order: &Order, desk: &Desk) -> Vec<String> {
    let at = |name: &str| desk.path().join(name).display().to_string();
    let link = match order.over {
        Over::Packet => "packet:far",
        Over::Afxdp => "afxdp:far",
    };
    let mut arguments: Vec<String> = vec!["serve".into()];
    match order.who {
        Who::Namestorm => {
            let zone = PathBuf::from(at("zones/zone"));
            arguments.extend(["--zone".into(), format!("{}={}", zone::APEX, zone.display())]);
            arguments.extend(["--rate", "0"].map(str::to_owned));
        }
        Who::Atlas | Who::Sandstorm => {
            arguments.extend([
                at("www"),
                "--cert".into(),
                at("tls/chain.pem"),
                "--key".into(),
                at("tls/key.pem"),
            ]);
            arguments.extend(["--rescan-seconds", "1", "--memory"].map(str::to_owned));
            arguments.push(if order.who == Who::Atlas { "64MiB" } else { "256MiB" }.to_owned());
        }
    }
    arguments.extend(["--link", link, "--addr", "198.18.1.3/16", "--workers", "1"].map(str::to_owned));
    arguments.extend(["--admin".to_owned(), ADMIN.to_string(), "--drain-seconds".into(), "5".into()]);
    arguments.extend(order.arguments.iter().cloned());
    arguments
}
