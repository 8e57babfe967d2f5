//! What needs no network: checking zones, and answering one question from them.

use clap::Args;
use control::Directly;
use core::net::{IpAddr, Ipv4Addr};
use dns::Rtype;
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::keeper::{Keeper, Outcome, Source, load_zone};
use namestorm::load::Threads;
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::show;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::options::{Config, Options, ServeArgs};
use crate::steering::Steering;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The zone file
    #[arg(required_unless_present = "config")]
    file: Option<PathBuf>,
    /// The zone's name; without it, the file's, without its directory and `.zone`
    #[arg(long)]
    name: Option<String>,
    /// Everything that this configuration file names, instead of one zone file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "name"])]
    config: Option<PathBuf>,
    /// Threads that parse
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// A zone and its file; may be given several times
    #[arg(long = "zone", value_name = "NAME=FILE", required = true)]
    zones: Vec<String>,
    /// The name that is asked for
    name: String,
    /// The type
    #[arg(default_value = "A")]
    rtype: String,
    /// Ask for signatures
    #[arg(long = "do")]
    dnssec: bool,
    /// Ask as over TCP
    #[arg(long)]
    tcp: bool,
    /// The largest UDP answer that is taken, by EDNS
    #[arg(long, value_name = "BYTES")]
    bufsize: Option<u16>,
}

pub(crate) type Complaint = Box<dyn core::error::Error>;

impl Check {
    pub(crate) fn run(self) -> Result<(), Complaint> {
        match (self.config, self.file) {
            (Some(config), _) => check_all(config, self.threads),
            (None, Some(file)) => check_one(file, self.name, self.threads),
            (None, None) => Err("which file?".into()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn check_one(file: PathBuf, name: Option<String>, threads: usize) -> Result<(), Complaint> {
    let of_file = || {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_suffix(".zone").unwrap_or(&name).to_owned()
    };
    let name = name.unwrap_or_else(of_file);
    let source = Source { apex: apex(&name)?, path: file };
    let begin = Instant::now();
    let built = load_zone(&source, Key::new([0; 16]), Form::Wire, Threads(threads))?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut out = std::io::stdout();
    for warning in &built.warnings {
        writeln!(out, "{}: warning: {warning}", source.path.display())?;
    }
    let weight = built.zone.weight();
    writeln!(
        out,
        "{name}: serial {}, {weight}; {:.0} records/s",
        built.zone.serial(),
        weight.records as f64 / seconds
    )?;
    Ok(())
}

/// A line for each zone, those of other servers as far as they have been fetched, and one for the table of steering.
fn check_all(config: PathBuf, threads: usize) -> Result<(), Complaint> {
    let arguments = ServeArgs { config: Some(config), options: Options::default() };
    let config = Config::load(arguments, &Directly)?;
    let mut out = std::io::stdout();
    let mut broken = 0_usize;
    let fetched = config.zones.secondaries.iter().map(|zone| &zone.source);
    let (there, absent): (Vec<_>, Vec<_>) = fetched.partition(|source| source.path.exists());
    let sources = config.zones.files.iter().chain(there).cloned().collect();
    let mut keeper = Keeper::new(Key::new([0; 16]), config.form, Threads(threads), sources);
    for Outcome { source, result } in keeper.refresh() {
        match result {
            Ok((weight, warnings)) => {
                let file = source.path.display();
                writeln!(out, "{file}: {}: {weight}", dns::name::Presentation(&source.apex))?;
                for warning in warnings {
                    writeln!(out, "{file}: warning: {warning}")?;
                }
            }
            Err(error) => {
                broken += 1;
                writeln!(out, "{error}")?;
            }
        }
    }
    for source in absent {
        let name = dns::name::Presentation(&source.apex);
        writeln!(out, "{}: {name}: not fetched yet", source.path.display())?;
    }
    if let Some(path) = &config.steering {
        match Steering::open(path, &keeper) {
            Ok(steering) => writeln!(out, "{}: {}", path.display(), steering.describe())?,
            Err(error) => {
                broken += 1;
                writeln!(out, "{error}")?;
            }
        }
    }
    match broken {
        0 => Ok(()),
        1 => Err("one of these cannot be served".into()),
        _ => Err(format!("{broken} of these cannot be served").into()),
    }
}

impl Query {
    pub(crate) fn run(self) -> Result<(), Complaint> {
        let (key, form) = (Key::new([0; 16]), Form::Wire);
        let mut zones = Vec::new();
        for zone in &self.zones {
            let (name, file) =
                zone.split_once('=').ok_or_else(|| format!("{zone}: --zone wants NAME=FILE"))?;
            let source = Source { apex: apex(name)?, path: file.into() };
            zones.push(Arc::new(load_zone(&source, key, form, Threads(1))?.zone));
        }
        let catalogue = Catalogue::new(key, form, zones);
        let message = self.message()?;
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = Request { source, transport, now_ms: 0, unix: 0 };
        let mut room = vec![0; usize::from(u16::MAX)];
        let mut responder = Responder::new(Settings::default(), &catalogue);
        let response =
            responder.respond(&catalogue, &request, &message, &mut room).ok_or("this is not answered")?;
        let shown = show::show(&room[..response.bytes])?;
        writeln!(std::io::stdout(), "{shown};; {} bytes", response.bytes)?;
        Ok(())
    }

    fn message(&self) -> Result<Vec<u8>, Complaint> {
        let name =
            dns::name::from_text(self.name.as_bytes()).map_err(|error| format!("{}: {error}", self.name))?;
        let rtype = Rtype::from_text(&self.rtype)
            .ok_or_else(|| format!("{}: no type; a number is written TYPE123", self.rtype))?;
        let edns = self.dnssec || self.bufsize.is_some();
        let header = dns::Header { id: 1, qdcount: 1, arcount: u16::from(edns), ..dns::Header::default() };
        let mut message = header.emit().to_vec();
        message.extend_from_slice(&name);
        message.extend_from_slice(&rtype.0.to_be_bytes());
        message.extend_from_slice(&dns::Class::IN.0.to_be_bytes());
        if edns {
            let opt = dns::edns::emit_opt(self.bufsize.unwrap_or(1_232), 0, self.dnssec, 0);
            message.extend_from_slice(&opt);
        }
        Ok(message)
    }
}

pub(crate) fn apex(name: &str) -> Result<Vec<u8>, Complaint> {
    let mut wire = dns::name::from_text(name.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
    wire.make_ascii_lowercase();
    Ok(wire)
}
