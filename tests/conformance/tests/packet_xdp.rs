//! A packet socket's TX ring on one end of a veth pair, which receives through AF_XDP; a packet socket on the other.

#[cfg(test)]
mod veth;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use crate::veth::Veth;
    use conformance::{LinkFixture, link_suite};
    use dma::{Pool, PoolLayout};
    use link_afxdp::Interface;
    use link_packet::{PacketConfig, PacketLink, Rings};
    use platform::{ChecksumOffload, Headers, Link, Offload, Packet, Part, Segmentation};
    use vnet::{VnetConfig, VnetQueue};
    use xdp::{AttachMode, Attachment, Scope, Steering};

    struct Ends {
        link: PacketLink,
        peer: VnetQueue,
        pool: Pool,
        _attachment: Attachment,
        veth: Veth,
    }

    impl LinkFixture for Ends {
        type Link = PacketLink;
        type Peer = VnetQueue;
        fn link(&mut self) -> &mut PacketLink {
            &mut self.link
        }
        fn peer(&mut self) -> &mut VnetQueue {
            &mut self.peer
        }
        fn pool(&self) -> &Pool {
            &self.pool
        }
        fn settle(&mut self) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn socket(name: &str, mtu: u16) -> VnetQueue {
        let config = VnetConfig { mtu, ..VnetConfig::default() };
        link_packet::sockets(name, 1).unwrap().pop().unwrap().open(config).unwrap()
    }

    fn attach(name: &str, mode: AttachMode) -> (Steering, Attachment) {
        let steering = Steering::load(Scope::Everything, 1).unwrap();
        let attachment = steering.attach(Interface::named(name).unwrap().index, mode).unwrap();
        (steering, attachment)
    }

    fn ends(mtu: u16, mode: AttachMode) -> Ends {
        let veth = Veth::create("cp", u32::from(mtu));
        let config = PacketConfig { receive_chunks: 128, ..Default::default() };
        let layout = PoolLayout { large_count: 16, small_count: 0 };
        let pool = Pool::with_chunks(layout, config.receive_chunks).unwrap();
        let (steering, attachment) = attach(&veth.ours, mode);
        let queues = link_packet::open_through_xdp(&veth.ours, 1, Rings::default()).unwrap();
        let link = queues.into_iter().next().unwrap().open(&pool, config).unwrap();
        steering.insert(0, link.descriptor().unwrap()).unwrap();
        let peer = socket(&veth.theirs, mtu);
        Ends { link, peer, pool, _attachment: attachment, veth }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_ring_of_slots_beside_af_xdp_keeps_its_promises() {
        link_suite(|| ends(1_500, AttachMode::Native));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_ring_of_slots_beside_af_xdp_with_packets_in_several_pieces_keeps_its_promises() {
        link_suite(|| ends(9_000, AttachMode::Native));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_ring_of_slots_beside_the_generic_hook_keeps_its_promises() {
        link_suite(|| ends(1_500, AttachMode::Generic));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn what_is_received_through_af_xdp_is_seen_by_nobody_else() {
        let mut ends = ends(1_500, AttachMode::Native);
        let facts = ends.link.facts();
        assert!(facts.through_xdp && facts.offloaded && !facts.zero_copy);
        assert_eq!(ends.link.capabilities().mac, Interface::named(&ends.veth.ours).unwrap().mac);
        let mut other = socket(&ends.veth.ours, 1_500);
        let to = ends.link.capabilities().mac;
        let bytes = [&to[..], &[2; 6], &[0x88, 0xb5], &[7; 60]].concat();
        ends.peer.stage_bytes(&bytes).unwrap();
        ends.peer.flush();
        std::thread::sleep(Duration::from_millis(20));
        let ours = core::iter::from_fn(|| ends.link.receive().map(|got| got.bytes.to_vec()));
        assert!(ours.into_iter().any(|got| got == bytes));
        while let Some(got) = other.receive() {
            assert_ne!(got.bytes, bytes);
        }
    }

    /// A superframe of TCP over IPv4 to whoever listens.
    fn superframe(pool: &Pool, payload: &[u8]) -> Packet {
        let total = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
        let mut head = vec![0xff; 6];
        head.extend([2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0]);
        head.extend([198, 18, 9, 1, 198, 18, 9, 2, 0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1]);
        head.extend([0x50, 0x10, 1, 1, 0, 0, 0, 0]);
        let mut headers = Headers::new();
        headers.room_mut()[..head.len()].copy_from_slice(&head);
        headers.set_len(head.len());
        let parts = payload
            .chunks(16_384)
            .map(|piece| {
                let mut frame = pool.acquire_large().unwrap();
                frame.bytes_mut()[..piece.len()].copy_from_slice(piece);
                Part { frame: frame.share(), start: 0, len: u32::try_from(piece.len()).unwrap() }
            })
            .collect();
        let offload = Offload {
            checksum: Some(ChecksumOffload { start: 34, field: 16 }),
            segmentation: Some(Segmentation { mss: 1_460, ipv6: false }),
        };
        Packet { headers, parts, offload }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_device_that_loses_its_offloads_has_superframes_cut_in_software() {
        // At the start, and while the link is used: a program at the other end of the cable takes ours away.
        for early in [true, false] {
            let veth = Veth::create("cp", 1_500);
            let pool = Pool::new(PoolLayout { large_count: 16, small_count: 0 }).unwrap();
            let first = early.then(|| attach(&veth.theirs, AttachMode::Native));
            let queue = link_packet::open(&veth.ours, 1).unwrap().pop().unwrap();
            let mut link = queue.open(&pool, PacketConfig::default()).unwrap();
            let mut peer = socket(&veth.theirs, 1_500);
            let second = (!early).then(|| attach(&veth.theirs, AttachMode::Native));
            assert_eq!(link.facts().offloaded, !early);
            let payload: Vec<u8> = (0..=250).cycle().take(40_000).collect();
            link.stage(&mut superframe(&pool, &payload)).unwrap();
            for _ in 0..300 {
                link.flush();
            }
            assert!(!link.facts().offloaded);
            std::thread::sleep(Duration::from_millis(20));
            let mut came = Vec::new();
            while let Some(got) = peer.receive() {
                if got.bytes.get(26..30) == Some(&[198, 18, 9, 1]) {
                    assert!(got.bytes.len() <= 1_514);
                    came.extend_from_slice(&got.bytes[54..]);
                }
            }
            assert!(came == payload, "{} of {} bytes came", came.len(), payload.len());
            assert_eq!((link.counters().send_errors, link.counters().sent, link.reclaim()), (0, 1, 1));
            drop((first, second));
        }
    }
}
