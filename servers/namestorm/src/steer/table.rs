//! The operator's table, as TOML says it and as it is then known: names, pools, targets, networks.
//!
//! ```text
//! [target.paris-1]        addresses, weight, health          who answers
//! [pool]                  paris = ["paris-1", "paris-2"]     who stands in for whom
//! [map.world]             network ─▶ pools, the first with a living target
//! [name."video.example"]  map, ttl, answers
//! ```
//!
//! Everything is checked here: what is left refers by index and cannot be wrong.

use super::prefixes::{Network, Prefixes};
use super::share::seed;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A table of more than this is none; networks have files of their own.
pub const TABLE_BYTES_MAX: u64 = 16 << 20;
/// A million networks take a fifth of this.
pub const NETWORKS_BYTES_MAX: u64 = 256 << 20;
/// Targets are few: each is asked for its health.
const TARGETS_MAX: usize = 4_096;
const NAMES_MAX: usize = 65_536;
const MAPS_MAX: usize = 1_024;
/// Addresses in one answer: what fits into 512 bytes with a name of any length.
const ANSWERS_MAX: u8 = 8;
/// RFC 2181 §8.
const TTL_MAX: u32 = 0x7fff_ffff;

/// A table that can be steered by.
#[derive(Clone, Debug)]
pub struct Table {
    /// Whose client subnets are believed.
    pub heed: Heed,
    /// What is answered when no target of any pool is well.
    pub when_all_are_dead: WhenAllAreDead,
    /// Who answers.
    pub targets: Vec<Target>,
    /// Sets of targets, by index.
    pub pools: Vec<Pool>,
    /// From networks to pools.
    pub maps: Vec<Arc<Map>>,
    /// What is steered.
    pub names: Vec<SteeredName>,
}

/// Whose client subnets are believed: anybody who asks can name a network (RFC 7871 §11.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Heed {
    /// Nobody's: the source of the question decides.
    #[default]
    Nobody,
    /// Everybody's.
    Everybody,
    /// Those of resolvers in these networks.
    Resolvers(Vec<(bool, Network)>),
}

impl Heed {
    /// Whether this resolver's word counts.
    #[must_use]
    pub fn heeds(&self, resolver: IpAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Resolvers(networks) => {
                networks.iter().any(|(v4, network)| *v4 == resolver.is_ipv4() && network.holds(resolver))
            }
        }
    }
}

/// What is answered when no target of any pool is well.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAllAreDead {
    /// All targets of the first pool, as if they were well: more likely the checks fail than everybody.
    #[default]
    All,
    /// What the zone says.
    Zone,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the operator calls it.
    pub name: String,
    /// Tells it apart in [`super::share`].
    pub seed: u64,
    /// Its IPv4 addresses, and its IPv6 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// The same, of IPv6.
    pub v6: Vec<Ipv6Addr>,
    /// Its share of clients; 0 for none.
    pub weight: u32,
    /// How it is asked how it is; nobody asks when there is none, and it is taken to be well.
    pub check: Option<Check>,
}

/// How a target is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where.
    pub address: SocketAddr,
    /// The target of the request, with its query.
    pub path: String,
    /// The Host header.
    pub host: String,
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that make it well.
    pub rise: u8,
    /// Bad ones that end that.
    pub fall: u8,
    /// Status codes of a good answer: from, to.
    pub status: (u16, u16),
}

/// A set of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What the operator calls it.
    pub name: String,
    /// Indices of targets.
    pub targets: Vec<u32>,
}

/// From networks to pools.
#[derive(Debug)]
pub struct Map {
    /// What the operator calls it.
    pub name: String,
    /// Pools in the order in which they are tried. The first route is that of networks that are not in the table.
    pub routes: Vec<Vec<u32>>,
    /// IPv4's, and IPv6's.
    pub prefixes: [Prefixes; 2],
}

/// What is steered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeredName {
    /// The name on the wire, folded.
    pub name: Box<[u8]>,
    /// How its clients are told apart.
    pub map: u32,
    /// Of its addresses, in seconds.
    pub ttl: u32,
    /// The most addresses in an answer.
    pub answers: u8,
}

/// What is wrong with a table, and where. The operator's.
#[derive(Debug)]
pub enum TableError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    Line {
        /// Of which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Something is missing, or given twice, or leads nowhere.
    Sense {
        /// In which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Line { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            Self::Sense { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl core::error::Error for TableError {}

/// How a file is read.
pub type Read<'a> = &'a dyn Fn(&Path, u64) -> io::Result<Vec<u8>>;

impl Table {
    /// Reads a table, and the files with networks that it names, which are relative to it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path, read: Read<'_>) -> Result<Self, TableError> {
        let text = read_text(path, TABLE_BYTES_MAX, read)?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
            let why = error.message().lines().collect::<Vec<_>>().join(" ");
            TableError::Line { path: path.into(), line, why }
        })?;
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        let sense = |why: String| TableError::Sense { path: path.into(), why };
        file.check(&|file| {
            let path = directory.join(file);
            Ok((read_text(&path, NETWORKS_BYTES_MAX, read)?, path))
        })
        .map_err(|wrong| match wrong {
            Wrong::Elsewhere(error) => error,
            Wrong::Here(why) => sense(why),
        })
    }

    /// The files with networks that the table at `path` names; nothing when it cannot be read, for whoever reads it then
    /// says why.
    #[must_use]
    pub fn named_files(path: &Path, read: Read<'_>) -> Vec<PathBuf> {
        let Ok(text) = read_text(path, TABLE_BYTES_MAX, read) else { return Vec::new() };
        let Ok(file) = toml::from_str::<File>(&text) else { return Vec::new() };
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        file.map.values().filter_map(|map| map.networks.as_ref()).map(|file| directory.join(file)).collect()
    }

    /// What it holds, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let networks: usize = self.maps.iter().flat_map(|map| &map.prefixes).map(Prefixes::networks).sum();
        let checked = self.targets.iter().filter(|target| target.check.is_some()).count();
        format!(
            "{} names to {} targets in {} pools by {networks} networks; {checked} targets are asked how they are",
            self.names.len(),
            self.targets.len(),
            self.pools.len()
        )
    }
}

fn read_text(path: &Path, bytes_max: u64, read: Read<'_>) -> Result<String, TableError> {
    let bytes =
        read(path, bytes_max).map_err(|source| TableError::Unreadable { path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|_| TableError::Line {
        path: path.into(),
        line: 1,
        why: "not UTF-8".to_owned(),
    })
}

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    ttl: u32,
    answers: u8,
    ecs: EcsChoice,
    when_all_are_dead: WhenAllAreDead,
    check: CheckChoice,
    target: BTreeMap<String, TargetChoice>,
    pool: BTreeMap<String, Vec<String>>,
    map: BTreeMap<String, MapChoice>,
    name: BTreeMap<String, NameChoice>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            ttl: 30,
            answers: 1,
            ecs: EcsChoice::Word("off".to_owned()),
            when_all_are_dead: WhenAllAreDead::All,
            check: CheckChoice::default(),
            target: BTreeMap::new(),
            pool: BTreeMap::new(),
            map: BTreeMap::new(),
            name: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum EcsChoice {
    Word(String),
    Resolvers(Vec<String>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct CheckChoice {
    interval_ms: u32,
    timeout_ms: u32,
    rise: u8,
    fall: u8,
    status: (u16, u16),
}

impl Default for CheckChoice {
    fn default() -> Self {
        Self { interval_ms: 500, timeout_ms: 1_000, rise: 2, fall: 1, status: (200, 299) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TargetChoice {
    addresses: Vec<IpAddr>,
    #[serde(default = "one")]
    weight: u32,
    health: Option<String>,
    host: Option<String>,
}

const fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MapChoice {
    default: Vec<String>,
    networks: Option<PathBuf>,
    #[serde(default)]
    route: Vec<RouteChoice>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RouteChoice {
    networks: Vec<String>,
    pools: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NameChoice {
    map: String,
    ttl: Option<u32>,
    answers: Option<u8>,
}

enum Wrong {
    /// In the table.
    Here(String),
    /// In a file that it names.
    Elsewhere(TableError),
}

/// Reads a file that the table names.
type ReadNamed<'a> = &'a dyn Fn(&Path) -> Result<(String, PathBuf), TableError>;

impl File {
    fn check(self, read: ReadNamed<'_>) -> Result<Table, Wrong> {
        let Self { ttl, answers, ecs, when_all_are_dead, check, target, pool, map, name } = self;
        for (what, count, most) in [
            ("targets", target.len(), TARGETS_MAX),
            ("pools", pool.len(), TARGETS_MAX),
            ("maps", map.len(), MAPS_MAX),
            ("names", name.len(), NAMES_MAX),
        ] {
            if count > most {
                return here(format!("{count} {what}: there may be {most}"));
            }
        }
        let heed = match ecs {
            EcsChoice::Word(word) if word == "off" => Heed::Nobody,
            EcsChoice::Word(word) if word == "any" => Heed::Everybody,
            EcsChoice::Word(word) => {
                return here(format!(
                    "ecs = \"{word}\" is neither off, any nor a list of resolvers' networks"
                ));
            }
            EcsChoice::Resolvers(resolvers) => {
                Heed::Resolvers(resolvers.iter().map(|text| network(text)).collect::<Result<_, _>>()?)
            }
        };
        let mut indices = HashMap::new();
        let mut targets = Vec::new();
        for (name, choice) in target {
            indices.insert(name.clone(), index(targets.len()));
            targets.push(choice.check(name, check)?);
        }
        let mut pool_indices = HashMap::new();
        let mut pools = Vec::new();
        for (name, members) in pool {
            if members.is_empty() {
                return here(format!("pool {name} has no targets"));
            }
            let mut of_pool = Vec::new();
            for member in members {
                let Some(target) = indices.get(&member) else {
                    return here(format!("pool {name} has a target '{member}', of which nothing is said"));
                };
                if of_pool.contains(target) {
                    return here(format!("pool {name} has the target '{member}' twice"));
                }
                of_pool.push(*target);
            }
            pool_indices.insert(name.clone(), index(pools.len()));
            pools.push(Pool { name, targets: of_pool });
        }
        let mut map_indices = HashMap::new();
        let mut maps = Vec::new();
        for (name, choice) in map {
            map_indices.insert(name.clone(), index(maps.len()));
            maps.push(Arc::new(choice.check(name, &pool_indices, read)?));
        }
        let mut names = Vec::new();
        for (text, choice) in name {
            names.push(choice.check(&text, &map_indices, ttl, answers)?);
        }
        names.sort_by(|a: &SteeredName, b| a.name.cmp(&b.name));
        if let Some(pair) = names.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return here(format!("{} is given twice", dns::name::Presentation(&pair[0].name)));
        }
        Ok(Table { heed, when_all_are_dead, targets, pools, maps, names })
    }
}

fn here<T>(why: String) -> Result<T, Wrong> {
    Err(Wrong::Here(why))
}

/// Few enough: that was checked.
fn index(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn network(text: &str) -> Result<(bool, Network), Wrong> {
    Network::parse(text).map_or_else(|| here(not_a_network(text)), Ok)
}

fn not_a_network(text: &str) -> String {
    format!("'{text}' is not a network, such as 192.0.2.0/24 with nothing behind the prefix")
}

impl TargetChoice {
    fn check(self, name: String, check: CheckChoice) -> Result<Target, Wrong> {
        let Self { addresses, weight, health, host } = self;
        // It stands in log lines and in addresses of requests.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return here(format!("target '{name}': a name is letters, digits, -, _ and ."));
        }
        if addresses.is_empty() {
            return here(format!("target {name} has no address"));
        }
        if weight > 1_000_000 {
            return here(format!("target {name}: weight {weight} is not from 0 to 1000000"));
        }
        let check = health.map(|url| check.of(&name, &url, host)).transpose()?;
        let mut target = Target { seed: seed(&name), name, v4: Vec::new(), v6: Vec::new(), weight, check };
        for address in addresses {
            match address {
                IpAddr::V4(v4) => target.v4.push(v4),
                IpAddr::V6(v6) => target.v6.push(v6),
            }
        }
        if target.v4.len() > usize::from(ANSWERS_MAX) || target.v6.len() > usize::from(ANSWERS_MAX) {
            return here(format!("target {} has more than {ANSWERS_MAX} addresses of a kind", target.name));
        }
        Ok(target)
    }
}

impl CheckChoice {
    fn of(self, target: &str, url: &str, host: Option<String>) -> Result<Check, Wrong> {
        let Self { interval_ms, timeout_ms, rise, fall, status } = self;
        if !(50..=3_600_000).contains(&interval_ms) || !(10..=60_000).contains(&timeout_ms) {
            return here("check: interval-ms is from 50 to 3600000, timeout-ms from 10 to 60000".to_owned());
        }
        if !(1..=100).contains(&rise) || !(1..=100).contains(&fall) {
            return here("check: rise and fall are from 1 to 100".to_owned());
        }
        if status.0 > status.1 || !(100..=599).contains(&status.0) || status.1 > 599 {
            return here("check: status is the first and the last good code: [200, 299]".to_owned());
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return here(format!("target {target}: health '{url}' does not begin with http://"));
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let address = authority.parse::<SocketAddr>().or_else(|_| {
            authority
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .map(|ip: IpAddr| SocketAddr::new(ip, 80))
        });
        let Ok(address) = address else {
            return here(format!(
                "target {target}: health '{url}' names no address: nobody is asked for names here, so that a check \
                 does not depend on what it checks (the name goes into host)"
            ));
        };
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let host = host.unwrap_or_else(|| authority.to_owned());
        if !printable(path) || !printable(&host) || path.len() + host.len() > 1_000 {
            return here(format!("target {target}: what is asked of '{url}' is not printable, or too long"));
        }
        Ok(Check {
            address,
            path: path.to_owned(),
            host,
            interval: Duration::from_millis(interval_ms.into()),
            timeout: Duration::from_millis(timeout_ms.into()),
            rise,
            fall,
            status,
        })
    }
}

impl MapChoice {
    fn check(self, name: String, pools: &HashMap<String, u32>, read: ReadNamed<'_>) -> Result<Map, Wrong> {
        let Self { default, networks, route } = self;
        let of_pools = |names: &[&str]| -> Result<Vec<u32>, String> {
            if names.is_empty() {
                return Err(format!("map {name}: a route leads to no pool"));
            }
            names
                .iter()
                .map(|pool| {
                    pools.get(*pool).copied().ok_or_else(|| format!("map {name}: there is no pool '{pool}'"))
                })
                .collect()
        };
        let mut routes = Routes::default();
        let listed = |names: &[String]| of_pools(&names.iter().map(String::as_str).collect::<Vec<_>>());
        routes.number(listed(&default).map_err(Wrong::Here)?);
        let mut families = [Vec::new(), Vec::new()];
        // Line by line first, so that what stands in the table itself counts where both speak.
        if let Some(file) = networks {
            let (text, path) = read(&file).map_err(Wrong::Elsewhere)?;
            let mut known: HashMap<&str, u32> = HashMap::new();
            for (line, content) in (1..).zip(text.lines()) {
                let content = content.split('#').next().unwrap_or_default().trim();
                let wrong = |why| Wrong::Elsewhere(TableError::Line { path: path.clone(), line, why });
                let Some((network, pools)) = content.split_once(char::is_whitespace) else {
                    if content.is_empty() {
                        continue;
                    }
                    return Err(wrong(
                        "not a network and its pools, such as `192.0.2.0/24 paris tokyo`".to_owned(),
                    ));
                };
                let (v4, network) = Network::parse(network).ok_or_else(|| wrong(not_a_network(network)))?;
                let pools = pools.trim();
                let route = match known.get(pools) {
                    Some(route) => *route,
                    None => {
                        let names: Vec<_> = pools.split_whitespace().collect();
                        let route = routes.number(of_pools(&names).map_err(wrong)?);
                        known.insert(pools, route);
                        route
                    }
                };
                families[usize::from(!v4)].push((network, route));
            }
        }
        for RouteChoice { networks, pools } in route {
            let route = routes.number(listed(&pools).map_err(Wrong::Here)?);
            for text in networks {
                let (v4, network) = network(&text)?;
                families[usize::from(!v4)].push((network, route));
            }
        }
        if routes.list.len() > usize::from(u16::MAX) {
            return here(format!("map {name} has {} orders of pools: there may be 65535", routes.list.len()));
        }
        Ok(Map { name, routes: routes.list, prefixes: families.map(Prefixes::new) })
    }
}

/// Orders of pools, each once.
#[derive(Default)]
struct Routes {
    list: Vec<Vec<u32>>,
    known: HashMap<Vec<u32>, u32>,
}

impl Routes {
    fn number(&mut self, pools: Vec<u32>) -> u32 {
        let next = index(self.list.len());
        *self.known.entry(pools).or_insert_with_key(|pools| {
            self.list.push(pools.clone());
            next
        })
    }
}

impl NameChoice {
    fn check(
        self,
        text: &str,
        maps: &HashMap<String, u32>,
        ttl: u32,
        answers: u8,
    ) -> Result<SteeredName, Wrong> {
        let Self { map, ttl: own_ttl, answers: own_answers } = self;
        let mut name = match dns::name::from_text(text.as_bytes()) {
            Ok(name) => name,
            Err(error) => return here(format!("name '{text}': {error}")),
        };
        name.make_ascii_lowercase();
        let Some(map) = maps.get(&map) else { return here(format!("name {text}: there is no map '{map}'")) };
        let (ttl, answers) = (own_ttl.unwrap_or(ttl), own_answers.unwrap_or(answers));
        if ttl > TTL_MAX {
            return here(format!("name {text}: a TTL of {ttl} is more than 2147483647"));
        }
        if !(1..=ANSWERS_MAX).contains(&answers) {
            return here(format!("name {text}: answers is from 1 to {ANSWERS_MAX}"));
        }
        Ok(SteeredName { name: name.into(), map: *map, ttl, answers })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const EXAMPLE: &str = r#"
ttl = 20
ecs = ["192.0.2.53/32", "2001:db8:53::/48"]

[check]
interval-ms = 200
fall = 2

[target.paris-1]
addresses = ["192.0.2.10", "2001:db8::10"]
weight = 3
health = "http://192.0.2.10:8080/healthz?deep"
host = "video.example"

[target.paris-2]
addresses = ["192.0.2.11"]

[target.tokyo-1]
addresses = ["198.51.100.10", "2001:db8:1::10"]

[pool]
paris = ["paris-1", "paris-2"]
tokyo = ["tokyo-1"]

[map.world]
default = ["paris", "tokyo"]
networks = "geo.txt"

[[map.world.route]]
networks = ["203.0.113.0/24", "2001:db8:a::/48"]
pools = ["tokyo", "paris"]

[name."Video.Example"]
map = "world"

[name."two.example"]
map = "world"
ttl = 5
answers = 2
"#;

    /// A table, its networks' file beside it.
    pub(crate) fn read(table: &str, networks: &str) -> Result<Table, String> {
        let file =
            |path: &Path, _| Ok(if path.ends_with("geo.txt") { networks } else { table }.as_bytes().to_vec());
        Table::read(Path::new("/etc/steering.toml"), &file).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_read_as_it_says() {
        let table = read(EXAMPLE, "# nobody\n10.0.0.0/8\ttokyo\n10.1.0.0/16 paris tokyo # back\n\n").unwrap();
        assert_eq!(table.names.len(), 2);
        let video = table.names.iter().find(|name| name.ttl == 20).unwrap();
        assert_eq!(&*video.name, b"\x05video\x07example\0");
        let map = &table.maps[video.map as usize];
        let route = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let found = map.prefixes[usize::from(!address.is_ipv4())].find(address).0;
            let pools = &map.routes[found.unwrap_or(0) as usize];
            pools.iter().map(|pool| &*table.pools[*pool as usize].name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(route("203.0.113.9"), "tokyo paris");
        assert_eq!(route("10.2.0.1"), "tokyo");
        assert_eq!(route("10.1.0.1"), "paris tokyo");
        assert_eq!(route("192.0.2.1"), "paris tokyo");
        assert_eq!(route("2001:db8:a::1"), "tokyo paris");
        let check = table.targets[0].check.as_ref().unwrap();
        assert_eq!((check.path.as_str(), check.host.as_str()), ("/healthz?deep", "video.example"));
        assert_eq!((check.interval.as_millis(), check.fall, check.rise), (200, 2, 2));
        assert!(table.heed.heeds("192.0.2.53".parse().unwrap()));
        assert!(table.heed.heeds("2001:db8:53::7".parse().unwrap()));
        assert!(!table.heed.heeds("192.0.2.54".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_the_remedy() {
        let wrong = |from: &str, to: &str| read(&EXAMPLE.replace(from, to), "").unwrap_err();
        let line = wrong("fall = 2", "fal = 2");
        assert!(line.starts_with("/etc/steering.toml:7: unknown field `fal`"), "{line}");
        assert!(wrong("tokyo = [\"tokyo-1\"]", "tokyo = [\"tokyo-7\"]").contains("'tokyo-7'"));
        assert!(wrong("default = [\"paris\"", "default = [\"rome\"").contains("no pool 'rome'"));
        assert!(wrong("203.0.113.0/24", "203.0.113.1/24").contains("not a network"));
        assert!(wrong("http://192.0.2.10:8080", "https://192.0.2.10").contains("http://"));
        assert!(wrong("http://192.0.2.10:8080", "http://paris.example").contains("no address"));
        assert!(wrong("answers = 2", "answers = 9").contains("from 1 to 8"));
        assert!(wrong("two.example", "video.example").contains("twice"));
        assert!(wrong("ecs = [", "ecs = \"some\" #").contains("off, any"));
        let line = read(EXAMPLE, "10.0.0.0/8 paris\n10.0.0.1/8 tokyo\n").unwrap_err();
        assert!(line.starts_with("/etc/geo.txt:2: "), "{line}");
        assert!(read(EXAMPLE, "10.0.0.0/8 rome\n").unwrap_err().contains("no pool 'rome'"));
    }
}
