//! `lab peers`.

use core::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use lab::error::ProgramError;
use testbed::peers::{self, Found, PEERS, Peer};

use crate::FAILED;
use crate::cli::Peers;

/// Says which peers there are, after installing what was missing if that was wanted.
pub(crate) fn list(arguments: &Peers) -> Result<ExitCode, ProgramError> {
    let root = &arguments.chroot;
    let mut refused = Vec::new();
    if arguments.install {
        // Somebody may have closed it: the list goes elsewhere.
        let _ = writeln!(io::stderr(), "a Debian 13 in {}: some minutes, once", root.display());
        peers::make_chroot(root)?;
        for peer in &PEERS {
            if let Err(error) = peers::install(root, peer) {
                refused.push((peer.package, error.to_string()));
            }
        }
    }
    let found: Vec<(&Peer, [Option<Found>; 2])> =
        PEERS.iter().map(|peer| (peer, [peer.here(), peer.in_chroot(root)])).collect();
    let mut text = String::new();
    for (peer, places) in &found {
        let Peer { name, package, of, .. } = peer;
        for Found { path, version } in places.iter().flatten() {
            let _ = writeln!(text, "{name:<9} {of:<15} {version} ({})", path.display());
        }
        if places.iter().all(Option::is_none) {
            let why = refused.iter().find(|(refused, _)| refused == package);
            let why = why.map_or_else(
                || format!("not here: apt-get install {package}, or lab peers --install"),
                |(_, why)| format!("cannot be had: {why}"),
            );
            let _ = writeln!(text, "{name:<9} {of:<15} {why}");
        }
    }
    io::stdout().write_all(text.as_bytes()).map_err(ProgramError::Output)?;
    let all = found.iter().all(|(_, places)| places.iter().any(Option::is_some));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
