//! Programs with a deadline: one that hangs fails its test instead of hanging it.

use super::PATIENCE;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Process {
    command: Command,
    patience: Duration,
    pace: Pace,
}

/// What a program did.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]);
        write!(f, "{}\nstdout ({} bytes): {shown}\nstderr: {}", self.status, self.stdout.len(), self.stderr)
    }
}

impl Output {
    /// Standard output as text.
    pub(crate) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless the program succeeded.
    pub(crate) fn success(self) -> Self {
        assert!(self.status.success(), "{self:?}");
        self
    }
}

impl Process {
    /// A program by its name or path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self { command, patience: PATIENCE, pace: Pace::default() }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its standard output is read at no more than `bytes` a millisecond until [`Running::hurry`], and what was missed is never
    /// caught up: whatever stands still meanwhile, the program cannot be done sooner.
    pub(crate) fn paced(mut self, bytes: usize) -> Self {
        self.pace = Pace(Arc::new(AtomicUsize::new(bytes)));
        self
    }

    /// Starts it, with all three streams in our hands.
    pub(crate) fn start(mut self) -> Running {
        let name = self.command.get_program().to_string_lossy().into_owned();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Tape::record(child.stdout.take().expect("piped"), self.pace.clone());
        let stderr = Tape::record(child.stderr.take().expect("piped"), Pace::default());
        let stdin = child.stdin.take();
        Running { name, child, stdin, stdout, stderr, patience: self.patience, pace: self.pace }
    }

    /// Runs it to its end, with nothing on standard input.
    pub(crate) fn run(self) -> Output {
        let mut running = self.start();
        running.stdin = None;
        running.wait()
    }
}

/// Runs a program that must succeed.
pub(crate) fn output(process: Process) -> Output {
    process.run().success()
}

/// A program that was started; killed if it is still there when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Tape,
    stderr: Tape,
    patience: Duration,
    pace: Pace,
}

impl Running {
    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Closes its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.so_far()
    }

    /// How many bytes that is.
    pub(crate) fn stdout_len(&self) -> usize {
        self.stdout.bytes.lock().expect("no reader panics").len()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// From now on its output is read as it comes.
    pub(crate) fn hurry(&self) {
        self.pace.0.store(0, Ordering::Relaxed);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    /// It has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Output {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(
                started.elapsed() < self.patience,
                "{} hangs; its standard error: {}",
                self.name,
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let stdout = self.stdout.finish();
        let stderr = String::from_utf8_lossy(&self.stderr.finish()).into_owned();
        Output { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How many bytes a millisecond are read of a stream; 0 for as many as come.
#[derive(Clone, Debug, Default)]
struct Pace(Arc<AtomicUsize>);

impl Pace {
    /// Time that `count` bytes take.
    fn wait(&self, count: usize) {
        if let Some(millis) = count.checked_div(self.0.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0) + 1));
        }
    }
}

/// A stream, read as it comes by a thread of its own so that nobody blocks on a full pipe.
#[derive(Debug)]
struct Tape {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tape {
    fn record(mut stream: impl Read + Send + 'static, pace: Pace) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                ours.lock().expect("no reader panics").extend_from_slice(&chunk[..count]);
                pace.wait(count);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("no reader panics").clone()
    }

    /// Everything until the end of the stream. A grandchild may hold it open: then what there is after a while.
    fn finish(&self) -> Vec<u8> {
        let started = Instant::now();
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished())
            && started.elapsed() < Duration::from_secs(2)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        core::mem::take(&mut *self.bytes.lock().expect("no reader panics"))
    }
}
