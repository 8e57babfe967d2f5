//! Machines for an engine to run on.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::Arc;

use aead::AwsLc;
use atlas::{AtlasService, Catalogue, Settings, Site};
use clock::Instant;
use disk_memory::{MemoryDisk, MemoryDiskConfig, Object};
use dma::{Pool, PoolLayout};
use handshake::{Certificate, Certificates, ServerOptions, ServerSettings, Ticketing};
use link_memory::{Gather, MemoryLink, MemoryLinkConfig, pair};
use platform::{Clock, Disk, Entropy, Link, Platform, RootId};
use stack::{Address, InterfaceConfig};
use turn::{Config, Engine, EngineParts, MemoryVariant, Service};
use wire::MacAddr;

use crate::drain::Complaint;
use crate::memory_peer::{Look, MemoryPeer, Target};

/// The dissertation's video chunk.
pub(crate) const OBJECT_BYTES: u64 = 300 << 10;
/// A disk without latency needs no depth.
pub(crate) const MEMORY_FRAMES_MAX: u32 = 56;
pub(crate) const ROOT: RootId = RootId(0);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The machine's monotonic clock.
#[derive(Debug)]
pub(crate) struct MachineClock(std::time::Instant);

impl MachineClock {
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock for MachineClock {
    fn now(&mut self) -> Instant {
        // One second later than zero, so that nothing lies before the epoch.
        let nanos = self.0.elapsed().as_nanos() + 1_000_000_000;
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn unix_time(&mut self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Numbers that need not be secret here.
#[derive(Debug)]
pub(crate) struct AnyNumbers;

impl Entropy for AnyNumbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip((1_u8..=255).cycle()) {
            *byte = value.wrapping_mul(167);
        }
    }
}

/// A link and a disk, and the rest as above.
#[derive(Debug)]
pub(crate) struct On<L, D>(core::marker::PhantomData<(L, D)>);

impl<L: Link, D: Disk> Platform for On<L, D> {
    type Link = L;
    type Disk = D;
    type Clock = MachineClock;
    type Entropy = AnyNumbers;
}

/// An engine with any service.
pub(crate) type EngineOf<L, D, S> = Engine<On<L, D>, AwsLc, S>;
/// An engine with the production service.
pub(crate) type BenchEngine<L, D> = EngineOf<L, D, AtlasService>;
/// The same between memory and memory.
pub(crate) type MemoryEngine = BenchEngine<MemoryLink, MemoryDisk>;

/// A certificate for anybody: PEM of the chain and of the key.
pub(crate) fn certificate() -> Result<(String, String), Complaint> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// What the secure port needs.
pub(crate) fn secure(chain: &str, key: &str) -> Result<ServerSettings, Complaint> {
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())?;
    let ticketing = Ticketing::new()?;
    Ok(ServerSettings::new(Certificates::new(certificate), &ticketing, ServerOptions::default())?)
}

/// The production service, with its page and its logs off.
pub(crate) fn service() -> Result<AtlasService, Complaint> {
    let settings = Settings {
        page: Some(false),
        access_log: false,
        requests_per_connection_max: u32::MAX,
        ..Settings::default()
    };
    let site = Site::new(settings, ROOT, &Catalogue::default())?;
    Ok(AtlasService::new(Arc::new(site), 0))
}

/// An engine at `address`, of a pool of `layout`.
pub(crate) fn engine<L: Link, D: Disk>(
    address: IpAddr,
    parts: (L, D, Pool),
    secure: ServerSettings,
    reading_frames_max: u32,
) -> Result<BenchEngine<L, D>, Complaint> {
    engine_of(address, parts, Some(secure), reading_frames_max, service()?)
}

/// The same with a service of the caller's.
pub(crate) fn engine_of<L: Link, D: Disk, S: Service>(
    address: IpAddr,
    parts: (L, D, Pool),
    secure: Option<ServerSettings>,
    reading_frames_max: u32,
    service: S,
) -> Result<EngineOf<L, D, S>, Complaint> {
    engine_sending(MemoryVariant::Gather, address, parts, secure, reading_frames_max, service)
}

/// The same, and how it sends memory.
pub(crate) fn engine_sending<L: Link, D: Disk, S: Service>(
    memory: MemoryVariant,
    address: IpAddr,
    (link, disk, pool): (L, D, Pool),
    secure: Option<ServerSettings>,
    reading_frames_max: u32,
    service: S,
) -> Result<EngineOf<L, D, S>, Complaint> {
    let capabilities = link.capabilities();
    let mut interface = InterfaceConfig::new(MacAddr(capabilities.mac));
    interface.mtu = capabilities.mtu;
    let prefix_len = if address.is_ipv4() { 24 } else { 64 };
    interface.addresses.push(Address { ip: address, prefix_len });
    let mut config = Config::new(interface);
    config.reading_frames_max = reading_frames_max;
    config.memory = memory;
    if secure.is_none() {
        config.secure_ports.clear();
    }
    let parts =
        EngineParts { link, disk, clock: MachineClock::new(), entropy: AnyNumbers, pool, service, secure };
    Ok(Engine::new(config, parts)?)
}

/// Frames of a worker: 64 MiB of records.
pub(crate) fn pool() -> Result<Pool, Complaint> {
    Ok(Pool::new(PoolLayout { large_count: 3_072, small_count: 4_096 })?)
}

/// The engine and its peer on a memory link, over a disk that touches no byte for a counting peer.
pub(crate) fn over_memory(is_secure: bool, look: Look) -> Result<(MemoryEngine, MemoryPeer), Complaint> {
    over_memory_link(is_secure, look, MemoryLinkConfig::default())
}

/// The same on a link of that kind.
pub(crate) fn over_memory_link(
    is_secure: bool,
    look: Look,
    link: MemoryLinkConfig,
) -> Result<(MemoryEngine, MemoryPeer), Complaint> {
    let config = MemoryLinkConfig { gather: Gather::HeadersOnly, ..link };
    let (ours, theirs) = pair(8_192, config);
    let mut disk = MemoryDisk::new(MemoryDiskConfig::default());
    disk.insert(
        ROOT,
        "object",
        match look {
            Look::Count => Object::untouched(OBJECT_BYTES),
            Look::Verify => Object::pattern(1, OBJECT_BYTES),
        },
    );
    let (chain, key) = certificate()?;
    let engine = engine(IpAddr::V4(SERVER), (ours, disk, pool()?), secure(&chain, &key)?, MEMORY_FRAMES_MAX)?;
    let target = Target {
        local: CLIENT,
        server: SERVER,
        port: if is_secure { 443 } else { 80 },
        secure: is_secure,
        path: "/object".to_owned(),
        object_bytes: OBJECT_BYTES,
        look,
    };
    let peer = MemoryPeer::new(theirs, target, |offset, out| disk_memory::pattern(1, offset, out))?;
    Ok((engine, peer))
}
