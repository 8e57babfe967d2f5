//! The header (RFC 1035 §4.1.1, RFC 6895 §2).
//!
//! ```text
//!   0     id
//!   2     QR │ opcode (4) │ AA │ TC │ RD      RA │ Z │ AD │ CD │ rcode (4)
//!   4     QDCOUNT   6  ANCOUNT   8  NSCOUNT   10  ARCOUNT
//! ```

/// A header, in bytes.
pub const HEADER_BYTES: usize = 12;

/// What a message is for (RFC 6895 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A standard query.
    pub const QUERY: Self = Self(0);
    /// A zone has changed (RFC 1996).
    pub const NOTIFY: Self = Self(4);
    /// A dynamic update (RFC 2136), which we do not take.
    pub const UPDATE: Self = Self(5);
}

/// What came of a query (RFC 6895 §2.3), with the upper eight bits that EDNS adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The query could not be read.
    pub const FORMERR: Self = Self(1);
    /// We are to blame.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// We do not do that.
    pub const NOTIMP: Self = Self(4);
    /// We do not do that for you, or not for that name.
    pub const REFUSED: Self = Self(5);
    /// A name that a DNAME makes longer than names are (RFC 6672 §2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// Not authoritative, or (RFC 8945) not authorised.
    pub const NOTAUTH: Self = Self(9);
    /// An EDNS version above ours (RFC 6891 §6.1.3).
    pub const BADVERS: Self = Self(16);
    /// A cookie that is required and wrong (RFC 7873 §8).
    pub const BADCOOKIE: Self = Self(23);

    /// The mnemonic, where there is one.
    #[must_use]
    pub const fn mnemonic(self) -> Option<&'static str> {
        Some(match self {
            Self::NOERROR => "NOERROR",
            Self::FORMERR => "FORMERR",
            Self::SERVFAIL => "SERVFAIL",
            Self::NXDOMAIN => "NXDOMAIN",
            Self::NOTIMP => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::YXDOMAIN => "YXDOMAIN",
            Self::NOTAUTH => "NOTAUTH",
            Self::BADVERS => "BADVERS",
            Self::BADCOOKIE => "BADCOOKIE",
            _ => return None,
        })
    }

    /// The four bits that stand in the header.
    #[must_use]
    pub const fn low(self) -> u16 {
        self.0 & 15
    }

    /// The eight bits that stand in the OPT record.
    #[must_use]
    pub const fn high(self) -> u8 {
        self.0.to_be_bytes()[1] >> 4 | self.0.to_be_bytes()[0] << 4
    }
}

/// The second word of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// A response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired: copied into the response.
    pub const RD: u16 = 0x0100;
    /// Recursion available: never here.
    pub const RA: u16 = 0x0080;
    /// Authentic data.
    pub const AD: u16 = 0x0020;
    /// Checking disabled.
    pub const CD: u16 = 0x0010;

    /// Whether all of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// The opcode.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode(self.0.to_be_bytes()[0] >> 3 & 15)
    }

    /// The lower four bits of the response code.
    #[must_use]
    pub const fn rcode(self) -> Rcode {
        Rcode(self.0 & 15)
    }

    /// What a response to a query with these flags begins with: QR, the opcode and RD; AD and CD are cleared, as
    /// RFC 4035 §3.1.6 says of authoritative servers, and Z too (RFC 6895 §2.1).
    #[must_use]
    pub const fn of_response(self) -> Self {
        Self(Self::QR | self.0 & 0x7900)
    }

    /// The same with `bits` and a response code.
    #[must_use]
    pub const fn with(self, bits: u16, rcode: Rcode) -> Self {
        Self(self.0 | bits | rcode.low())
    }
}

/// A header as a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Copied from a query into its response.
    pub id: u16,
    /// The second word.
    pub flags: Flags,
    /// Questions.
    pub qdcount: u16,
    /// Records of the answer section.
    pub ancount: u16,
    /// Records of the authority section.
    pub nscount: u16,
    /// Records of the additional section.
    pub arcount: u16,
}

impl Header {
    /// Reads the first twelve bytes; nothing when there are fewer.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let bytes = message.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            id: word(0),
            flags: Flags(word(2)),
            qdcount: word(4),
            ancount: word(6),
            nscount: word(8),
            arcount: word(10),
        })
    }

    /// The twelve bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let Self { id, flags, qdcount, ancount, nscount, arcount } = *self;
        let mut bytes = [0; HEADER_BYTES];
        for (room, word) in
            bytes.as_chunks_mut::<2>().0.iter_mut().zip([id, flags.0, qdcount, ancount, nscount, arcount])
        {
            *room = word.to_be_bytes();
        }
        bytes
    }
}
