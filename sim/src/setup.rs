//! The server of a world: its disk, its frames, its numbers.

use atlas::{AtlasService, Catalogue, Settings, Site};
use core::net::IpAddr;
use core::time::Duration;
use disk_memory::{Latency, MemoryDisk, MemoryDiskConfig, Object};
use dma::{Pool, PoolLayout};
use handshake::ServerSettings;
use link_memory::{Gather, MemoryLinkConfig};
use platform::RootId;
use stack::{Address, InterfaceConfig};
use turn::{Config, MemoryVariant};
use wire::MacAddr;

use crate::address;
use crate::client::script::path;
use crate::content::Content;
use crate::provider::{Identity, server_config};
use crate::random::{Dice, PPM, Seed};
use crate::server::{Lending, Parts, Production};
use crate::swarm::Features;
use crate::time::{SimClock, UNIX_START};

/// The served directory.
pub const ROOT: RootId = RootId(0);

/// Lengths that have been wrong before, somewhere: around blocks, records and reads.
const LENGTHS: [u64; 21] = [
    0, 1, 511, 512, 513, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 32_768, 65_535, 65_536, 100_001,
    131_072, 131_073, 300_000, 1_000_003, 2_500_000, 400_000,
];

/// How many objects there are that stay as they are.
pub const OBJECTS: u32 = 20;

/// The one that is written to while it is served, in worlds where files change.
pub const CHANGING: u32 = 20;

/// Those worth asking for a part of.
pub const LARGE: [u32; 4] = [14, 17, 18, 19];

/// How long an object is, in bytes.
#[must_use]
pub fn object_len(object: u32) -> u64 {
    LENGTHS[object as usize]
}

/// What a disk makes of an object.
#[must_use]
pub fn disk_object(content: Content, len: u64) -> Object {
    fn fill(number: u64, offset: u64, out: &mut [u8]) {
        let [object, version] =
            [number >> 32, number & 0xFFFF_FFFF].map(|half| u32::try_from(half).expect("32 bits"));
        Content { object, version }.fill(offset, out);
    }
    let number = u64::from(content.object) << 32 | u64::from(content.version);
    let mtime = i64::try_from(UNIX_START.as_nanos()).expect("in this century") - 1_000_000_000;
    Object::function(number, len, fill).modified(mtime + i64::from(content.version))
}

/// What a world's server is like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The largest IP packet on the server's link.
    pub mtu: u16,
    /// The link.
    pub link: MemoryLinkConfig,
    /// Packets that the link's queue holds.
    pub link_capacity: u32,
    /// The disk.
    pub disk: MemoryDiskConfig,
    /// The frames.
    pub pool: PoolLayout,
    /// The engine.
    pub config: Config,
    /// The HTTP server.
    pub settings: Settings,
    /// Objects are sent from memory, and so gets it into packets.
    pub memory: Option<MemoryVariant>,
}

impl Setup {
    /// A server with enough of everything, on a clean link and a quick disk.
    #[must_use]
    pub fn ordinary() -> Self {
        let mut interface = InterfaceConfig::new(MacAddr(address::SERVER_MAC));
        interface
            .addresses
            .push(Address { ip: IpAddr::V4(address::SERVER_V4), prefix_len: address::PREFIX_V4 });
        interface
            .addresses
            .push(Address { ip: IpAddr::V6(address::SERVER_V6), prefix_len: address::PREFIX_V6 });
        let mut config = Config::new(interface);
        config.connections_max = 1_024;
        config.backlog_max = 256;
        config.time_wait_max = 256;
        config.files_max = 64;
        config.keys_max = 64;
        // Everything that ends by itself ends within a few minutes of the world's time.
        config.tcp.user_timeout = Duration::from_secs(40);
        config.tcp.zero_window_timeout = Some(Duration::from_secs(60));
        config.tcp.fin_wait_2 = Duration::from_secs(20);
        config.tcp.time_wait = Duration::from_secs(20);
        let settings = Settings { idle_timeout_ms: 20_000, ..Settings::default() };
        Self {
            mtu: 1_500,
            link: MemoryLinkConfig {
                macs: [address::SERVER_MAC, [2, 0, 0, 0, 0, 2]],
                gather: Gather::Copy,
                ..MemoryLinkConfig::default()
            },
            link_capacity: 1_024,
            disk: MemoryDiskConfig::default(),
            pool: PoolLayout { large_count: 192, small_count: 1_024 },
            config,
            settings,
            memory: None,
        }
    }

    /// A server as the dice fall.
    #[must_use]
    pub fn roll(seed: Seed, features: Features, dice: &mut Dice) -> Self {
        let mut setup = Self::ordinary();
        setup.mtu = *dice.pick(&[1_500, 1_500, 1_500, 1_280, 9_000]);
        setup.link.mtu = setup.mtu;
        setup.config.interface.mtu = setup.mtu;
        setup.config.tcp.mss_max = setup.mtu - 40;
        setup.link.superframe_bytes_max = *dice.pick(&[0, 16_384, 65_495, 65_495]);
        setup.link.checksum = setup.link.superframe_bytes_max > 0 || dice.chance(PPM / 2);
        setup.link.parts_max = u8::try_from(dice.within(2..13)).expect("small");
        // Its own dice, so that a seed's other choices are what they were.
        let mut dice_of_slots = seed.dice("slots", 0);
        if dice_of_slots.chance(PPM / 3) {
            setup.link.slots = u8::try_from(dice_of_slots.skewed(1..65)).expect("small");
        }
        let small = |number| u32::try_from(number).expect("small");
        setup.config.tcp.congestion = *dice.pick(&[tcp::Algorithm::Cubic, tcp::Algorithm::NewReno]);
        setup.config.tcp.pacing = dice.chance(PPM / 2);
        setup.config.read_bytes_max = *dice.pick(&[16 << 10, 48 << 10, 128 << 10, 128 << 10]);
        setup.config.reads_per_connection_max = small(dice.within(1..6));
        setup.config.handshakes_per_turn = usize::try_from(dice.within(1..6)).expect("small");
        if dice.chance(PPM / 3) {
            setup.config.key_update_after = Some(small(dice.skewed(1..60)));
        }
        setup.disk.seed = seed.dice("disk", 0).number();
        setup.disk.align = *dice.pick(&[512, 512, 4_096]);
        setup.disk.targets_max = u8::try_from(dice.within(1..9)).expect("small");
        if features.slow_disk {
            let micros = |dice: &mut Dice, range| Duration::from_micros(dice.skewed(range));
            let least = micros(dice, 1..5_000);
            setup.disk.faults.read = Latency::Range(least, least + micros(dice, 1..30_000));
            setup.disk.faults.open = Latency::Range(Duration::ZERO, micros(dice, 1..50_000));
            setup.disk.faults.in_order = dice.chance(PPM / 4);
            setup.disk.faults.stalls_per_million = small(dice.skewed(1..50_000));
            setup.disk.faults.stall =
                Latency::Range(Duration::from_millis(1), micros(dice, 2_000..2_000_000));
        } else {
            let latency = Duration::from_micros(dice.skewed(1..300));
            setup.disk.faults.read = Latency::Range(latency / 2, latency);
        }
        if features.disk_errors {
            setup.disk.faults.read_errors_per_million = small(dice.skewed(100..100_000));
        }
        if features.scarcity {
            setup.pool.large_count = small(dice.skewed(12..100));
            setup.pool.small_count = small(dice.skewed(24..300));
            setup.link_capacity = small(dice.skewed(16..512));
            setup.config.keys_max = usize::try_from(dice.within(4..32)).expect("small");
            setup.config.files_max = usize::try_from(dice.within(4..32)).expect("small");
            setup.config.backlog_max = small(dice.within(1..8));
            setup.config.time_wait_max = small(dice.within(1..32));
            setup.disk.reads_in_flight_max = small(dice.within(2..32));
            // Those in the cache, and one for everybody who may be sending.
            setup.disk.files_max = small(setup.config.files_max as u64 + 16);
        }
        let mut dice_of_memory = seed.dice("memory", 0);
        if dice_of_memory.chance(PPM / 2) {
            let variants = [MemoryVariant::Gather, MemoryVariant::Mem, MemoryVariant::Pre];
            setup.memory = Some(*dice_of_memory.pick(&variants));
        }
        setup
    }

    /// Puts it together.
    ///
    /// # Panics
    /// The numbers do not go together, or the machine has no memory for the frames.
    #[must_use]
    pub fn server(&self, seed: Seed, clock: &SimClock, identity: &Identity) -> Production {
        let mut disk = MemoryDisk::new(self.disk);
        for object in 0..=CHANGING {
            disk.insert(ROOT, path(object), disk_object(Content::of(object), object_len(object)));
        }
        let site = Site::new(self.settings.clone(), ROOT, &Catalogue::default()).expect("lawful settings");
        let secure = server_config(seed, clock.clone(), identity);
        let pool = Pool::new(self.pool).expect("memory for the frames");
        let service = AtlasService::new(alloc::sync::Arc::new(site), UNIX_START.as_secs());
        let mut config = self.config.clone();
        config.memory = self.memory.unwrap_or_default();
        Production::new(Parts {
            config,
            link: link_memory::pair(self.link_capacity, self.link),
            disk,
            clock: clock.clone(),
            entropy: seed.dice("entropy", 0),
            service: match self.memory {
                Some(_) => Lending::from_memory(service, &pool),
                None => Lending::new(service),
            },
            pool,
            secure: ServerSettings::from_rustls(secure),
        })
        .expect("a lawful configuration")
    }
}
