//! From the command line to a plan.

use core::net::{IpAddr, Ipv4Addr};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use handshake::{ClientOptions, ClientSettings, Trust};
use lab::device::DeviceName;
use lab::dns;
use lab::dns::message::Manner;
use lab::error::ProgramError;
use lab::ground::{Ground, Order};
use lab::load::catalogue::Catalogue;
use lab::load::choice::{Chooser, Mix};
use lab::load::plan::{Demand, Plan};
use lab::load::run::{Effort, allow_connections};
use lab::load::truth::{Files, Truth};
use lab::values::Cores;
use tls::Version;

use crate::cli::{Common, Dns, Serve, TlsVersions, Whose};

/// The plan; whatever is wrong with it is said now.
pub(crate) fn plan(common: &Common, demand: Demand) -> Result<Plan, ProgramError> {
    let connections = common.connections as usize;
    let descriptors = if common.client == Whose::Own { 1 } else { connections };
    allow_connections(descriptors, cores(common.cores.as_ref())?.len())
        .map_err(|possible| ProgramError::Descriptors { wanted: connections, possible })?;
    let mut catalogue = Catalogue::default();
    if let Some(path) = &common.list {
        catalogue.add_list(&String::from_utf8_lossy(&read(path)?))?;
    }
    for url in &common.urls {
        catalogue.add(url, None)?;
    }
    let truth = common.root.as_ref().map(|root| Arc::new(Files(root.clone())) as Arc<dyn Truth>);
    if let Some(root) = &common.root {
        fs::read_dir(root).map_err(|source| ProgramError::File { path: root.clone(), source })?;
        for object in &catalogue.objects {
            if let Ok(meta) = fs::metadata(root.join(object.path())) {
                object.learn(meta.len());
            }
        }
    }
    let sizes: Vec<u64> = catalogue.objects.iter().map(|object| object.bytes().unwrap_or(0)).collect();
    let chooser = Chooser::new(common.mix, &sizes).map_err(|why| ProgramError::Arguments(why.to_owned()))?;
    let sources = sources(common, connections, catalogue.servers.len())?;
    Ok(Plan {
        chooser,
        catalogue,
        part: common.part,
        demand,
        connections,
        ramp: common.ramp,
        timeout: common.timeout,
        sources,
        truth,
        tls: tls_settings(common)?,
        seed: common.seed,
    })
}

fn tls_settings(common: &Common) -> Result<ClientSettings, ProgramError> {
    let versions = match common.tls {
        TlsVersions::Both => vec![Version::Tls13, Version::Tls12],
        TlsVersions::Tls13 => vec![Version::Tls13],
        TlsVersions::Tls12 => vec![Version::Tls12],
    };
    let roots = common.ca.as_deref().map(read).transpose()?;
    let trust = roots.as_deref().map_or(Trust::Anyone, Trust::Roots);
    ClientSettings::new(trust, ClientOptions { versions, ..ClientOptions::default() })
        .map_err(|error| ProgramError::Arguments(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, ProgramError> {
    fs::read(path).map_err(|source| ProgramError::File { path: path.to_owned(), source })
}

/// Where connections come from; enough addresses for the ports that each has.
fn sources(common: &Common, connections: usize, servers: usize) -> Result<Vec<IpAddr>, ProgramError> {
    let given: Vec<IpAddr> = common.source.iter().flat_map(|sources| sources.0.iter().copied()).collect();
    if common.client == Whose::Own {
        return own_sources(given, connections);
    }
    // connect(2) looks for a free port one by one, in one half of them first: when that half is used, every connection
    // costs thousands of looks.
    let each = ephemeral_ports() / 2 * servers.max(1);
    let needed = connections.div_ceil(each.max(1));
    if needed <= given.len().max(1) {
        return Ok(given);
    }
    if common.serve.command.is_some() && common.serve.ground == Ground::Veth && given.is_empty() {
        let first = u32::from(Ipv4Addr::new(198, 18, 2, 1));
        return Ok((first..).take(needed).map(|address| IpAddr::V4(address.into())).collect());
    }
    Err(ProgramError::Arguments(format!(
        "{connections} connections need {needed} source addresses, for each has {} ports to spare: add some to an interface \
         (ip addr add) and name them with --source FROM-TO, or widen net.ipv4.ip_local_port_range",
        each / servers.max(1)
    )))
}

/// Our own stack's addresses: in the lab's own networks, eight of its own when none are given.
fn own_sources(given: Vec<IpAddr>, connections: usize) -> Result<Vec<IpAddr>, ProgramError> {
    const PORTS_EACH: usize = 64_000;
    let first = u32::from(Ipv4Addr::new(198, 18, 3, 1));
    let all = if given.is_empty() {
        (first..first + 8).map(|address| IpAddr::V4(address.into())).collect()
    } else {
        given
    };
    // One is left for the link-local address of IPv6.
    if all.len() >= stack::interface::ADDRESSES_MAX || connections > all.len() * PORTS_EACH {
        return Err(ProgramError::Arguments(format!(
            "our own stack has 1 to {} addresses, of {PORTS_EACH} connections each: give others with --source",
            stack::interface::ADDRESSES_MAX - 1
        )));
    }
    Ok(all)
}

/// The device under our own stack, if that carries the load.
pub(crate) fn device(common: &Common) -> Option<DeviceName> {
    let usual = match common.serve.ground {
        Ground::Veth if common.serve.command.is_some() => DeviceName::Packet("near".to_owned()),
        Ground::Veth | Ground::One => DeviceName::Tap,
    };
    (common.client == Whose::Own).then(|| common.dev.clone().unwrap_or(usual))
}

fn ephemeral_ports() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if first <= last => last - first + 1,
        _ => 28_232,
    }
}

/// How long, and how much.
pub(crate) fn effort(common: &Common) -> Effort {
    Effort {
        warm_up: common.warm_up,
        duration: common.duration,
        requests: common.requests,
        verify: common.verify.unwrap_or(0.0),
    }
}

/// The cores that may be used, of those that were asked for.
pub(crate) fn cores(asked: Option<&Cores>) -> Result<Vec<usize>, ProgramError> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let Some(asked) = asked else {
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        return Ok(if all.is_empty() { vec![0] } else { all });
    };
    match asked.0.iter().find(|core| !allowed.is_set(**core)) {
        Some(core) => Err(ProgramError::Arguments(format!(
            "core {core} is not there or not ours (taskset, cpuset): choose others with --cores"
        ))),
        None => Ok(asked.0.clone()),
    }
}

/// What `--serve` wants; `sources` are to be the kernel's addresses, and `device` is under our own stack.
pub(crate) fn order<'a>(
    serve: &'a Serve,
    command: &'a str,
    sources: &'a [IpAddr],
    device: Option<&DeviceName>,
) -> Result<Order<'a>, ProgramError> {
    let steer = match serve.steer.as_ref().map(|cores| &cores.0[..]) {
        None => None,
        Some([load, server]) => Some((*load, *server)),
        Some(_) => {
            return Err(ProgramError::Arguments(
                "--steer takes two cores: the load's, the server's".to_owned(),
            ));
        }
    };
    Ok(Order {
        command,
        ground: serve.ground,
        congestion_control: &serve.congestion_control,
        sources,
        afxdp: matches!(device, Some(DeviceName::Afxdp(_))),
        afxdp_server: false,
        steer,
        middlebox: None,
    })
}

/// A plan for DNS.
pub(crate) fn dns(arguments: &Dns) -> Result<dns::run::Plan, ProgramError> {
    let questions = match (&arguments.list, &arguments.zone) {
        (Some(path), _) => dns::names::from_list(&String::from_utf8_lossy(&read(path)?)),
        (None, Some(zone)) => dns::names::made_up(zone, arguments.names),
        (None, None) => Ok(Vec::new()),
    };
    let questions = questions.map_err(ProgramError::Arguments)?;
    if questions.is_empty() || arguments.mix == Mix::Cdn {
        return Err(ProgramError::Arguments(
            "DNS is asked from a list that is not empty, by sequential, uniform or zipf".to_owned(),
        ));
    }
    let chooser = Chooser::new(arguments.mix, &vec![0; questions.len()]);
    let given: Vec<IpAddr> = arguments.source.iter().flat_map(|sources| sources.0.iter().copied()).collect();
    Ok(dns::run::Plan {
        server: arguments.server,
        chooser: chooser.map_err(|why| ProgramError::Arguments(why.to_owned()))?,
        questions,
        manner: Manner {
            edns: Some(arguments.edns).filter(|bytes| *bytes > 0),
            dnssec: arguments.dnssec,
            recursion: arguments.recursion,
        },
        window: arguments.window,
        sockets: arguments.sockets.into(),
        rate: arguments.rate.map(f64::from),
        tcp: arguments.tcp,
        timeout: arguments.timeout,
        sources: match &arguments.dev {
            Some(_) => own_sources(given, arguments.sockets.into())?,
            None => given,
        },
        prefix_len: arguments.prefix_len,
        seed: arguments.seed,
    })
}
