//! What this machine offers to the server, and what stands in the way.

use clap::Args;
use host::Report;
use host::values::{AddressMode, InterfaceName, LinkChoice};
use std::io::Write as _;
use std::process::ExitCode;

use crate::{FAILED, NOT_STARTED, refuse};

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// The interface to look at: eth1
    #[arg(long, value_name = "INTERFACE")]
    dev: Option<InterfaceName>,
    /// The link to be had, as for `serve` [default: auto with --dev, else tap]
    #[arg(long, value_name = "LINK")]
    link: Option<LinkChoice>,
    /// Whose the addresses are to be: own or shared [default: shared on an interface, else own]
    #[arg(long, value_name = "WHOSE")]
    address_mode: Option<AddressMode>,
    /// Worker threads, as for `serve`
    #[arg(long, value_name = "N")]
    workers: Option<u16>,
    /// As a document for programs
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self) -> ExitCode {
        let link = match LinkChoice::of(self.link, self.dev) {
            Ok(link) => link,
            Err(error) => return refuse(&error, NOT_STARTED),
        };
        let report = match Report::take(&link, self.address_mode, self.workers) {
            Ok(report) => report,
            Err(error) => return refuse(&error, NOT_STARTED),
        };
        let text = if self.json { report.json() } else { report.to_string() };
        let told = writeln!(std::io::stdout(), "{}", text.trim_end());
        if told.is_err() || report.is_blocked() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
    }
}
