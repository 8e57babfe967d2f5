//! The values an option may have, each with one spelling for the command line and the configuration file.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use serde::de::{self, Deserializer, Visitor};
use std::path::PathBuf;

use crate::confinement::Seccomp;

/// Lets a value be written in TOML as it is on the command line: as a string, or as a number where it is one.
macro_rules! from_text {
    ($($value:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $value;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string or a number")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_bool<E: de::Error>(self, switch: bool) -> Result<Self::Value, E> {
                        (if switch { "on" } else { "off" }).parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }
    )+};
}

from_text!(
    Cidr,
    InterfaceName,
    LinkChoice,
    AddressMode,
    PortChoice,
    AdminChoice,
    LogChoice,
    LogFormat,
    Congestion,
    Namespace,
    Bytes,
    LogLevel,
    PacketFilter,
    Seccomp
);

/// A value that is not one: the operator's, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue(String);

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for BadValue {}

/// Refuses a value with this sentence, for options that a server adds of its own.
///
/// # Errors
/// Always.
pub fn bad<T>(sentence: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue(sentence.into()))
}

/// An address of ours with the length of its network's prefix: `192.0.2.10/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// How many of its leading bits name the network.
    pub prefix: u8,
}

impl Cidr {
    /// The first address of the same network that is neither ours nor special: the kernel's side of the link.
    pub fn neighbour(self) -> Self {
        let address = match self.address {
            IpAddr::V4(ours) => {
                let network = u32::from(ours) & (u32::MAX << (32 - u32::from(self.prefix)));
                let first = Ipv4Addr::from(network + 1);
                IpAddr::V4(if first == ours { Ipv4Addr::from(network + 2) } else { first })
            }
            IpAddr::V6(ours) => {
                let network = u128::from(ours) & (u128::MAX << (128 - u32::from(self.prefix)));
                let first = Ipv6Addr::from(network + 1);
                IpAddr::V6(if first == ours { Ipv6Addr::from(network + 2) } else { first })
            }
        };
        Self { address, prefix: self.prefix }
    }

    /// Whether the two networks have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let prefix = u32::from(self.prefix.min(other.prefix));
        match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u32::from(a) ^ u32::from(b)).checked_shr(32 - prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (u128::from(a) ^ u128::from(b)).checked_shr(128 - prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let Some((address, prefix)) = text.split_once('/') else {
            return bad(format!(
                "'{text}' has no prefix length: write it as in 192.0.2.10/24 or fd00::10/64"
            ));
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return bad(format!("'{address}' is not an IP address"));
        };
        let (least, most) = if address.is_ipv4() { (8, 30) } else { (16, 126) };
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix) if (least..=most).contains(&prefix) => prefix,
            _ => return bad(format!("'/{prefix}' is not a prefix length from {least} to {most}")),
        };
        let special = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
            || matches!(address, IpAddr::V4(address) if {
                let host = u32::from(address) & !(u32::MAX << (32 - u32::from(prefix)));
                host == 0 || host == u32::MAX >> u32::from(prefix)
            });
        if special {
            return bad(format!(
                "{address} cannot be the address of one host in a network of /{prefix}, seen from others: it is the \
                 network's, everybody's, loopback or link-local"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(pub String);

/// The kernel's IFNAMSIZ, without the NUL.
const INTERFACE_NAME_BYTES_MAX: usize = 15;

impl FromStr for InterfaceName {
    type Err = BadValue;

    fn from_str(name: &str) -> Result<Self, BadValue> {
        let usable = !name.is_empty()
            && name.len() <= INTERFACE_NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte))
            && name != "."
            && name != "..";
        if !usable {
            return bad(format!("'{name}' cannot be the name of a network interface"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What carries packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChoice {
    /// The best that this interface, or without one this machine, allows.
    Auto(Option<String>),
    /// A TAP device of this name, or of one that is free.
    Tap(Option<String>),
    /// A packet socket on this interface.
    Packet(String),
    /// AF_XDP sockets on this interface.
    AfXdp(String),
}

impl LinkChoice {
    /// What `--link` and `--dev` amount to together.
    ///
    /// # Errors
    /// They contradict each other: the operator's.
    pub fn of(link: Option<Self>, device: Option<InterfaceName>) -> Result<Self, BadValue> {
        match (link, device) {
            (None, None) => Ok(Self::Tap(None)),
            (None | Some(Self::Auto(_)), device) => Ok(Self::Auto(device.map(|InterfaceName(name)| name))),
            (Some(link), None) => Ok(link),
            (Some(link), Some(InterfaceName(device))) if link.interface() == Some(&device) => Ok(link),
            (Some(link), Some(device)) => bad(format!(
                "--dev {device} is for --link auto, and --link {link} names its own device: give one of the two"
            )),
        }
    }

    /// The network interface that it is on; a TAP device is none.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Auto(interface) => interface.as_deref(),
            Self::Tap(_) => None,
            Self::Packet(interface) | Self::AfXdp(interface) => Some(interface),
        }
    }
}

impl FromStr for LinkChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let name = name.map(str::parse).transpose()?.map(|InterfaceName(name)| name);
        match (kind, name) {
            ("auto", None) => Ok(Self::Auto(None)),
            ("auto", Some(_)) => bad(format!("'{text}': name the interface with --dev")),
            ("tap", name) => Ok(Self::Tap(name)),
            ("packet", Some(name)) => Ok(Self::Packet(name)),
            ("afxdp", Some(name)) => Ok(Self::AfXdp(name)),
            ("packet", None) => bad("a packet link needs its interface: packet:eth1"),
            ("afxdp", None) => bad("an AF_XDP link needs its interface: afxdp:eth1"),
            _ => bad(format!(
                "there is no link '{text}': choose auto, tap, tap:NAME, packet:INTERFACE or afxdp:INTERFACE"
            )),
        }
    }
}

impl fmt::Display for LinkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto(None) => f.write_str("auto"),
            Self::Auto(Some(name)) => write!(f, "auto on {name}"),
            Self::Tap(None) => f.write_str("tap"),
            Self::Tap(Some(name)) => write!(f, "tap:{name}"),
            Self::Packet(name) => write!(f, "packet:{name}"),
            Self::AfXdp(name) => write!(f, "afxdp:{name}"),
        }
    }
}

/// A TCP port, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortChoice(pub Option<u16>);

impl FromStr for PortChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match (text, text.parse()) {
            ("off", _) => Ok(Self(None)),
            (_, Ok(port)) if port != 0 => Ok(Self(Some(port))),
            _ => bad(format!("'{text}' is not a port from 1 to 65535, nor 'off'")),
        }
    }
}

/// Where the admin port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminChoice {
    /// Nowhere.
    Off,
    /// Here; port 0 for any that is free.
    At(SocketAddr),
}

impl FromStr for AdminChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self::At(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        text.parse().map(Self::At).or_else(|_| {
            bad(format!("'{text}' is not an address with a port such as 127.0.0.1:9464, nor 'off'"))
        })
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogChoice {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl FromStr for LogChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        Ok(match text {
            "" => return bad("an access log without a name: give a file, '-' or 'off'"),
            "off" => Self::Off,
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

/// Declares an option that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl FromStr for $name {
            type Err = BadValue;
            fn from_str(text: &str) -> Result<Self, BadValue> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => bad(format!(
                        concat!("there is no ", $what, " '{}': choose from {}"),
                        text,
                        [$($word),+].join(", ")
                    )),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

words! {
    /// How an access-log line is written.
    LogFormat "log format" {
        /// As Apache and nginx do.
        Combined = "combined",
        /// One object per line.
        Json = "json",
    }
}

words! {
    /// Which law the congestion window follows.
    Congestion "congestion control" {
        /// RFC 9438.
        Cubic = "cubic",
        /// RFC 5681 and 6582.
        NewReno = "newreno",
    }
}

words! {
    /// Whose the addresses are.
    AddressMode "address mode" {
        /// Ours alone: the kernel must not have them.
        Own = "own",
        /// The kernel's, of which we take our ports.
        Shared = "shared",
    }
}

words! {
    /// Whether to run inside a user and network namespace.
    Namespace "choice" {
        /// When the privilege for anything else is missing.
        Auto = "auto",
        /// In any case.
        Always = "always",
        /// Rather fail.
        Never = "never",
    }
}

words! {
    /// What the event log tells.
    LogLevel "log level" {
        /// What cost somebody something.
        Error = "error",
        /// What may.
        Warn = "warn",
        /// What changed.
        Info = "info",
        /// What happens all the time.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// Which packets to capture: `host 192.0.2.7 and port 443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFilter(pub control::CaptureFilter);

impl FromStr for PacketFilter {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        text.parse().map(Self).or_else(|error: control::BadFilter| bad(error.to_string()))
    }
}

/// An amount of memory: `512M`, `2G`, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: u64 = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            _ => return bad(format!("'{text}' is not an amount of memory such as 512M or 2G")),
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .map_or_else(|| bad(format!("'{text}' is not an amount of memory such as 512M or 2G")), Ok)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 10 << 30 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 10 << 20 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 10 << 10 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernels_side_is_the_first_free_address_of_the_network() {
        assert_eq!(cidr("10.77.0.2/24").neighbour(), cidr("10.77.0.1/24"));
        assert_eq!(cidr("10.77.0.1/24").neighbour(), cidr("10.77.0.2/24"));
        assert_eq!(cidr("192.0.2.129/30").neighbour(), cidr("192.0.2.130/30"));
        assert_eq!(cidr("fd00:1::2/64").neighbour(), cidr("fd00:1::1/64"));
    }

    #[test]
    fn an_address_of_nobody_or_of_many_is_refused() {
        for text in [
            "10.0.0.0/24",
            "10.0.0.255/24",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "0.0.0.0/8",
            "::1/64",
            "ff02::1/64",
            "fe80::1/64",
            "10.0.0.1",
            "10.0.0.1/31",
            "10.0.0.1/x",
            "10.0.0/24",
            "fd00::1/127",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        assert!(cidr("10.77.0.2/24").overlaps(cidr("10.0.0.1/8")));
        assert!(cidr("10.0.0.1/8").overlaps(cidr("10.77.0.2/24")));
        assert!(!cidr("10.77.0.2/24").overlaps(cidr("10.77.1.2/24")));
        assert!(cidr("fd00::1/64").overlaps(cidr("fd00::2/48")));
        assert!(!cidr("fd00::1/64").overlaps(cidr("10.0.0.1/8")));
    }

    #[test]
    fn each_link_has_one_spelling() {
        for text in ["auto", "tap", "tap:atlas0", "packet:eth1", "afxdp:eth1"] {
            assert_eq!(text.parse::<LinkChoice>().unwrap().to_string(), text);
        }
        for text in
            ["packet", "afxdp", "auto:eth0", "tap:", "tap:a/b", "tap:sixteen-letters-", "xdp:eth0", "tap:.."]
        {
            assert!(text.parse::<LinkChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_asks_for_the_best_link_on_it_and_nothing_for_tap() {
        let of = |link: Option<&str>, device: Option<&str>| {
            LinkChoice::of(link.map(|text| text.parse().unwrap()), device.map(|text| text.parse().unwrap()))
        };
        assert_eq!(of(None, None), Ok(LinkChoice::Tap(None)));
        assert_eq!(of(None, Some("eth1")), Ok(LinkChoice::Auto(Some("eth1".to_owned()))));
        assert_eq!(of(Some("auto"), Some("eth1")), Ok(LinkChoice::Auto(Some("eth1".to_owned()))));
        assert_eq!(of(Some("auto"), None), Ok(LinkChoice::Auto(None)));
        assert_eq!(of(Some("packet:eth1"), Some("eth1")), Ok(LinkChoice::Packet("eth1".to_owned())));
        let line = of(Some("packet:eth1"), Some("eth2")).unwrap_err().to_string();
        assert!(line.contains("--dev eth2") && line.contains("packet:eth1"), "{line}");
        assert!(of(Some("tap"), Some("eth2")).is_err());
    }

    #[test]
    fn a_port_is_a_number_or_off() {
        assert_eq!("8443".parse(), Ok(PortChoice(Some(8443))));
        assert_eq!("off".parse(), Ok(PortChoice(None)));
        assert!("0".parse::<PortChoice>().is_err() && "70000".parse::<PortChoice>().is_err());
    }

    #[test]
    fn memory_has_binary_units() {
        assert_eq!("512M".parse(), Ok(Bytes(512 << 20)));
        assert_eq!("2 GiB".parse(), Ok(Bytes(2 << 30)));
        for text in ["", "M", "-1M", "1T", "99999999999G", "1.5G"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_none_is_answered_with_those_that_are() {
        let line = "bbr".parse::<Congestion>().unwrap_err().to_string();
        assert_eq!(line, "there is no congestion control 'bbr': choose from cubic, newreno");
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_a_sentence(text in "\\PC{0,20}") {
            let _ = (text.parse::<Cidr>(), text.parse::<LinkChoice>(), text.parse::<Bytes>());
            let _ = (text.parse::<AdminChoice>(), text.parse::<PortChoice>(), text.parse::<LogChoice>());
        }

        #[test]
        fn a_neighbour_is_another_host_of_the_same_network(bits in any::<u32>(), prefix in 8_u8..=30) {
            if let Ok(ours) = format!("{}/{prefix}", Ipv4Addr::from(bits)).parse::<Cidr>() {
                let kernel = ours.neighbour();
                prop_assert_ne!(ours.address, kernel.address);
                prop_assert!(ours.overlaps(kernel));
                prop_assert!(kernel.to_string().parse::<Cidr>().is_ok(), "{}", kernel);
            }
        }
    }
}
