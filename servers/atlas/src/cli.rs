//! The command line, and its manual.

use clap::{Args, Parser, Subcommand};
use core::time::Duration;
use program::DoctorArgs;
use program::ss::SsArgs;
use program::top::{TopArgs, duration};
use std::path::PathBuf;

use crate::own::Own;

/// What `serve` and `check` take.
pub(crate) type ServeArgs = program::ServeArgs<Own>;

const ABOUT: &str = "Video from disk, clocked by TCP";

const LONG_ABOUT: &str = "\
Atlas serves a directory of video over HTTP and HTTPS through a TCP/IP stack of its own. It has no send buffer and no \
page cache: an acknowledgment opens the window, the window becomes a disk read, and what was read is sealed and sent \
at once. One thread per core does all of it.

It has an address of its own, beside the kernel's, or takes its ports of the kernel's addresses: on a TAP device that it \
creates, or on a network interface through AF_XDP or a packet socket. `atlas serve DIR` is all that is needed to see it \
work, and `atlas doctor` says what this machine allows.";

const AFTER_LONG: &str = "The manual of each command: `atlas serve --help`, and so on.";

const DOCTOR_LONG: &str = "\
Looks at the kernel, its limits, memory, disks and privileges and, with --dev, at a network interface: driver, XDP, \
queues, offloads. Says which link `serve` would choose and why not a better one, and for each thing in the way the \
command that removes it. Changes nothing. Needs no privilege, but sees most with those that `serve` will have.

The exit status is 0 if what was asked for can be had, and 1 if not.";

const SERVE_LONG: &str = "\
Serves DIR until SIGINT or SIGTERM. Prints what it found and chose on standard error and, when it is ready, one line \
for each URL on standard output:

  listening http://10.77.0.2:80/
  listening https://10.77.0.2:443/

The page at / lists what there is to play and plays it. Everything that was created is gone afterwards: the device, \
its addresses and routes.";

const SERVE_AFTER_LONG: &str = "\
EXAMPLES
  Look at it, on this machine:
    atlas serve examples/video

  The same without root, through a port of the loopback interface:
    atlas serve examples/video --namespace always

  A public server on an interface, with a certificate:
    atlas serve /srv/video --link packet:eth1 \\
        --addr 203.0.113.10/24 --addr 2001:db8::10/64 \\
        --cert /etc/atlas/chain.pem --key /etc/atlas/key.pem \\
        --access-log /var/log/atlas.log

  The same at the kernel's own addresses, over the best link that eth1
  allows (`atlas doctor --dev eth1` says which):
    atlas serve /srv/video --dev eth1 --cert chain.pem --key key.pem

  From a configuration file, one option differently:
    atlas serve --config /etc/atlas.toml --workers 4

FILES
  The configuration file (--config) is TOML. Every option is a key of the
  same name without the dashes, DIR is `dir`, and the table [service] holds
  what concerns responses. Paths are relative to the file. The command line
  beats the file, the file beats the defaults:

    dir = \"/srv/video\"
    addr = [\"203.0.113.10/24\", \"2001:db8::10/64\"]
    link = \"packet:eth1\"
    cert = \"/etc/atlas/chain.pem\"
    key = \"/etc/atlas/key.pem\"
    drain-seconds = 60

    [service]
    title = \"Films\"
    idle_timeout_ms = 30000
    cors_origins = [\"https://player.example\"]

SIGNALS
  SIGINT, SIGTERM   Accept nothing new, let connections finish within
                    --drain-seconds, leave. A second one: leave now.
  SIGHUP            Read configuration, certificate and directory again.
                    What is broken is reported, and what was in force stays
                    in force; no connection is broken.
  SIGUSR1           Open the access log again, after it was moved away.

ADMIN PORT
  GET   /metrics        the numbers for Prometheus
        /stats          the same as JSON
        /healthz        200 while it runs
        /readyz         200 while new connections are welcome
        /connections    a page of connections, for `atlas ss`
        /capture        what is being captured
  POST  /drain          as SIGTERM
        /reload         as SIGHUP
        /capture/start  capture packets to the file of --pcap
        /capture/stop   no more

EXIT STATUS
  0   It was told to leave, and left.
  1   It failed while it ran.
  2   It could not start: one line says why and what to do about it.";

const SS_LONG: &str = "\
Lists the connections of a running server: its own TCP's, which `ss` does not know. It is asked through the admin port, \
a page at a time, so that its workers hardly notice.

Times are in milliseconds, everything else is in bytes.";

const SS_AFTER_LONG: &str = "\
EXAMPLES
    atlas ss state established dst 198.51.100.7
    atlas ss object /films/ --json | jq '.[].srtt_us'";

const TOP_LONG: &str = "\
Watches a running server in a terminal of 80 by 24 or more: throughput, connections, requests, retransmissions, disk, \
frames, workers, and the connections that matter most. A server that goes away is waited for.

Keys: q quits, p pauses, b r t c sort connections by throughput, bytes sent again, round trip or congestion window, \
+ and - change how often it looks.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "atlas", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER_LONG,
    max_term_width = 120, subcommand_required = true, arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a directory
    #[command(long_about = SERVE_LONG, after_long_help = SERVE_AFTER_LONG)]
    Serve(Box<ServeArgs>),
    /// Check a configuration, the certificate and the directory it names, without serving anything
    #[command(long_about = "\
Reads everything that `serve` would read, checks it, and says what would be served and where. Creates nothing and needs \
no privilege. Takes the options of `serve`.")]
    Check(Box<ServeArgs>),
    /// Say what this machine offers, which link would be chosen and why, and what stands in the way
    #[command(long_about = DOCTOR_LONG)]
    Doctor(DoctorArgs),
    /// What a server starts beside itself
    #[command(hide = true)]
    Monitor(Box<ServeArgs>),
    /// Make a signed URL
    #[command(long_about = "\
Prints the path and query of a URL that a server with the same key lets through until it expires. With --directory the \
signature is good for everything beside and below PATH, which is what the segments of a playlist need.")]
    Sign(SignArgs),
    /// List the connections of a running server
    #[command(long_about = SS_LONG, after_long_help = SS_AFTER_LONG)]
    Ss(SsArgs),
    /// Watch a running server
    #[command(long_about = TOP_LONG)]
    Top(TopArgs),
}

/// What `sign` takes.
#[derive(Args, Debug)]
pub(crate) struct SignArgs {
    /// The path to sign, as the file is named below the directory: films/a/master.m3u8
    ///
    /// What a URL must not hold, such as a space, is encoded in the result.
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// The file that holds the key, as for `serve --signing-key`
    #[arg(long, value_name = "FILE")]
    pub(crate) signing_key: PathBuf,
    /// How long the URL is good: seconds, or a number with s, m, h or d [default: 6h]
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "6h", hide_default_value = true)]
    pub(crate) expires_in: Duration,
    /// Sign the directory of PATH with everything in it
    #[arg(long)]
    pub(crate) directory: bool,
    /// Put a directory's signature into the query instead of the path
    #[arg(long, requires = "directory")]
    pub(crate) query: bool,
    /// Put this before the result: https://video.example
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) base: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_described() {
        let mut command = Cli::command();
        command.build();
        for command in command.get_subcommands() {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn the_manual_names_every_part() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let manual = serve.render_long_help().to_string();
        for part in
            ["EXAMPLES", "FILES", "SIGNALS", "EXIT STATUS", "ADMIN PORT", "--drain-seconds", "[default:"]
        {
            assert!(manual.contains(part), "{part}");
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_is_one_line_with_the_remedy() {
        let told = |arguments: &[&str]| {
            host::start::one_line(&Cli::try_parse_from(arguments).unwrap_err().to_string())
        };
        let line = told(&["atlas", "serve", ".", "--htpp", "80"]);
        assert!(line.starts_with("unexpected argument '--htpp'") && line.contains("'--http'"), "{line}");
        let line = told(&["atlas", "serve", ".", "--http", "99999"]);
        assert!(line.contains("'99999' is not a port"), "{line}");
        let line = told(&["atlas", "sign", "a.mp4"]);
        assert!(line.contains("--signing-key <FILE>"), "{line}");
        for arguments in [
            &["atlas", "serve", ".", "--bogus"][..],
            &["atlas", "serve", ".", "--memory", "1M", "--frames", "9"],
        ] {
            let line = told(arguments);
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }
}
