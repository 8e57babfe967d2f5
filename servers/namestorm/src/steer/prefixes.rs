//! Longest prefix: which route an address takes, and how much of the address decided that.
//!
//! ```text
//! address │ 6 bits │ 6 bits │ 6 bits │ …
//!             ▼        ▼        ▼
//!   node ├ which of 64 children are nodes ┼ where runs of equal leaves begin ┼ first node ┼ first leaf ┤
//!             └ a bit counted is an index: 24 bytes a node, one cache line a step, and one for the leaf
//! ```
//!
//! A leaf knows more than the route: a cache may only be told that an answer holds for a network inside of which every
//! address would get it (RFC 7871 §7.2.1: "overlapping prefixes" have to be told apart). So a leaf's *decided* is the
//! shortest prefix of the address within which no network of the table is more specific than that prefix.

use core::fmt;
use core::net::IpAddr;

/// Bits that a node decides.
const STRIDE: u8 = 6;
/// The most routes: what a leaf has room for.
pub const ROUTES_MAX: usize = 1 << 24;
const NO_ROUTE: u32 = (1 << 24) - 1;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its address, the first bit on top; IPv4 has the upper 32 bits.
    bits: u128,
    len: u8,
}

impl Network {
    /// The network of this address; nothing when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (len <= most).then(|| Self { bits: bits_of(address) & mask(len), len })
    }

    /// Reads `192.0.2.0/24`; an address alone is a network of its own. Bits behind the prefix are a mistake.
    #[must_use]
    pub fn parse(text: &str) -> Option<(bool, Self)> {
        let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Some(most), |len| len.parse().ok())?;
        let network = Self::new(address, len)?;
        (network.bits == bits_of(address)).then_some((address.is_ipv4(), network))
    }

    /// Whether it has this address, which is of its family.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        bits_of(address) & mask(self.len) == self.bits
    }
}

/// An address with its first bit on top.
#[inline]
pub(crate) fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The first `len` bits.
#[inline]
pub(crate) const fn mask(len: u8) -> u128 {
    if len == 0 { 0 } else { u128::MAX << (128 - len as u32) }
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Children that are nodes.
    nodes: u64,
    /// Children that are leaves, where one differs from the leaf before it.
    starts: u64,
    first_node: u32,
    first_leaf: u32,
}

const _: () = assert!(size_of::<Node>() == 24, "two of three nodes lie in one cache line");

/// Networks of one address family and their routes. Never changes.
pub struct Prefixes {
    nodes: Box<[Node]>,
    /// Route, and above it the length that decided.
    leaves: Box<[u32]>,
    networks: usize,
}

impl Prefixes {
    /// A table of these networks. Of one that is given twice the later route counts.
    ///
    /// # Panics
    /// A route is [`ROUTES_MAX`] or more.
    #[must_use]
    pub fn new(mut networks: Vec<(Network, u32)>) -> Self {
        // Stable: of equals the last stays last, and is the one that is kept.
        networks.sort_by_key(|(network, _)| *network);
        networks.reverse();
        networks.dedup_by_key(|(network, _)| *network);
        networks.reverse();
        assert!(
            networks.iter().all(|(_, route)| *route < NO_ROUTE),
            "fewer routes than a leaf can tell apart"
        );
        let count = networks.len();
        let (inherited, rest) = match networks.split_first() {
            Some(((Network { len: 0, .. }, route), rest)) => (*route, rest),
            _ => (NO_ROUTE, &networks[..]),
        };
        let mut build = Build { nodes: vec![Node::default()], leaves: Vec::new() };
        build.fill(0, 0, inherited, rest);
        Self { nodes: build.nodes.into(), leaves: build.leaves.into(), networks: count }
    }

    /// The route of the longest network that has the address, and how many of its bits decided that.
    #[inline]
    #[must_use]
    pub fn find(&self, address: IpAddr) -> (Option<u32>, u8) {
        let mut bits = bits_of(address);
        let mut node = &self.nodes[0];
        loop {
            let child = u32::try_from(bits >> (128 - STRIDE)).unwrap_or(0) & 63;
            if node.nodes >> child & 1 == 1 {
                let before = (node.nodes & ((1 << child) - 1)).count_ones();
                node = &self.nodes[(node.first_node + before) as usize];
                bits <<= STRIDE;
            } else {
                let upto = (node.starts & (u64::MAX >> (63 - child))).count_ones();
                let leaf = self.leaves[(node.first_leaf + upto - 1) as usize];
                let route = leaf & NO_ROUTE;
                return ((route != NO_ROUTE).then_some(route), (leaf >> 24) as u8);
            }
        }
    }

    /// How many networks there are.
    #[must_use]
    pub const fn networks(&self) -> usize {
        self.networks
    }

    /// What the table weighs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.leaves)
    }
}

impl fmt::Debug for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefixes({} networks, {} bytes)", self.networks, self.bytes())
    }
}

struct Build {
    nodes: Vec<Node>,
    leaves: Vec<u32>,
}

impl Build {
    /// Fills the node at `at`, which stands for a prefix of `depth` bits whose addresses take the route `inherited` where
    /// no network of `within` says otherwise. Those are in order, lie inside, and are longer than `depth`.
    fn fill(&mut self, at: usize, depth: u8, inherited: u32, within: &[(Network, u32)]) {
        let end = depth + STRIDE;
        let child_of =
            |network: &Network| usize::try_from((network.bits << depth) >> (128 - STRIDE)).unwrap_or(0);
        let mut routes = [inherited; 64];
        let mut deep = 0_u64;
        // By the number of further bits: which groups of children have a network that is longer than that.
        let mut longer = [0_u64; STRIDE as usize + 1];
        for (network, route) in within {
            let child = child_of(network);
            for (bits, groups) in longer.iter_mut().enumerate().take(usize::from(network.len - depth)) {
                *groups |= 1 << (child >> (usize::from(STRIDE) - bits));
            }
            if network.len > end {
                deep |= 1 << child;
            } else {
                // A longer one inside of it comes later.
                routes[child..child + (1 << (end - network.len))].fill(*route);
            }
        }
        let mut node = Node {
            nodes: deep,
            starts: 0,
            first_node: u32::try_from(self.nodes.len()).expect("fewer nodes than 2³²"),
            first_leaf: u32::try_from(self.leaves.len()).expect("fewer leaves than 2³²"),
        };
        let mut last = None;
        for (child, route) in routes.iter().enumerate() {
            if deep >> child & 1 == 1 {
                continue;
            }
            let decided = (0..=STRIDE)
                .find(|bits| longer[usize::from(*bits)] >> (child >> (STRIDE - bits)) & 1 == 0)
                .expect("a child without longer networks is decided by its own bits");
            let leaf = route | u32::from(depth + decided) << 24;
            if last != Some(leaf) {
                last = Some(leaf);
                node.starts |= 1 << child;
                self.leaves.push(leaf);
            }
        }
        self.nodes[at] = node;
        let first = self.nodes.len();
        self.nodes.resize(first + deep.count_ones() as usize, Node::default());
        let mut rest = within;
        let children = (0..64).filter(|child| deep >> child & 1 == 1);
        for (index, child) in children.enumerate() {
            rest = &rest[rest.partition_point(|(network, _)| child_of(network) < child)..];
            let of_child;
            (of_child, rest) = rest.split_at(rest.partition_point(|(network, _)| child_of(network) == child));
            // Shorter ones that begin here come first.
            let mut longer: &[(Network, u32)] = of_child;
            while let Some(((network, _), behind)) = longer.split_first()
                && network.len <= end
            {
                longer = behind;
            }
            self.fill(first + index, end, routes[child], longer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap().1
    }

    fn table(networks: &[(&str, u32)]) -> Prefixes {
        Prefixes::new(networks.iter().map(|(text, route)| (network(text), *route)).collect())
    }

    fn find(table: &Prefixes, address: &str) -> (Option<u32>, u8) {
        table.find(address.parse().unwrap())
    }

    #[test]
    fn an_empty_table_has_no_route_and_nothing_decides_that() {
        assert_eq!(find(&table(&[]), "192.0.2.1"), (None, 0));
        assert_eq!(find(&table(&[("::/0", 7)]), "2001:db8::1"), (Some(7), 0));
    }

    #[test]
    fn the_longest_wins_and_an_overlapped_network_is_taken_apart() {
        let table = table(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.3/32", 3)]);
        assert_eq!(find(&table, "10.1.2.3"), (Some(3), 32));
        assert_eq!(find(&table, "10.1.2.2"), (Some(2), 32));
        assert_eq!(find(&table, "10.1.128.0"), (Some(2), 17));
        // RFC 7871 §7.2.1: /8 would be a lie, since 10.1/16 has another answer.
        assert_eq!(find(&table, "10.128.0.1"), (Some(1), 9));
        assert_eq!(find(&table, "10.0.0.1"), (Some(1), 16));
        assert_eq!(find(&table, "192.0.2.1"), (None, 1));
    }

    #[test]
    fn of_a_network_that_is_given_twice_the_later_counts() {
        assert_eq!(find(&table(&[("10.0.0.0/8", 1), ("10.0.0.0/8", 2)]), "10.0.0.1").0, Some(2));
    }

    #[test]
    fn bits_behind_the_prefix_are_a_mistake() {
        assert!(Network::parse("10.1.0.0/8").is_none());
        assert!(Network::parse("10.0.0.0/33").is_none());
        assert!(Network::parse("2001:db8::/129").is_none());
        assert_eq!(Network::parse("192.0.2.7"), Some((true, network("192.0.2.7/32"))));
    }

    /// Asks every network; the length is the first at which no longer one lies inside.
    fn naive(networks: &[(Network, u32)], address: u128, most: u8) -> (Option<u32>, u8) {
        let holds = |network: &Network| address & mask(network.len) == network.bits;
        let best = networks
            .iter()
            .rev()
            .filter(|(network, _)| holds(network))
            .max_by_key(|(network, _)| network.len);
        let decided = (0..=most)
            .find(|len| {
                let inside = |network: &Network| network.bits & mask(*len) == address & mask(*len);
                !networks.iter().any(|(network, _)| network.len > *len && inside(network))
            })
            .unwrap();
        (best.map(|(_, route)| *route), decided)
    }

    /// Few first bytes, so that networks overlap.
    fn networks(most: u8) -> impl Strategy<Value = Vec<(Network, u32)>> {
        let network = (0..4_u8, any::<u128>(), 0..=most, 0..9_u32).prop_map(|(top, rest, len, route)| {
            let bits = u128::from(top) << 120 | (rest & !0 >> 8) & (rest >> 40 | !0 >> 12);
            (Network { bits: bits & mask(len), len }, route)
        });
        proptest::collection::vec(network, 0..60)
    }

    fn agree(networks: &[(Network, u32)], probes: &[u128], most: u8) -> Result<(), TestCaseError> {
        // The first of equals is the later one for the naive search, too.
        let mut unique = networks.to_vec();
        let mut seen = std::collections::BTreeSet::new();
        unique.reverse();
        unique.retain(|(network, _)| seen.insert(*network));
        let table = Prefixes::new(networks.to_vec());
        let edges = networks.iter().flat_map(|(network, _)| {
            [network.bits, network.bits | !mask(network.len), network.bits.wrapping_sub(1 << 96)]
        });
        for bits in probes.iter().copied().chain(edges) {
            let address = if most == 32 {
                IpAddr::from(((bits >> 96) as u32).to_be_bytes())
            } else {
                IpAddr::from(bits.to_be_bytes())
            };
            prop_assert_eq!(table.find(address), naive(&unique, bits_of(address), most), "{}", address);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_naive_search_of_ipv4(
            networks in networks(32),
            probes in proptest::collection::vec(any::<u128>(), 20),
        ) {
            agree(&networks, &probes, 32)?;
        }

        #[test]
        fn the_table_agrees_with_a_naive_search_of_ipv6(
            networks in networks(128),
            probes in proptest::collection::vec(any::<u128>(), 20),
        ) {
            agree(&networks, &probes, 128)?;
        }
    }
}
