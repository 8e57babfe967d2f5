//! Two interfaces that are each other's wire.

use netlink::{LinkChange, Netlink};

/// A veth pair, deleted when dropped.
pub(crate) struct Veth {
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl Veth {
    /// Two ends that are up. `prefix` keeps test programs apart that run side by side.
    pub(crate) fn create(prefix: &str, mtu: u32) -> Self {
        let name = |end| format!("{prefix}{}{end}", std::process::id() % 100_000_000);
        let pair = Self { ours: name('a'), theirs: name('b') };
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth(&pair.ours, &pair.theirs).unwrap();
        for end in [&pair.ours, &pair.theirs] {
            let change = LinkChange { up: Some(true), mtu: Some(mtu), ..Default::default() };
            netlink.change_link(end, change).unwrap();
        }
        pair
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Netlink::open().and_then(|mut netlink| netlink.delete_link(&self.ours));
    }
}
