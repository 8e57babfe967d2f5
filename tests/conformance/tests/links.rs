//! Every link, held to the trait's promises.

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::os::fd::OwnedFd;

    use conformance::{LinkFixture, link_suite};
    use dma::{Pool, PoolLayout};
    use link_memory::{MemoryLink, MemoryLinkConfig, pair};
    use link_tap::{TapDevice, TapLink, TapSetup};
    use netlink::{LinkChange, Netlink};
    use platform::Link;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use vnet::{Submission, VnetConfig, VnetQueue};

    fn pool() -> Pool {
        Pool::new(PoolLayout { large_count: 16, small_count: 0 }).unwrap()
    }

    struct Ends<L, P> {
        link: L,
        peer: P,
        pool: Pool,
        /// Zero for ends that see each other's packets at once.
        delay: Duration,
        /// What is put away after the ends are closed.
        _leftover: Leftover,
    }

    impl<L: Link, P: Link> LinkFixture for Ends<L, P> {
        type Link = L;
        type Peer = P;
        fn link(&mut self) -> &mut L {
            &mut self.link
        }
        fn peer(&mut self) -> &mut P {
            &mut self.peer
        }
        fn pool(&self) -> &Pool {
            &self.pool
        }
        fn settle(&mut self) {
            std::thread::sleep(self.delay);
        }
    }

    /// An interface to be deleted.
    #[derive(Default)]
    struct Leftover(Option<String>);

    impl Drop for Leftover {
        fn drop(&mut self) {
            if let Some(name) = &self.0 {
                let _ = Netlink::open().and_then(|mut netlink| netlink.delete_link(name));
            }
        }
    }

    #[test]
    fn a_link_in_memory_keeps_its_promises() {
        link_suite(|| -> Ends<MemoryLink, MemoryLink> {
            let (link, peer) = pair(64, MemoryLinkConfig::default());
            Ends { link, peer, pool: pool(), delay: Duration::ZERO, _leftover: Leftover::default() }
        });
    }

    /// Two queues at the ends of a socket pair, which like a TAP queue takes and gives one packet per call.
    fn socket_pair(submission: Submission) -> Ends<VnetQueue, VnetQueue> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let open = |fd: OwnedFd, last| {
            let mac = [2, 0, 0, 0, 0, last];
            VnetQueue::open(fd, VnetConfig { mac, submission, capacity: 96, ..Default::default() }).unwrap()
        };
        let (link, peer) = (open(one, 1), open(other, 2));
        Ends { link, peer, pool: pool(), delay: Duration::ZERO, _leftover: Leftover::default() }
    }

    #[test]
    fn virtio_net_headers_through_system_calls_keep_their_promises() {
        link_suite(|| socket_pair(Submission::Syscalls));
    }

    #[test]
    fn virtio_net_headers_through_io_uring_keep_their_promises() {
        link_suite(|| socket_pair(Submission::Uring));
    }

    /// A TAP device, and a packet socket on the kernel's side of it.
    fn tap(submission: Submission) -> Ends<TapLink, VnetQueue> {
        let (mut device, mut queues) = TapDevice::create(None, 1).unwrap();
        device.bring_up(TapSetup::default()).unwrap();
        let config = VnetConfig { submission, ..Default::default() };
        let link = queues.pop().unwrap().open(config).unwrap();
        let peer = link_packet::open(device.name(), 1).unwrap().pop().unwrap().open(config).unwrap();
        Ends { link, peer, pool: pool(), delay: Duration::from_millis(1), _leftover: Leftover::default() }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_tap_device_keeps_its_promises() {
        link_suite(|| tap(Submission::Uring));
    }

    #[test]
    #[ignore = "needs root"]
    fn a_tap_device_without_io_uring_keeps_its_promises() {
        link_suite(|| tap(Submission::Syscalls));
    }

    #[test]
    #[ignore = "needs root"]
    fn a_tap_device_is_gone_when_its_queues_are() {
        let (device, mut queues) = TapDevice::create(None, 2).unwrap();
        let name = device.name().to_owned();
        let second = queues.pop().unwrap().open(VnetConfig::default()).unwrap();
        drop(queues);
        assert!(Netlink::open().unwrap().link(&name).unwrap().is_some(), "one queue is open");
        drop(second);
        assert_eq!(Netlink::open().unwrap().link(&name).unwrap(), None);
        let (again, _queues) = TapDevice::create(Some(&name), 1).unwrap();
        assert_eq!(again.name(), name);
    }

    #[test]
    #[ignore = "needs root"]
    fn a_tap_device_has_the_addresses_that_it_is_given() {
        let (mut device, _queues) = TapDevice::create(None, 1).unwrap();
        device.bring_up(TapSetup { mtu: 9_000, ..Default::default() }).unwrap();
        let v4 = "198.18.213.1".parse().unwrap();
        let v6 = "fd00:a71a:5::1".parse().unwrap();
        device.add_address(v4, 24).unwrap();
        device.add_address(v6, 64).unwrap();
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link(device.name()).unwrap().unwrap();
        assert_eq!((link.mtu, link.up, link.mac), (9_000, true, device.kernel_mac()));
        let addresses = netlink.addresses().unwrap();
        for (address, prefix) in [(v4, 24), (v6, 64)] {
            assert!(addresses.iter().any(|found| {
                found.index == device.index() && found.address == address && found.prefix == prefix
            }));
        }
        assert_ne!(device.mac(), device.kernel_mac());
        assert!(device.add_address(v4, 24).unwrap_err().to_string().contains("198.18.213.1/24"));
    }

    /// A packet socket on each end of a veth pair.
    fn veth(submission: Submission) -> Ends<VnetQueue, VnetQueue> {
        let one = format!("cv{}a", std::process::id() % 100_000_000);
        let other = format!("cv{}b", std::process::id() % 100_000_000);
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth(&one, &other).unwrap();
        let leftover = Leftover(Some(one.clone()));
        let up = LinkChange { up: Some(true), ..Default::default() };
        netlink.change_link(&one, up).unwrap();
        netlink.change_link(&other, up).unwrap();
        let config = VnetConfig { submission, ..Default::default() };
        let open = |name: &str| link_packet::open(name, 1).unwrap().pop().unwrap().open(config).unwrap();
        let (link, peer) = (open(&one), open(&other));
        Ends { link, peer, pool: pool(), delay: Duration::from_millis(1), _leftover: leftover }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_packet_socket_keeps_its_promises() {
        link_suite(|| veth(Submission::Uring));
    }

    #[test]
    #[ignore = "needs root"]
    fn sockets_of_one_interface_share_its_flows() {
        let ends = veth(Submission::Syscalls);
        let name = ends._leftover.0.as_deref().unwrap();
        assert_eq!(link_packet::open(name, 3).unwrap().len(), 3);
    }
}
