//! The command line, and its manual.

use clap::{Args, Parser, Subcommand, ValueEnum};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

use lab::device::DeviceName;
use lab::ground::Ground;
use lab::load::catalogue::Part;
use lab::load::choice::Mix;
use lab::soak::{Fault, Over, Who};
use lab::values::{self, Cores};

const ABOUT: &str = "Load on a server, and what it measures";

const LOAD_EXAMPLES: &str = "\
EXAMPLES
  Ten thousand connections for a minute, one response in a hundred compared with the files:
    lab load https://192.0.2.1/a.m4s -c 10000 -d 60s --ramp 5s --verify 1% --root /srv/video

  Viewers of 5 Mb/s who fetch chunks of 300 KB one after the other:
    lab load --urls films.txt --mix zipf:0.8 --part sequential:300KB --viewers 5mbit --buffer 30s --start 2s

  A server of its own, in namespaces that end with the run:
    lab load http://198.18.1.2/ --serve 'nginx -g \"daemon off;\"'

RESULT
  A table, or with --json one object on one line, described in docs/lab.md.

SIGNALS
  SIGINT, SIGTERM     Stop now, and report what there is. A second one leaves at once.

EXIT STATUS
  0   Everything that was asked for came, and was right.
  1   Something failed or did not match: the result says what, and whose fault it is.
  2   Nothing was measured: one line says why and what to do about it.";

const FIG_EXAMPLES: &str = "\
EXAMPLES
  Which there are, what each shows and how long it takes:
    lab fig list

  One figure, in seconds rather than minutes, and a page of it:
    lab fig 2.5 --quick --out figures && lab report figures

  All of them:
    lab fig all --out figures

GROUND
  Figures with servers need root or user namespaces, ethtool, and the peers that are measured: nginx, tcpdump. What is
  missing is said with the Debian package. Servers run on core 0 and everything else on core 1, in namespaces that end with
  the run, however it ends.

RESULT
  DIR/N.json with everything that was measured and on what, and DIR/Na.svg for each of its pictures. A figure that was not
  finished leaves nothing.";

const SOAK_EXAMPLES: &str = "\
EXAMPLES
  Two hours of everything:
    lab soak atlas --for 2h --out soak.json

  Only what happens to the link, over AF_XDP, as it was the last time:
    lab soak sandstorm --for 10m --seed 7 --link afxdp --faults down,carrier,deleted,mtu

GROUND
  Root or user namespaces, ethtool, and the programs atlas, sandstorm or namestorm, and middlebox. Everything stands in
  namespaces that end with the run, however it ends. Disks fail here as files do: replaced, cut short, unlinked, forbidden.

RESULT
  A table, and with --out one JSON object, described in docs/lab.md. When something is wrong, the line that does it again.

SIGNALS
  SIGINT, SIGTERM     Stop now, and report what there is. A second one leaves at once.

EXIT STATUS
  0   Nothing was wrong.
  1   Something was.
  2   It did not begin: one line says why and what to do about it.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "lab", version, about = ABOUT, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Requests over many connections: closed loop, or paced as viewers are
    #[command(after_long_help = LOAD_EXAMPLES)]
    Load(Load),
    /// Short connections: a new one for every request
    #[command(after_long_help = LOAD_EXAMPLES)]
    Web(Web),
    /// Queries over UDP, and a share over TCP; `lab load --dns` is the same
    Dns(Dns),
    /// The dissertation's figures, measured again: `list` names them
    #[command(after_long_help = FIG_EXAMPLES)]
    Fig(Fig),
    /// One HTML page of the figures in a directory
    Report(Report),
    /// Makes files whose sizes are those of a CDN's requests, and a list of their URLs
    Files(Files),
    /// Programs that ours are measured beside: which are here, of which version
    Peers(Peers),
    /// A server for hours, under load, while everything around it goes wrong in turns
    #[command(after_long_help = SOAK_EXAMPLES)]
    Soak(Soak),
}

/// `lab load`
#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A new connection after so many requests [never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests_per_connection: Option<u32>,
    /// Pause between a response and the next request
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0", conflicts_with = "viewers")]
    pub(crate) think: Duration,
    /// Every connection is a viewer who watches at this bitrate, and asks when there is room in the buffer
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(crate) viewers: Option<u64>,
    /// A viewer buffers so much media
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s")]
    pub(crate) buffer: Duration,
    /// Playback begins, and begins again after a stall, with so much buffered
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "2s")]
    pub(crate) start: Duration,
}

/// `lab web`
#[derive(Debug, Args)]
pub(crate) struct Web {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `lab files`
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Where to put them
    pub(crate) directory: PathBuf,
    /// How many
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// What their URLs begin with
    #[arg(long, value_name = "URL", default_value = "http://198.18.1.2")]
    pub(crate) base: String,
}

/// `lab peers`
#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Make the chroot and install them there, from the Debian mirror that this machine is configured with; takes root,
    /// debootstrap and some minutes
    #[arg(long)]
    pub(crate) install: bool,
    /// Where a newer Debian is, or is to be
    #[arg(long, value_name = "DIR", default_value = "target/peers/debian13")]
    pub(crate) chroot: PathBuf,
}

/// `lab soak`
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Which server
    #[arg(value_enum)]
    pub(crate) server: Who,
    /// Rounds are begun for so long
    #[arg(long = "for", value_name = "TIME", value_parser = values::duration, default_value = "10m")]
    pub(crate) duration: Duration,
    /// Draws the faults' order and their sizes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What the server takes packets with [atlas: packet; the others: afxdp]
    #[arg(long, value_enum)]
    pub(crate) link: Option<Over>,
    /// Only these faults [all that can happen to the server]
    #[arg(long, value_delimiter = ',')]
    pub(crate) faults: Vec<Fault>,
    /// Connections of the load, about
    #[arg(short, long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(4..=10_000))]
    pub(crate) connections: u16,
    /// Their pause between a response and the next request
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10ms")]
    pub(crate) think: Duration,
    /// The report as JSON, besides
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Where the server and middlebox are [beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Further arguments of the server
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// `lab fig`
#[derive(Debug, Args)]
pub(crate) struct Fig {
    /// Figures, by the dissertation's numbers; `list`, or `all`
    #[arg(required = true, value_name = "N|all|list")]
    pub(crate) which: Vec<String>,
    /// Fewer points and shorter times
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where they go
    #[arg(long, value_name = "DIR", default_value = "figures")]
    pub(crate) out: PathBuf,
    /// Where atlas, sandstorm and namestorm are [beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
}

/// `lab report`
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Where `lab fig` left figures; the page is report.html in it
    #[arg(value_name = "DIR", default_value = "figures")]
    pub(crate) directory: PathBuf,
}

/// What every load needs.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// What to ask for: http:// or https://
    pub(crate) urls: Vec<String>,
    /// A file with a URL on each line, perhaps its size in bytes behind it
    #[arg(long = "urls", value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// How URLs are chosen: sequential, uniform, zipf[:S], cdn (by size, as a CDN's requests are)
    #[arg(long, value_parser = values::mix, default_value = "sequential")]
    pub(crate) mix: Mix,
    /// How much of an object: whole, FIRST-LAST, random:BYTES, sequential:BYTES
    #[arg(long, value_parser = values::part, default_value = "whole")]
    pub(crate) part: Part,
    /// Connections at a time
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// How long is measured
    #[arg(short, long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// End after so many requests, if that is sooner; everything then counts
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// Connections begin within this time, which does not count
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "1s")]
    pub(crate) ramp: Duration,
    /// Then so long passes before anything counts
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0")]
    pub(crate) warm_up: Duration,
    /// A connection, a handshake or a response that takes longer has failed
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) timeout: Duration,
    /// One thread on each of these [all that this process may use]
    #[arg(long, value_name = "LIST", value_parser = values::cores)]
    pub(crate) cores: Option<Cores>,
    /// Addresses that connections come from, in turn: one, or FROM-TO; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = sources)]
    pub(crate) source: Vec<Sources>,
    /// Whose TCP carries the load: the kernel's, or our own on --dev, on one core
    #[arg(long, value_enum, default_value_t = Whose::Kernel)]
    pub(crate) client: Whose,
    /// Under our own TCP: tap (made; the kernel is 198.18.0.1 at its other end) packet:INTERFACE or
    /// afxdp:INTERFACE [tap; with --serve on a veth
    /// pair, packet:near]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) dev: Option<DeviceName>,
    /// The prefix length of our own TCP's network, in which the --source addresses and the server are
    #[arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u8).range(8..=64))]
    pub(crate) prefix_len: u8,
    /// Share of responses that are decrypted and compared with the files of --root
    #[arg(long, value_name = "SHARE", value_parser = values::share, requires = "root")]
    pub(crate) verify: Option<f64>,
    /// Where the files are that the server serves
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// TLS versions that are offered
    #[arg(long, value_enum, default_value_t = TlsVersions::Both)]
    pub(crate) tls: TlsVersions,
    /// Believe only certificates issued by these roots (PEM); otherwise anybody's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Choices are drawn from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// A server of its own.
#[derive(Debug, Args)]
#[command(next_help_heading = "A server of its own")]
pub(crate) struct Serve {
    /// Start this server first, in namespaces that end with the run
    #[arg(long = "serve", id = "serve", value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// The networks to run in
    #[arg(long, value_enum, default_value_t = Ground::Veth, requires = "serve", help_heading = "A server of its own")]
    pub(crate) ground: Ground,
    /// Congestion control of both ends: BBR would halve a server's throughput on a path without delay
    #[arg(long, default_value = "reno", requires = "serve", help_heading = "A server of its own")]
    pub(crate) congestion_control: String,
    /// Receive processing of the load's end goes to one core and of the server's to another
    #[arg(long, value_name = "LOAD,SERVER", value_parser = values::cores, requires = "serve", help_heading = "A server of its own")]
    pub(crate) steer: Option<Cores>,
}

/// `lab dns`
#[derive(Debug, Args)]
pub(crate) struct Dns {
    /// Who is asked: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT
    #[arg(value_parser = values::server)]
    pub(crate) server: SocketAddr,
    /// A file with a question on each line: a name, and a type if it is not A
    #[arg(long, value_name = "FILE", conflicts_with = "zone")]
    pub(crate) list: Option<PathBuf>,
    /// Ask for n0.ZONE, n1.ZONE and so on
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    pub(crate) zone: Option<String>,
    /// So many names of --zone
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) names: u32,
    /// How questions are chosen: sequential, uniform, zipf[:S]
    #[arg(long, value_parser = values::mix, default_value = "uniform")]
    pub(crate) mix: Mix,
    /// Queries out on a socket at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=32_768))]
    pub(crate) window: u16,
    /// Sockets of each thread, each with a port of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) sockets: u16,
    /// Queries a second, instead of as many as the windows allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Share of queries over TCP
    #[arg(long, value_name = "SHARE", value_parser = values::share, default_value = "0", conflicts_with = "dev")]
    pub(crate) tcp: f64,
    /// Frames on a link instead of sockets, on one core: tap, packet:INTERFACE or afxdp:INTERFACE; with --serve on a veth
    /// pair the interface is near
    #[arg(long, value_name = "DEVICE")]
    pub(crate) dev: Option<DeviceName>,
    /// With --dev: the prefix length of the network in which the --source addresses and the server are
    #[arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u8).range(8..=64))]
    pub(crate) prefix_len: u8,
    /// EDNS with this size of answers; 0 is none
    #[arg(long, value_name = "BYTES", default_value_t = 1_232)]
    pub(crate) edns: u16,
    /// Ask for DNSSEC records (EDNS DO)
    #[arg(long)]
    pub(crate) dnssec: bool,
    /// Ask for recursion (RD)
    #[arg(long)]
    pub(crate) recursion: bool,
    /// How long is measured
    #[arg(short, long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Before anything counts
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "0")]
    pub(crate) warm_up: Duration,
    /// An answer that takes longer is none
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "1s")]
    pub(crate) timeout: Duration,
    /// One thread on each of these [all that this process may use]
    #[arg(long, value_name = "LIST", value_parser = values::cores)]
    pub(crate) cores: Option<Cores>,
    /// Addresses that queries come from, in turn: one, or FROM-TO; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = sources)]
    pub(crate) source: Vec<Sources>,
    /// Choices are drawn from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// Whose TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whose {
    /// The kernel's
    Kernel,
    /// Our own
    Own,
}

/// Which versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersions {
    /// 1.3, or 1.2 where the server wants it
    Both,
    /// 1.3 only
    #[value(name = "1.3")]
    Tls13,
    /// 1.2 only
    #[value(name = "1.2")]
    Tls12,
}

/// Some addresses.
#[derive(Clone, Debug)]
pub(crate) struct Sources(pub(crate) Vec<IpAddr>);

fn sources(text: &str) -> Result<Sources, String> {
    values::addresses(text).map(Sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn comparing_needs_something_to_compare_with() {
        assert!(Cli::try_parse_from(["lab", "load", "http://127.0.0.1/", "--verify", "1%"]).is_err());
        let cli = Cli::try_parse_from(["lab", "load", "http://127.0.0.1/", "--verify", "1%", "--root", "x"]);
        let Ok(Cli { command: Command::Load(load) }) = cli else { panic!("it is a load") };
        assert_eq!(load.common.verify, Some(0.01));
    }
}
