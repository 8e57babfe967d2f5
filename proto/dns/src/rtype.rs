//! Types and classes of records (RFC 6895 §3), with the mnemonics that people write.

use core::fmt;

/// A type of record, or of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtype(pub u16);

macro_rules! rtypes {
    ($($name:ident = $value:literal, $doc:literal;)*) => {
        impl Rtype {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*
        }
        const MNEMONICS: &[(&str, Rtype)] = &[$((stringify!($name), Rtype::$name)),*];
    };
}

rtypes! {
    A = 1, "An IPv4 address (RFC 1035 §3.4.1).";
    NS = 2, "A name server (RFC 1035 §3.3.11).";
    MD = 3, "Obsolete: a mail destination.";
    MF = 4, "Obsolete: a mail forwarder.";
    CNAME = 5, "The canonical name (RFC 1035 §3.3.1).";
    SOA = 6, "The start of a zone of authority (RFC 1035 §3.3.13).";
    MB = 7, "Experimental: a mailbox.";
    MG = 8, "Experimental: a mail group.";
    MR = 9, "Experimental: a renamed mailbox.";
    NULL = 10, "Experimental: anything.";
    WKS = 11, "Well-known services.";
    PTR = 12, "A pointer to a name (RFC 1035 §3.3.12).";
    HINFO = 13, "About a host; and the smallest answer to ANY (RFC 8482).";
    MINFO = 14, "Experimental: mailbox information.";
    MX = 15, "A mail exchange (RFC 1035 §3.3.9).";
    TXT = 16, "Text.";
    RP = 17, "A responsible person (RFC 1183).";
    AFSDB = 18, "An AFS database (RFC 1183).";
    SIG = 24, "An old signature; with type covered 0 a transaction's (RFC 2931).";
    AAAA = 28, "An IPv6 address (RFC 3596).";
    LOC = 29, "A place on Earth.";
    SRV = 33, "Where a service is (RFC 2782).";
    NAPTR = 35, "A rule for rewriting names (RFC 3403).";
    KX = 36, "A key exchanger (RFC 2230).";
    CERT = 37, "A certificate.";
    DNAME = 39, "Another name for a whole subtree (RFC 6672).";
    OPT = 41, "EDNS, which is no record at all (RFC 6891).";
    DS = 43, "A child's key, said by its parent (RFC 4034 §5).";
    SSHFP = 44, "A key of SSH.";
    RRSIG = 46, "A signature (RFC 4034 §3).";
    NSEC = 47, "The next name (RFC 4034 §4).";
    DNSKEY = 48, "A key (RFC 4034 §2).";
    NSEC3 = 50, "The next hash of a name (RFC 5155 §3).";
    NSEC3PARAM = 51, "How names are hashed (RFC 5155 §4).";
    TLSA = 52, "A certificate of TLS.";
    CDS = 59, "The DS that a child wants.";
    CDNSKEY = 60, "The same, as a key.";
    ZONEMD = 63, "A digest of the zone.";
    SVCB = 64, "How to reach a service (RFC 9460).";
    HTTPS = 65, "The same for HTTP (RFC 9460).";
    SPF = 99, "Obsolete.";
    TKEY = 249, "A key for transactions.";
    TSIG = 250, "A signature of a transaction (RFC 8945).";
    IXFR = 251, "What has changed in a zone (RFC 1995).";
    AXFR = 252, "All of a zone (RFC 5936).";
    MAILB = 253, "Obsolete: any of the mailbox types.";
    MAILA = 254, "Obsolete: any mail agent.";
    ANY = 255, "Whatever there is (RFC 8482).";
    CAA = 257, "Who may issue certificates.";
}

impl Rtype {
    /// Whether names in its data may be compressed (RFC 3597 §4): only in the types of RFC 1035.
    #[must_use]
    pub const fn is_compressible(self) -> bool {
        matches!(
            self,
            Self::NS
                | Self::MD
                | Self::MF
                | Self::CNAME
                | Self::SOA
                | Self::MB
                | Self::MG
                | Self::MR
                | Self::PTR
                | Self::MINFO
                | Self::MX
        )
    }

    /// Where the names in its data stand that additional records are looked up for, counted from the data's first
    /// byte: NS, MX, SRV, SVCB and HTTPS (RFC 1034 §4.3.2 step 6, RFC 2782, RFC 9460 §4.1).
    #[must_use]
    pub const fn target_offset(self) -> Option<usize> {
        match self {
            Self::NS | Self::MD | Self::MF | Self::MB => Some(0),
            Self::MX | Self::AFSDB | Self::KX | Self::SVCB | Self::HTTPS => Some(2),
            Self::SRV => Some(6),
            _ => None,
        }
    }

    /// Not data but a question about data: types 128 to 255 (RFC 6895 §3.1), and OPT.
    #[must_use]
    pub const fn is_meta(self) -> bool {
        self.0 >= 128 && self.0 <= 255 || self.0 == 41
    }

    /// The type that a mnemonic, or `TYPE123` (RFC 3597 §5), stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if let Some((_, rtype)) = MNEMONICS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Some(*rtype);
        }
        let (prefix, number) = text.split_at_checked(4)?;
        if prefix.eq_ignore_ascii_case("TYPE") { number.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(_, rtype)| rtype == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// A class of records, or of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaosnet: what servers say of themselves (RFC 4892).
    pub const CH: Self = Self(3);
    /// No class (RFC 2136).
    pub const NONE: Self = Self(254);
    /// Any class.
    pub const ANY: Self = Self(255);
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IN => f.pad("IN"),
            Self::CH => f.pad("CH"),
            Self::NONE => f.pad("NONE"),
            Self::ANY => f.pad("ANY"),
            Self(other) => write!(f, "CLASS{other}"),
        }
    }
}
