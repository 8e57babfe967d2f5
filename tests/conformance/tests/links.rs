//! Every link, held to the trait's promises.

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use conformance::{LinkFixture, link_suite};
    use dma::{Pool, PoolLayout};
    use link_memory::{MemoryLink, MemoryLinkConfig, pair};
    use link_packet::{PacketConfig, PacketLink, Rings};
    use link_tap::{TapDevice, TapLink, TapSetup};
    use netlink::{LinkChange, Netlink};
    use platform::Link;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::time::Timespec;
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

    #[test]
    fn a_link_in_memory_with_slots_keeps_its_promises() {
        for slots in [40, 100] {
            link_suite(|| -> Ends<MemoryLink, MemoryLink> {
                let (link, peer) = pair(64, MemoryLinkConfig { slots, ..Default::default() });
                Ends { link, peer, pool: pool(), delay: Duration::ZERO, _leftover: Leftover::default() }
            });
        }
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
        let peer = link_packet::sockets(device.name(), 1).unwrap().pop().unwrap().open(config).unwrap();
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

    /// A veth pair whose ends are up, deleted with the last value.
    fn veth() -> (String, String, Leftover) {
        let one = format!("cv{}a", std::process::id() % 100_000_000);
        let other = format!("cv{}b", std::process::id() % 100_000_000);
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth(&one, &other).unwrap();
        let leftover = Leftover(Some(one.clone()));
        let up = LinkChange { up: Some(true), ..Default::default() };
        netlink.change_link(&one, up).unwrap();
        netlink.change_link(&other, up).unwrap();
        (one, other, leftover)
    }

    fn socket(name: &str, submission: Submission) -> VnetQueue {
        let config = VnetConfig { submission, ..Default::default() };
        link_packet::sockets(name, 1).unwrap().pop().unwrap().open(config).unwrap()
    }

    /// A packet socket on each end of a veth pair.
    fn sockets(submission: Submission) -> Ends<VnetQueue, VnetQueue> {
        let (one, other, leftover) = veth();
        let (link, peer) = (socket(&one, submission), socket(&other, submission));
        Ends { link, peer, pool: pool(), delay: Duration::from_millis(1), _leftover: leftover }
    }

    /// A sleeper would wake up.
    fn is_ready(descriptor: BorrowedFd<'_>) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&now)).unwrap() > 0
    }

    /// Rings on one end of a veth pair, and a packet socket on the other.
    fn rings(config: PacketConfig) -> Ends<PacketLink, VnetQueue> {
        let (one, other, leftover) = veth();
        let pool = pool();
        let link = link_packet::open(&one, 1).unwrap().pop().unwrap().open(&pool, config).unwrap();
        let peer = socket(&other, Submission::Syscalls);
        Ends { link, peer, pool, delay: Duration::from_millis(1), _leftover: leftover }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_packet_socket_without_rings_keeps_its_promises() {
        link_suite(|| sockets(Submission::Uring));
    }

    #[test]
    #[ignore = "needs root"]
    fn a_ring_of_slots_keeps_its_promises() {
        link_suite(|| rings(PacketConfig::default()));
    }

    #[test]
    #[ignore = "needs root"]
    fn a_merged_packet_that_no_frame_takes_arrives_whole_and_in_its_place() {
        let mut ends = rings(PacketConfig::default());
        let mut queue = vec![1_u8, 40, 2, 3, 60, 4].into_iter();
        let macs = [ends.link.capabilities().mac, ends.peer.capabilities().mac].concat();
        let sizes: Vec<usize> = queue.by_ref().map(|kilo| usize::from(kilo) * 1_000).collect();
        for size in &sizes {
            let mut parts = platform::Parts::new();
            let mut left = *size;
            while left > 0 {
                let mut frame = ends.pool.acquire_large().unwrap();
                let len = left.min(16_000);
                frame.bytes_mut()[..len].fill(u8::try_from(size / 1_000).unwrap());
                parts.push(platform::Part {
                    frame: frame.share(),
                    start: 0,
                    len: u32::try_from(len).unwrap(),
                });
                left -= len;
            }
            let total = u16::try_from(40 + size).unwrap().to_be_bytes();
            let mut head = [&macs[..], &[8, 0, 0x45, 0], &total, &[0, 1, 0x40, 0, 64, 6, 0, 0]].concat();
            head.extend([
                198, 18, 9, 1, 198, 18, 9, 2, 0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 1, 0, 0,
                0, 0,
            ]);
            let mut headers = platform::Headers::new();
            headers.room_mut()[..head.len()].copy_from_slice(&head);
            headers.set_len(head.len());
            let offload = platform::Offload {
                checksum: Some(platform::ChecksumOffload { start: 34, field: 16 }),
                segmentation: (*size > 1_460).then_some(platform::Segmentation { mss: 1_460, ipv6: false }),
            };
            ends.peer.stage(&mut platform::Packet { headers, parts, offload }).unwrap();
            ends.peer.flush();
            ends.peer.reclaim();
        }
        std::thread::sleep(Duration::from_millis(20));
        let mut seen = Vec::new();
        while let Some(received) = ends.link.receive() {
            if received.bytes.get(26..30) == Some(&[198, 18, 9, 1]) {
                let payload = &received.bytes[54..];
                assert!(payload.iter().all(|byte| usize::from(*byte) * 1_000 == payload.len()));
                assert!(received.verified, "its checksum was left to the link");
                seen.push(payload.len());
            }
        }
        assert_eq!(seen, sizes);
        assert_eq!(ends.link.counters().receive_errors, 0);
    }

    #[test]
    #[ignore = "needs root"]
    fn what_is_for_other_hardware_addresses_is_not_looked_at() {
        let mut ends = rings(PacketConfig::default());
        let [ours, theirs] = [ends.link.capabilities().mac, ends.peer.capabilities().mac];
        let mut near = ours;
        near[5] ^= 1;
        for to in [near, [0x02, 1, 2, 3, 4, 5], ours, [0xff; 6], [0x33, 0x33, 0, 0, 0, 1]] {
            let bytes = [&to[..], &theirs, &[0x88, 0xb5], &to, &[0; 60]].concat();
            ends.peer.stage_bytes(&bytes).unwrap();
        }
        ends.peer.flush();
        std::thread::sleep(Duration::from_millis(20));
        let mut seen = Vec::new();
        while let Some(received) = ends.link.receive() {
            if received.bytes.get(12..14) == Some(&[0x88, 0xb5]) {
                seen.push(received.bytes[14..20].to_vec());
            }
        }
        assert_eq!(seen, [ours.to_vec(), vec![0xff; 6], vec![0x33, 0x33, 0, 0, 0, 1]]);
    }

    #[test]
    #[ignore = "needs root"]
    fn an_interface_that_goes_down_loses_packets_and_comes_back() {
        let mut ends = rings(PacketConfig::default());
        let name = ends._leftover.0.clone().unwrap();
        let set = |up| {
            let change = LinkChange { up: Some(up), ..Default::default() };
            Netlink::open().unwrap().change_link(&name, change).unwrap();
        };
        let bytes = [&[0xff; 6][..], &[2; 6], &[0x88, 0xb5], &[7; 60]].concat();
        set(false);
        for _ in 0..2 {
            let asleep = !is_ready(ends.link.descriptor().unwrap());
            assert!(asleep && !ends.link.is_lost(), "down, and not gone");
        }
        ends.link.stage_bytes(&bytes).unwrap();
        ends.link.flush();
        ends.link.reclaim();
        assert_eq!((ends.link.in_flight(), ends.link.counters().send_errors), (0, 1));
        set(true);
        std::thread::sleep(Duration::from_millis(50));
        let before = ends.link.counters().sent;
        ends.link.stage_bytes(&bytes).unwrap();
        ends.link.flush();
        assert_eq!(ends.link.counters().sent, before + 1);
        while let Some(_packet) = ends.peer.receive() {}
        ends.peer.stage_bytes(&bytes).unwrap();
        ends.peer.flush();
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            core::iter::from_fn(|| ends.link.receive().map(|got| got.bytes.to_vec())).any(|got| got == bytes)
        );
    }

    #[test]
    #[ignore = "needs root"]
    fn an_interface_that_is_removed_is_lost_and_another_takes_its_place() {
        let mut ends = rings(PacketConfig::default());
        let bytes = [&[0xff; 6][..], &[2; 6], &[0x88, 0xb5], &[7; 60]].concat();
        ends._leftover = Leftover::default();
        assert!(!is_ready(ends.link.descriptor().unwrap()), "an error that nobody takes");
        assert!(ends.link.is_lost());
        ends.link.stage_bytes(&bytes).unwrap();
        ends.link.flush();
        assert_eq!((ends.link.reclaim(), ends.link.counters().send_errors), (1, 1));
        assert!(ends.link.is_lost());

        let (one, other, leftover) = veth();
        ends._leftover = leftover;
        let mac = ends.link.capabilities().mac;
        let queues = link_packet::open_as(&one, 1, Rings::default(), Some(mac)).unwrap();
        let descriptors = queues.into_iter().next().unwrap().into_descriptors();
        ends.link.reopen(descriptors, mac, 1_500).unwrap();
        ends.peer = socket(&other, Submission::Syscalls);
        assert!(!ends.link.is_lost());
        ends.link.stage_bytes(&bytes).unwrap();
        ends.link.flush();
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            core::iter::from_fn(|| ends.peer.receive().map(|got| got.bytes.to_vec())).any(|got| got == bytes)
        );
        assert_eq!(ends.link.counters().send_errors, 1, "counters go on");
    }

    #[test]
    #[ignore = "needs root"]
    fn flows_are_spread_over_the_queues_of_an_interface_and_none_changes_its_own() {
        let (one, other, _leftover) = veth();
        let pool = pool();
        let mut links: Vec<PacketLink> = link_packet::open(&one, 3)
            .unwrap()
            .into_iter()
            .map(|queue| queue.open(&pool, PacketConfig::default()).unwrap())
            .collect();
        let mut peer = socket(&other, Submission::Syscalls);
        let mac = links[0].capabilities().mac;
        let mut seen = std::collections::BTreeMap::<u16, Vec<usize>>::new();
        for round in 0..4_u8 {
            for port in 40_000..40_064_u16 {
                let mut bytes =
                    [&mac[..], &[2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 60, 0, round, 0x40, 0, 64, 6]].concat();
                bytes.extend([0, 0, 198, 18, 9, 1, 198, 18, 9, 2]);
                bytes.extend(port.to_be_bytes());
                bytes.extend([1, 187, 0, 0, 0, round, 0, 0, 0, 1, 0x50, 0x10, 1, 1, 0, 0, 0, 0]);
                bytes.resize(74, 0);
                peer.stage_bytes(&bytes).unwrap();
            }
            peer.flush();
            peer.reclaim();
            std::thread::sleep(Duration::from_millis(20));
            for (number, link) in links.iter_mut().enumerate() {
                while let Some(received) = link.receive() {
                    if let Some([high, low]) = received.bytes.get(34..36) {
                        seen.entry(u16::from_be_bytes([*high, *low])).or_default().push(number);
                    }
                }
            }
        }
        let flows: Vec<&Vec<usize>> = (40_000..40_064).map(|port| &seen[&port]).collect();
        assert!(flows.iter().all(|queues| queues.len() == 4), "a packet was lost or came twice");
        assert!(flows.iter().all(|queues| queues.iter().all(|queue| *queue == queues[0])));
        for number in 0..3 {
            assert!(flows.iter().any(|queues| queues[0] == number), "queue {number} has no flow");
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn sockets_of_one_interface_share_its_flows() {
        let (name, _, _leftover) = veth();
        assert_eq!(link_packet::sockets(&name, 3).unwrap().len(), 3);
        assert_eq!(link_packet::open(&name, 3).unwrap().len(), 3);
    }
}
