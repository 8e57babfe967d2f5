//! The query log, as the program runs it: lines through control's own log, or dnstap through a thread.

use control::{AccessLog, Figure, Opener, Purpose};
use host::Policy;
use namestorm::dnstap::{self, Sink, Tap};
use namestorm::query_log::Record;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::options::{Config, QueryLogChoice};

/// What is opened, before anything is given up.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Nothing.
    Nothing,
    /// Lines, which control writes.
    Lines(AccessLog),
    /// What the thread will write to.
    Dnstap(Sink),
}

/// Opens what the operator chose.
pub(crate) fn open(choice: &QueryLogChoice, opener: &dyn Opener) -> io::Result<Opened> {
    Ok(match choice {
        QueryLogChoice::Off => Opened::Nothing,
        QueryLogChoice::Json(destination) => Opened::Lines(AccessLog::open(destination.clone())?),
        QueryLogChoice::Dnstap(path) => {
            let file = opener.open(path, Purpose::Append)?;
            dnstap::check_empty(&file)?;
            Opened::Dnstap(Sink::File(file))
        }
        QueryLogChoice::DnstapSocket(path) => Opened::Dnstap(Sink::Socket(path.clone())),
    })
}

/// A file, whatever its name: device and inode.
type Identity = (u64, u64);

fn identity_of(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What is written besides control's own log.
#[derive(Debug, Default)]
pub(crate) struct QueryLog {
    tap: Option<Tap>,
    identity: Option<String>,
    /// Opened again when it was moved away: another file is there then.
    file: Option<(PathBuf, Identity)>,
}

impl QueryLog {
    /// Starts the thread, if there is something for it to write. Lines are control's.
    pub(crate) fn start(
        opened: Opened,
        config: &Config,
        policy: Policy,
    ) -> io::Result<(Self, Option<AccessLog>)> {
        Ok(match opened {
            Opened::Nothing => (Self::default(), None),
            Opened::Lines(lines) => (Self::default(), Some(lines)),
            Opened::Dnstap(sink) => {
                let file = match (&config.query_log, &sink) {
                    (QueryLogChoice::Dnstap(path), Sink::File(file)) => {
                        Some((path.clone(), identity_of(file)?))
                    }
                    _ => None,
                };
                let tap = Some(Tap::start(sink, policy)?);
                (Self { tap, identity: config.identity.clone(), file }, None)
            }
        })
    }

    /// Takes note of a record.
    pub(crate) fn on_record(&mut self, record: &Record) {
        if let Some(tap) = &mut self.tap {
            tap.frame(dnstap::encode(record, self.identity.as_deref()));
        }
    }

    /// Goes on in a new file, if the old one was moved away.
    pub(crate) fn reopen(&mut self, opener: &dyn Opener) {
        let (Some(tap), Some((path, identity))) = (&self.tap, &mut self.file) else { return };
        let opened = opener.open(path, Purpose::Append).and_then(|file| Ok((identity_of(&file)?, file)));
        let shown = path.display();
        match opened {
            Ok((same, _)) if same == *identity => {}
            Ok((new, file)) => match dnstap::check_empty(&file) {
                Ok(()) if tap.reopen(file) => {
                    *identity = new;
                    tracing::info!("dnstap: {shown} from the beginning");
                }
                Ok(()) => tracing::error!("dnstap: {shown}: the thread that writes is behind"),
                Err(error) => tracing::error!("dnstap: {shown}: {error}"),
            },
            Err(error) => tracing::error!("dnstap: cannot open {shown}: {error}"),
        }
    }

    /// What was lost.
    pub(crate) fn figures(&self) -> impl Iterator<Item = Figure> {
        let help = "Questions that a slow disk or collector cost";
        self.tap.iter().map(move |tap| Figure::counter("dnstap_lost", help, tap.lost()))
    }
}
