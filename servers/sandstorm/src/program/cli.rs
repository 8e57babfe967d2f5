//! The command line, and its manual.

use clap::{Parser, Subcommand};
use program::DoctorArgs;
use program::ss::SsArgs;
use program::top::TopArgs;

use crate::own::Own;

/// What `serve` and `check` take.
pub(crate) type ServeArgs = program::ServeArgs<Own>;

const ABOUT: &str = "The web from memory, packetised ahead of time";

const LONG_ABOUT: &str = "\
Sandstorm serves a directory of small things that are asked for again and again (logos, scripts, manifests, OCSP \
responses, poster images) over HTTP and HTTPS through a TCP/IP stack of its own, from memory that the network sends \
from. What was asked for once lies there with its checksums; a hit reads nothing and copies nothing it need not.

`sandstorm serve DIR` is all that is needed to see it work.";

const SERVE_LONG: &str = "\
Serves DIR until SIGINT or SIGTERM. Prints what it found and chose on standard error and, when it is ready, one line \
for each URL on standard output:

  listening http://10.77.0.2:80/
  listening https://10.77.0.2:443/

A file is read when it is asked for first (or at start, with --preload) and stays in memory until others need the \
room. A file that changes is noticed within --rescan-seconds, or at once when it is about to be read.";

const SERVE_AFTER_LONG: &str = "\
EXAMPLES
  Look at it, on this machine:
    sandstorm serve examples/site

  The same without root, through a port of the loopback interface:
    sandstorm serve examples/site --namespace always

  On an interface, with a certificate and 8 GiB for objects and packets:
    sandstorm serve /srv/www --link afxdp:eth1 --memory 8G --preload \\
        --addr 203.0.113.10/24 --addr 2001:db8::10/64 \\
        --cert /etc/sandstorm/chain.pem --key /etc/sandstorm/key.pem

FILES
  In DIR, index.html stands for its directory, 404.html goes with 404, and
  app.js.gz, app.js.br and app.js.zst are sent in the place of app.js to
  those who accept them, as long as they are not older. Names that begin
  with a dot are not served.

  The configuration file (--config) is TOML. Every option is a key of the
  same name without the dashes, DIR is `dir`, and the table [service] holds
  what concerns responses. Paths are relative to the file. The command line
  beats the file, the file beats the defaults:

    dir = \"/srv/www\"
    memory = \"8G\"
    preload = true
    redirects = \"moved.txt\"

    [service]
    index = [\"index.html\"]
    not_found = \"404.html\"
    cors_origins = [\"*\"]
    cache_default = \"public, max-age=60\"

    [[service.rule]]
    pattern = \"/assets/**\"
    cache_control = \"public, max-age=31536000, immutable\"

    [[service.rule]]
    pattern = \"*.html\"
    fields = { Content-Security-Policy = \"default-src 'self'\" }

  A pattern without a slash is about names in any directory; in one with a
  slash, * is anything but a slash, and ** anything at all. Of the rules
  that fit, the first that says something counts.

  The redirects file has one FROM TO [301|302] on each line:

    /old.html /new.html
    /shop     https://shop.example/ 302

SIGNALS
  SIGINT, SIGTERM   Accept nothing new, let connections finish within
                    --drain-seconds, leave. A second one: leave now.
  SIGHUP            Read configuration, certificate, redirects and directory
                    again. What is broken is reported, and what was in force
                    stays in force; no connection is broken.
  SIGUSR1           Open the access log again, after it was moved away.

ADMIN PORT
  GET   /metrics        the numbers for Prometheus
        /stats          the same as JSON
        /healthz        200 while it runs
        /readyz         200 while new connections are welcome
        /connections    a page of connections, for `sandstorm ss`
        /capture        what is being captured
  POST  /drain          as SIGTERM
        /reload         as SIGHUP
        /capture/start  capture packets to the file of --pcap
        /capture/stop   no more

EXIT STATUS
  0   It was told to leave, and left.
  1   It failed while it ran.
  2   It could not start: one line says why and what to do about it.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "sandstorm", version, about = ABOUT, long_about = LONG_ABOUT, max_term_width = 120,
    subcommand_required = true, arg_required_else_help = true
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
    Check(Box<ServeArgs>),
    /// Say what this machine offers, which link would be chosen and why, and what stands in the way
    Doctor(DoctorArgs),
    /// What a server starts beside itself
    #[command(hide = true)]
    Monitor(Box<ServeArgs>),
    /// List the connections of a running server
    Ss(SsArgs),
    /// Watch a running server
    Top(TopArgs),
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
    fn the_configuration_in_the_manual_can_be_read() {
        let from = SERVE_AFTER_LONG.find("    dir = ").unwrap();
        let to = SERVE_AFTER_LONG.find("  A pattern without").unwrap();
        let text = &SERVE_AFTER_LONG[from..to];
        let own: Own = toml::from_str(text).unwrap();
        let choices = own.resolve().unwrap();
        assert_eq!(choices.service.settings().rules.len(), 2);
        assert!(choices.preload);
    }
}
