//! The family `netdev` (linux/netdev.h): what a device can do with XDP.

use super::{Generic, find};
use crate::NetlinkError;
use crate::message::{u32_at, u64_at};

const FAMILY: &str = "netdev";
const DEV_GET: u8 = 1;
const A_IFINDEX: u16 = 1;
const A_XDP_FEATURES: u16 = 3;
const A_XDP_ZC_MAX_SEGS: u16 = 4;
const A_XSK_FEATURES: u16 = 6;

/// What a device's driver can do with XDP programs and AF_XDP sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatures {
    /// With programs.
    pub xdp: XdpFeatures,
    /// With what is sent through AF_XDP sockets.
    pub xsk: XskFeatures,
    /// Most pieces of one packet in zero-copy mode; 0 when there is no such mode.
    pub zero_copy_segments_max: u32,
}

/// `enum netdev_xdp_act`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Runs programs in the driver.
    #[must_use]
    pub const fn basic(self) -> bool {
        self.0 & 1 != 0
    }

    /// A program may redirect packets, which AF_XDP needs.
    #[must_use]
    pub const fn redirect(self) -> bool {
        self.0 & 2 != 0
    }

    /// AF_XDP sockets without a copy.
    #[must_use]
    pub const fn zero_copy(self) -> bool {
        self.0 & 8 != 0
    }

    /// Packets of several pieces may be received, so that the MTU may be larger than a page.
    #[must_use]
    pub const fn receives_pieces(self) -> bool {
        self.0 & 32 != 0
    }
}

/// `enum netdev_xsk_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskFeatures(pub u64);

impl XskFeatures {
    /// The device computes checksums of what is sent.
    #[must_use]
    pub const fn checksum(self) -> bool {
        self.0 & 2 != 0
    }
}

impl Generic {
    /// What the interface of this number can do with XDP. `None` when the kernel does not tell (before 6.3).
    ///
    /// # Errors
    /// There is no such interface, or the kernel refused the question.
    pub fn device_features(&mut self, index: u32) -> Result<Option<DeviceFeatures>, NetlinkError> {
        self.ask(
            FAMILY,
            DEV_GET,
            "ask what a device can do with XDP",
            |question| question.attribute_u32(A_IFINDEX, index),
            device_features,
        )
    }
}

pub(super) fn device_features(body: &[u8]) -> Option<DeviceFeatures> {
    let word = |kind| find(body, kind).and_then(|value| u64_at(value, 0));
    Some(DeviceFeatures {
        xdp: XdpFeatures(word(A_XDP_FEATURES)?),
        xsk: XskFeatures(word(A_XSK_FEATURES).unwrap_or(0)),
        zero_copy_segments_max: find(body, A_XDP_ZC_MAX_SEGS).and_then(|value| u32_at(value, 0)).unwrap_or(0),
    })
}
