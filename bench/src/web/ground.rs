//! Who serves, over what, and the ground for it: made for one run, and gone after it.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use testbed::{Namespace, path};

use crate::Effort;
use crate::drain::Complaint;
use crate::nginx::{BACKLOG, Nginx, short_configuration};

use super::bare;
use super::client::{Load, Score, Target, measured};
use super::program::{Ours, Site};

pub(super) const SERVER_CORE: usize = 0;
pub(super) const CLIENT_CORE: usize = 1;
const TAP: &str = "tap";
/// Our own address on the TAP device, on the veth pair, and the kernel's there.
const ON_TAP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const ON_VETH: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 3);
const KERNEL: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);

/// What carries our packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Tap,
    Afxdp,
    Packet,
}

impl Over {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::Afxdp => "afxdp",
            Self::Packet => "packet",
        }
    }

    /// As the program takes it.
    pub(super) fn link(self) -> String {
        match self {
            Self::Tap => format!("tap:{TAP}"),
            Self::Afxdp => "afxdp:far".to_owned(),
            Self::Packet => "packet:far".to_owned(),
        }
    }

    pub(super) fn address(self) -> Ipv4Addr {
        match self {
            Self::Tap => ON_TAP,
            Self::Afxdp | Self::Packet => ON_VETH,
        }
    }
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// With packets that come to their payload so, or as it thinks best.
    Ours(Over, Option<&'static str>),
    Bare(Over),
    Nginx,
}

/// One run of one server.
pub(super) fn run(
    whose: Whose,
    root: &Path,
    directory: &Path,
    load: &Load,
    effort: Effort,
) -> Result<Score, Complaint> {
    match whose {
        Whose::Ours(over, copy) => {
            let ground = Ground::new(over)?;
            let site = Site { link: &over.link(), address: over.address(), copy };
            let _server = Ours::start(site, &ground.server, directory)?;
            ground.steer(over)?;
            measured(ground.target(over, Some(directory)), load, effort)
        }
        Whose::Bare(over) => run_bare(over, load, effort),
        Whose::Nginx => {
            let ground = Ground::new(Over::Afxdp)?;
            path::steer(&ground.server, "far", SERVER_CORE)?;
            let inside = Path::new("/web").join(directory.file_name().ok_or("a directory without a name")?);
            let configuration =
                short_configuration(SERVER_CORE, inside.to_str().ok_or("a directory of ours")?);
            let _nginx = Nginx::start_with(root, &ground.server, SERVER_CORE, &configuration)?;
            let target = ground.target(Over::Afxdp, Some(directory));
            measured(Target { server: KERNEL, ..target }, load, effort)
        }
    }
}

/// The loop that has no stack, in a thread here.
fn run_bare(over: Over, load: &Load, effort: Effort) -> Result<Score, Complaint> {
    let ground = Ground::new(over)?;
    let stop = AtomicBool::new(false);
    let bytes = usize::try_from(*load.sizes.first().ok_or("no objects")?)?;
    thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let (server, stop_server) = (&ground.server, &stop);
        let named = thread::Builder::new().name("web-bare".to_owned());
        let serving = named.spawn_scoped(scope, move || {
            server.enter()?;
            testbed::cpu::pin(SERVER_CORE);
            match over {
                Over::Tap => bare::on_tap(TAP, over.address(), bytes, stop_server, &ready),
                Over::Afxdp => bare::on_afxdp("far", over.address(), bytes, stop_server, &ready),
                Over::Packet => bare::on_packet("far", over.address(), bytes, stop_server, &ready),
            }
        })?;
        // An error of the loop's is told when it is joined.
        let outcome = is_ready.recv().map_err(Complaint::from).and_then(|()| {
            ground.steer(over)?;
            measured(ground.target(over, None), load, effort)
        });
        stop.store(true, Ordering::Relaxed);
        serving.join().unwrap_or_else(|_| Err("the bare loop died".into()))?;
        outcome
    })
}

/// Namespaces and what is between them.
#[derive(Debug)]
struct Ground {
    server: Namespace,
    /// The same as the server's with a TAP device, whose kernel is the client's.
    client: Option<Namespace>,
}

impl Ground {
    fn new(over: Over) -> Result<Self, Complaint> {
        let server = Namespace::new("web-server")?;
        let client = match over {
            Over::Tap => None,
            Over::Afxdp | Over::Packet => {
                let client = Namespace::new("web-client")?;
                path::veth((&client, "198.18.1.1/24"), (&server, "198.18.1.2/24"))?;
                path::steer(&client, "near", CLIENT_CORE)?;
                Some(client)
            }
        };
        path::congestion_control(&server, "reno")?;
        for limit in ["/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/tcp_max_syn_backlog"] {
            server.write(limit, &BACKLOG.to_string())?;
        }
        Ok(Self { server, client })
    }

    /// Once our server has opened its link.
    fn steer(&self, over: Over) -> Result<(), Complaint> {
        match over {
            Over::Tap => path::steer(&self.server, TAP, CLIENT_CORE)?,
            Over::Afxdp => path::poll_on(&self.server, "far", SERVER_CORE)?,
            Over::Packet => path::steer(&self.server, "far", SERVER_CORE)?,
        }
        Ok(())
    }

    fn target<'a>(&'a self, over: Over, truth: Option<&'a Path>) -> Target<'a> {
        let (namespace, device) = match &self.client {
            Some(client) => (client, "near"),
            None => (&self.server, TAP),
        };
        Target { namespace, device, server: over.address(), truth }
    }
}
