//! Our program, as an operator starts it.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use testbed::Namespace;

use crate::drain::Complaint;

use super::ground::SERVER_CORE;

/// The program, which lies beside this one.
const PROGRAM: &str = "sandstorm";

/// Its link and address, as it takes them, and how packets come to their payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) link: &'a str,
    pub(super) address: Ipv4Addr,
    /// `None`: as it thinks best.
    pub(super) copy: Option<&'a str>,
}

fn arguments(Site { link, address, copy }: Site<'_>, directory: &Path) -> Vec<String> {
    let directory = directory.display();
    let mut text = format!(
        "serve {directory} --link {link} --addr {address}/24 --https off --workers 1 --congestion newreno --admin off \
         --rescan-seconds 0 --drain-seconds 1 --log-level warn"
    );
    if let Some(copy) = copy {
        text.push_str(" --copy ");
        text.push_str(copy);
    }
    text.split(' ').map(str::to_owned).collect()
}

/// How it is started, for whoever wants to object.
pub(super) fn command_line(site: Site<'_>, directory: &Path) -> String {
    format!("taskset -c {SERVER_CORE} {PROGRAM} {}", arguments(site, directory).join(" "))
}

/// The running program, on its core; ended when dropped.
#[derive(Debug)]
pub(super) struct Ours(Child);

impl Ours {
    /// Returns when it listens.
    pub(super) fn start(site: Site<'_>, namespace: &Namespace, directory: &Path) -> Result<Self, Complaint> {
        let program: PathBuf = std::env::current_exe()?.with_file_name(PROGRAM);
        if !program.exists() {
            return Err(format!("the program is not built: cargo build --release -p {PROGRAM}").into());
        }
        let mut command = namespace.command("taskset");
        command.args(["-c", &SERVER_CORE.to_string()]).arg(program).args(arguments(site, directory));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut ours = Self(child);
        let output = ours.0.stdout.take().ok_or("a program without output")?;
        let errors = ours.0.stderr.take().ok_or("a program without errors")?;
        // What it says must not fill the pipes; the last of it is why it ended.
        let last = thread::spawn(move || BufReader::new(errors).lines().map_while(Result::ok).last());
        let mut lines = BufReader::new(output).lines();
        let listens = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("listening http:"));
        if !listens {
            let why = last.join().ok().flatten().unwrap_or_default();
            return Err(format!("{} did not start: {why}", command_line(site, directory)).into());
        }
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(ours)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
