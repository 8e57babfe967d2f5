//! EDNS (RFC 6891): the OPT pseudo-record and the options that an authoritative server knows.
//!
//! ```text
//! ├ 0 ┼ 41 ┼ UDP size ┼ upper rcode │ version │ DO, Z ┼ rdlength ┼ code ┼ length ┼ data … ┼ code …
//! ```

use core::net::IpAddr;

/// Extension mechanism options that are looked at (RFC 6895 §3.1.4).
pub mod code {
    /// Which server this is (RFC 5001).
    pub const NSID: u16 = 3;
    /// Whose query this is, by network (RFC 7871).
    pub const ECS: u16 = 8;
    /// Cookies (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// How long an idle connection is kept (RFC 7828).
    pub const KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830): only where the transport is sealed.
    pub const PADDING: u16 = 12;
    /// What went wrong, for people (RFC 8914).
    pub const EDE: u16 = 15;
}

/// The bit of the extended flags that asks for DNSSEC (RFC 3225).
pub const DO: u16 = 0x8000;

/// An OPT record without options, in bytes.
pub const OPT_BYTES: usize = 11;

/// What a query said in its OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message that the sender takes, 512 or more.
    pub udp_bytes: u16,
    /// Its version; anything but 0 is answered with BADVERS.
    pub version: u8,
    /// It wants signatures.
    pub dnssec: bool,
    /// It wants to know which server this is.
    pub nsid: bool,
    /// It wants to know how long a connection is kept.
    pub keepalive: bool,
    /// Its cookies.
    pub cookie: Option<Cookies>,
    /// For whom it asks.
    pub ecs: Option<ClientSubnet>,
}

/// The cookies of a query (RFC 7873 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// The client's.
    pub client: [u8; 8],
    /// Ours, if it came with one: the first sixteen bytes.
    pub server: [u8; 16],
    /// How many bytes it has: 0, or 8 to 32.
    pub server_bytes: u8,
}

/// The network that a query is asked for (RFC 7871 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    /// The address, zero behind the prefix.
    pub address: IpAddr,
    /// SOURCE PREFIX-LENGTH.
    pub source_prefix: u8,
}

/// The OPT record cannot be read: FORMERR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption;

impl Edns {
    /// What the fixed part of the record says: its class and its TTL.
    #[must_use]
    pub fn from_fixed(class: u16, ttl: u32) -> Self {
        let [_, version, ..] = ttl.to_be_bytes();
        Self {
            // RFC 6891 §6.2.3: values below 512 are treated as 512.
            udp_bytes: class.max(512),
            version,
            dnssec: ttl & u32::from(DO) != 0,
            nsid: false,
            keepalive: false,
            cookie: None,
            ecs: None,
        }
    }

    /// Reads the options. One that is not known is passed over (RFC 6891 §6.1.2).
    ///
    /// # Errors
    /// An option ends behind the record, or says what its RFC wants answered with FORMERR.
    pub fn read_options(&mut self, rdata: &[u8]) -> Result<(), BadOption> {
        let mut rest = rdata;
        while !rest.is_empty() {
            let Some((&[c0, c1, l0, l1], behind)) = rest.split_first_chunk::<4>() else {
                return Err(BadOption);
            };
            let bytes = usize::from(u16::from_be_bytes([l0, l1]));
            let (data, behind) = behind.split_at_checked(bytes).ok_or(BadOption)?;
            rest = behind;
            match u16::from_be_bytes([c0, c1]) {
                code::NSID => self.nsid = true,
                code::KEEPALIVE => self.keepalive = true,
                // RFC 7873 §5.2: only the first counts.
                code::COOKIE if self.cookie.is_none() => self.cookie = Some(Cookies::parse(data)?),
                code::ECS if self.ecs.is_none() => self.ecs = Some(ClientSubnet::parse(data)?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Cookies {
    /// # Errors
    /// Neither 8 bytes nor 16 to 40 (RFC 7873 §5.2.2).
    fn parse(data: &[u8]) -> Result<Self, BadOption> {
        let (client, theirs) = data.split_first_chunk::<8>().ok_or(BadOption)?;
        if !matches!(theirs.len(), 0 | 8..=32) {
            return Err(BadOption);
        }
        let mut server = [0; 16];
        let known = theirs.len().min(16);
        server[..known].copy_from_slice(&theirs[..known]);
        let server_bytes = u8::try_from(theirs.len()).map_err(|_| BadOption)?;
        Ok(Self { client: *client, server, server_bytes })
    }
}

impl ClientSubnet {
    /// # Errors
    /// An unknown family, a prefix longer than its address, a scope in a query, too few or too many bytes of address,
    /// or bits behind the prefix (RFC 7871 §7.1.2 and §6).
    fn parse(data: &[u8]) -> Result<Self, BadOption> {
        let Some((&[f0, f1, source_prefix, scope], bytes)) = data.split_first_chunk::<4>() else {
            return Err(BadOption);
        };
        let bits = match [f0, f1] {
            [0, 1] => 32,
            [0, 2] => 128,
            _ => return Err(BadOption),
        };
        if scope != 0 || source_prefix > bits || bytes.len() != usize::from(source_prefix.div_ceil(8)) {
            return Err(BadOption);
        }
        if let (Some(last), bits @ 1..) = (bytes.last(), source_prefix % 8)
            && last << bits != 0
        {
            return Err(BadOption);
        }
        let mut octets = [0; 16];
        octets[..bytes.len()].copy_from_slice(bytes);
        let address = if bits == 32 {
            IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
        } else {
            IpAddr::from(octets)
        };
        Ok(Self { address, source_prefix })
    }

    /// The option for the response: as it was asked, with our SCOPE PREFIX-LENGTH.
    ///
    /// Returns how many bytes of `out` it takes; nothing when they are too few.
    #[must_use]
    pub fn emit(&self, scope: u8, out: &mut [u8]) -> Option<usize> {
        let bytes = usize::from(self.source_prefix.div_ceil(8));
        let (family, octets) = match self.address {
            IpAddr::V4(v4) => (1, v4.to_ipv6_compatible().octets()),
            IpAddr::V6(v6) => (2, v6.octets()),
        };
        let octets = if family == 1 { &octets[12..] } else { &octets[..] };
        let length = u8::try_from(4 + bytes).ok()?;
        let room = out.get_mut(..8 + bytes)?;
        room[..8].copy_from_slice(&[0, 8, 0, length, 0, family, self.source_prefix, scope]);
        room[8..].copy_from_slice(&octets[..bytes]);
        Some(8 + bytes)
    }
}

/// Writes an option; returns how many bytes it takes, nothing when they are too few.
#[must_use]
pub fn emit_option(code: u16, parts: &[&[u8]], out: &mut [u8]) -> Option<usize> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let length = u16::try_from(bytes).ok()?;
    let room = out.get_mut(..4 + bytes)?;
    room[..2].copy_from_slice(&code.to_be_bytes());
    room[2..4].copy_from_slice(&length.to_be_bytes());
    let mut at = 4;
    for part in parts {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Some(4 + bytes)
}

/// The first eleven bytes of the OPT record of a response.
#[must_use]
pub const fn emit_opt(udp_bytes: u16, rcode_high: u8, dnssec: bool, options_bytes: u16) -> [u8; OPT_BYTES] {
    let [s0, s1] = udp_bytes.to_be_bytes();
    let [o0, o1] = options_bytes.to_be_bytes();
    [0, 0, 41, s0, s1, rcode_high, 0, if dnssec { 0x80 } else { 0 }, 0, o0, o1]
}
