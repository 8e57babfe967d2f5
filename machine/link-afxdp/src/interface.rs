//! What a link has to know of its interface.

use netlink::{Generic, Netlink};

use crate::AfxdpError;

/// An interface, as it was when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number in this namespace.
    pub index: u32,
    /// Its hardware address, which is ours as well.
    pub mac: [u8; 6],
    /// Largest IP packet.
    pub mtu: u16,
    /// Queues that packets arrive on: there is one socket to each.
    pub queues: u32,
    /// Whether its driver does zero-copy; `None` when the kernel does not tell (before 6.3).
    pub zero_copy: Option<bool>,
    /// Its driver computes checksums in zero-copy mode.
    pub checksum: bool,
    /// Descriptors that its driver takes for one packet in zero-copy mode.
    pub pieces_max: u32,
}

impl Interface {
    /// The interface of that name, which must be up.
    ///
    /// # Errors
    /// There is none, it is down, or it carries no Ethernet.
    pub fn named(name: &str) -> Result<Self, AfxdpError> {
        let named = || name.to_owned();
        let link = Netlink::open()?.link(name)?.ok_or_else(|| AfxdpError::NoInterface { name: named() })?;
        if !link.up {
            return Err(AfxdpError::Down { name: named() });
        }
        if link.mac == [0; 6] {
            return Err(AfxdpError::NotEthernet { name: named() });
        }
        let features = Generic::open()?.device_features(link.index)?;
        Ok(Self {
            index: link.index,
            mac: link.mac,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            queues: link.queues.rx.max(1),
            zero_copy: features.map(|features| features.xdp.zero_copy()),
            checksum: features.is_some_and(|features| features.xsk.checksum()),
            pieces_max: features.map_or(1, |features| features.zero_copy_segments_max.max(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_named() {
        let error = Interface::named("no-such-link").unwrap_err();
        assert_eq!(error.to_string(), "there is no interface no-such-link: `ip link` lists those there are");
    }

    #[test]
    fn the_loopback_carries_no_ethernet() {
        let error = Interface::named("lo").unwrap_err();
        assert!(matches!(error, AfxdpError::NotEthernet { .. } | AfxdpError::Down { .. }), "{error}");
    }
}
