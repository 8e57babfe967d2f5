//! AF_XDP on one end of a veth pair, a packet socket on the other.

#[cfg(test)]
mod veth;

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs::{self, File};
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use crate::veth::Veth;
    use conformance::{LinkFixture, link_suite};
    use disk_uring::{DiskUring, UringConfig};
    use dma::{HEADROOM_BYTES, Pool, PoolLayout, SharedFrame};
    use link_afxdp::{AfxdpConfig, AfxdpLink, AfxdpQueue, Interface, Summer};
    use netlink::{LinkChange, Netlink};
    use platform::{
        ChecksumOffload, Completion, Disk, Headers, Link, Offload, Open, Packet, Part, Read, Received,
        RootId, Target,
    };
    use vnet::{VnetConfig, VnetQueue};
    use xdp::{AttachMode, Attachment, CopyMode, Scope, Socket, SocketState, Steering};

    struct Ends {
        link: AfxdpLink,
        peer: VnetQueue,
        pool: Pool,
        _attachment: Attachment,
        veth: Veth,
    }

    impl LinkFixture for Ends {
        type Link = AfxdpLink;
        type Peer = VnetQueue;
        fn link(&mut self) -> &mut AfxdpLink {
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

    fn config() -> AfxdpConfig {
        AfxdpConfig { slots: 128, receive_chunks: 128, ..Default::default() }
    }

    fn ends(mtu: u32, mode: AttachMode, config: AfxdpConfig) -> Ends {
        let veth = Veth::create("cx", mtu);
        let layout = PoolLayout { large_count: 16, small_count: 0 };
        let pool = Pool::with_chunks(layout, config.chunk_count()).unwrap();
        let interface = Interface::named(&veth.ours).unwrap();
        let steering = Steering::load(Scope::Everything, 1).unwrap();
        let attachment = steering.attach(interface.index, mode).unwrap();
        let queue = AfxdpQueue::new(Socket::create().unwrap(), interface, 0);
        let link = queue.open(&pool, config).unwrap();
        steering.insert(0, link.descriptor().unwrap().as_fd()).unwrap();
        let peer = link_packet::sockets(&veth.theirs, 1)
            .unwrap()
            .pop()
            .unwrap()
            .open(VnetConfig::default())
            .unwrap();
        Ends { link, peer, pool, _attachment: attachment, veth }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn afxdp_in_copy_mode_keeps_its_promises() {
        link_suite(|| ends(1_500, AttachMode::Native, config()));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn afxdp_with_packets_in_several_buffers_keeps_its_promises() {
        link_suite(|| ends(9_000, AttachMode::Native, config()));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn afxdp_with_packets_in_one_buffer_keeps_its_promises() {
        let config = AfxdpConfig { single_buffer: true, ..config() };
        link_suite(|| ends(1_500, AttachMode::Native, config));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn afxdp_behind_the_generic_hook_keeps_its_promises() {
        link_suite(|| ends(1_500, AttachMode::Generic, config()));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn on_a_veth_pair_the_kernel_copies_and_sums() {
        let facts = ends(1_500, AttachMode::Native, config()).link.facts();
        assert_eq!((facts.zero_copy, facts.multi_buffer, facts.checksum), (false, true, Summer::Kernel));
        let wanting = AfxdpConfig { copy_mode: CopyMode::ZeroCopy, ..config() };
        let veth = Veth::create("cx", 1_500);
        let pool = Pool::with_chunks(PoolLayout { large_count: 1, small_count: 0 }, 256).unwrap();
        let interface = Interface::named(&veth.ours).unwrap();
        let queue = AfxdpQueue::new(Socket::create().unwrap(), interface, 0);
        assert!(queue.open(&pool, wanting).unwrap_err().is_unsupported());
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn an_interface_that_goes_down_is_said_to_be_and_comes_back() {
        let mut ends = ends(1_500, AttachMode::Native, config());
        assert_eq!(ends.link.check(), SocketState::Up);
        let mut netlink = Netlink::open().unwrap();
        let turn = |netlink: &mut Netlink, up| {
            netlink.change_link(&ends.veth.ours, LinkChange { up: Some(up), ..Default::default() }).unwrap();
        };
        turn(&mut netlink, false);
        ends.link.stage_bytes(&[1; 60]).unwrap();
        ends.link.flush();
        assert_eq!((ends.link.state(), ends.link.in_flight()), (SocketState::Down, 1));
        assert!(!ends.link.is_lost());
        turn(&mut netlink, true);
        ends.link.flush();
        assert_eq!((ends.link.state(), ends.link.reclaim()), (SocketState::Up, 1));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn an_interface_that_is_removed_gives_its_packets_back_as_lost() {
        let mut ends = ends(1_500, AttachMode::Native, config());
        ends.link.stage_bytes(&[1; 60]).unwrap();
        Netlink::open().unwrap().delete_link(&ends.veth.ours).unwrap();
        ends.link.flush();
        assert!(ends.link.is_lost());
        assert_eq!((ends.link.reclaim(), ends.link.in_flight()), (1, 0));
        let counters = ends.link.counters();
        assert_eq!((counters.sent, counters.send_errors), (0, 1));
        assert!(ends.link.receive().is_none());
        assert!(ends.link.stage_bytes(&[1; 60]).is_err());
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn another_interface_takes_the_place_of_one_that_was_removed() {
        let mut ends = ends(1_500, AttachMode::Native, config());
        let old = Interface::named(&ends.veth.ours).unwrap();
        ends.link.stage_bytes(&[1; 60]).unwrap();
        Netlink::open().unwrap().delete_link(&ends.veth.ours).unwrap();

        assert!(ends.link.reopen(Socket::create().unwrap(), old).is_err(), "it is not there");
        assert!(ends.link.is_lost() && ends.link.descriptor().is_none() && ends.link.in_flight() == 0);
        assert!(ends.link.stage_bytes(&[1; 60]).is_err() && ends.link.receive().is_none());
        ends.link.flush();

        ends.veth = Veth::create("cy", 1_500);
        let new = Interface::named(&ends.veth.ours).unwrap();
        let steering = Steering::load(Scope::Everything, 1).unwrap();
        ends._attachment = steering.attach(new.index, AttachMode::Native).unwrap();
        let socket = Socket::create().unwrap();
        // The kernel takes a socket that is not bound yet.
        steering.insert(0, socket.as_fd()).unwrap();
        ends.link.reopen(socket, new).unwrap();
        assert!(!ends.link.is_lost());
        assert_eq!(ends.link.capabilities().mac, new.mac);
        assert_eq!(ends.link.counters().send_errors, 1, "counters go on");

        let peer = link_packet::sockets(&ends.veth.theirs, 1).unwrap().pop().unwrap();
        ends.peer = peer.open(VnetConfig::default()).unwrap();
        let bytes = [&[0xff; 6][..], &[2; 6], &[0x88, 0xb5], &[7; 60]].concat();
        // Every chunk of the old link's is there again.
        for _ in 0..config().slots {
            ends.link.stage_bytes(&bytes).unwrap();
        }
        ends.link.flush();
        ends.peer.stage_bytes(&bytes).unwrap();
        ends.peer.flush();
        std::thread::sleep(Duration::from_millis(20));
        let came = |link: &mut dyn FnMut() -> Option<Vec<u8>>| {
            core::iter::from_fn(link).filter(|got| *got == bytes).count()
        };
        let there = came(&mut || ends.peer.receive().map(|got| got.bytes.to_vec()));
        let here = came(&mut || ends.link.receive().map(|got| got.bytes.to_vec()));
        assert_eq!((there, here), (128, 1));
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_larger_mtu_is_followed_where_packets_may_have_several_pieces() {
        let mut several = ends(1_500, AttachMode::Native, config());
        assert_eq!((several.link.set_mtu(9_000), several.link.capabilities().mtu), (9_000, 9_000));
        drop(several);
        let mut one = ends(1_500, AttachMode::Native, AfxdpConfig { single_buffer: true, ..config() });
        let takes = one.link.set_mtu(9_000);
        assert!((1_500..4_096).contains(&takes) && one.link.capabilities().mtu == takes, "{takes}");
        assert_eq!(one.link.set_mtu(1_400), 1_400);
    }

    /// Reads the file's first 16 KiB, past the page cache, into a frame of the pool.
    fn direct_read(pool: &Pool, directory: &Path, name: &str) -> SharedFrame {
        let root = OwnedFd::from(File::open(directory).unwrap());
        let mut disk = DiskUring::open(UringConfig::default(), vec![root], pool.region()).unwrap();
        assert!(
            disk.features().registered_buffers,
            "the arena is registered twice: with the link and the disk"
        );
        let wait = |disk: &mut DiskUring| {
            disk.flush();
            loop {
                if let Some(completion) = disk.complete() {
                    return completion;
                }
            }
        };
        disk.stage_open(Open { token: 1, root: RootId(0), path: name.as_bytes().into() }).unwrap();
        let Completion::Opened { result: Ok(opened), .. } = wait(&mut disk) else { panic!("not opened") };
        assert!(opened.meta.direct, "{} is on a filesystem without O_DIRECT", directory.display());
        let target = Target { frame: pool.acquire_large().unwrap(), bytes: 16_384 };
        let targets = core::iter::once(target).collect();
        disk.stage_read(Read { token: 2, file: opened.file, offset: 0, targets }).unwrap();
        let Completion::Read(mut done) = wait(&mut disk) else { panic!("not read") };
        assert_eq!(done.result, Ok(16_384));
        done.targets.pop().unwrap().frame.share()
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn what_a_direct_read_put_into_a_frame_leaves_from_there_as_one_packet_of_several_buffers() {
        let mut ends = ends(9_000, AttachMode::Native, config());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("afxdp-{}", std::process::id());
        let content: Vec<u8> = (0..16_384_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
        fs::write(directory.join(&name), &content).unwrap();
        let frame = direct_read(&ends.pool, directory, &name);
        fs::remove_file(directory.join(&name)).unwrap();

        // An odd range across pages of the payload, behind headers of its own.
        let (start, len) = (1_001, 8_900);
        let mut headers = Headers::new();
        headers.room_mut()[12..14].copy_from_slice(&[0x88, 0xb5]);
        headers.set_len(14);
        let part = Part {
            frame,
            start: u32::try_from(HEADROOM_BYTES + start).unwrap(),
            len: len.try_into().unwrap(),
        };
        let parts = core::iter::once(part).collect();
        ends.link.stage(&mut Packet { headers, parts, offload: Offload::default() }).unwrap();
        assert_eq!(ends.link.socket().unwrap().staged(), 4, "headers, and three pieces of at most a page");
        ends.link.flush();
        for _ in 0..200 {
            if let Some(received) = ends.peer.receive() {
                if received.bytes.get(12..14) != Some(&[0x88, 0xb5]) {
                    continue;
                }
                assert!(received.bytes[14..] == content[start..start + len], "other bytes than the file's");
                return;
            }
            ends.settle();
        }
        panic!("the packet never arrived: {:?}", ends.link.socket().unwrap().kernel_counters());
    }

    /// An IPv4 segment whose checksum field holds the pseudo-header's sum: headers, and payload in a frame.
    fn unfinished(pool: &Pool, payload: &[u8]) -> Packet {
        let mut bytes = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0];
        let total = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
        bytes.extend([0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 18, 7, 9, 198, 18, 7, 1]);
        bytes.extend([0xc0, 0, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        let pseudo =
            sum(&[&bytes[26..34], &[0, 6], &(u16::from_be_bytes(total) - 20).to_be_bytes()].concat());
        bytes[14 + 20 + 16..][..2].copy_from_slice(&pseudo.to_be_bytes());
        let mut headers = Headers::new();
        headers.room_mut()[..bytes.len()].copy_from_slice(&bytes);
        headers.set_len(bytes.len());
        let mut frame = pool.acquire_large().unwrap();
        frame.bytes_mut()[..payload.len()].copy_from_slice(payload);
        let part = Part { frame: frame.share(), start: 0, len: u32::try_from(payload.len()).unwrap() };
        let checksum = Some(ChecksumOffload { start: 34, field: 16 });
        let offload = Offload { checksum, segmentation: None };
        Packet { headers, parts: core::iter::once(part).collect(), offload }
    }

    /// The ones' complement sum of RFC 1071.
    fn sum(bytes: &[u8]) -> u16 {
        let sum: u32 =
            bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
        let once = (sum & 0xffff) + (sum >> 16);
        u16::try_from((once & 0xffff) + (once >> 16)).unwrap()
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_checksum_that_was_left_to_the_kernel_is_finished_or_vouched_for() {
        // Copied into one buffer, and in several.
        for (mtu, len) in [(1_500, 1_447), (9_000, 8_901)] {
            let mut ends = ends(mtu, AttachMode::Native, config());
            let mut packet = unfinished(&ends.pool, &vec![0x5a; len]);
            ends.link.stage(&mut packet).unwrap();
            ends.link.flush();
            let mut arrived = false;
            for _ in 0..200 {
                ends.settle();
                while let Some(Received { bytes, verified }) = ends.peer.receive() {
                    if bytes.get(..6) == Some(&[2, 0, 0, 0, 0, 9]) {
                        assert_eq!(bytes.len(), 54 + len);
                        // A checksum is right when the sum over it, and over the pseudo-header, is all ones.
                        let segment = u16::try_from(bytes.len() - 34).unwrap().to_be_bytes();
                        let covered = [&bytes[26..34], &[0, 6], &segment, &bytes[34..]].concat();
                        assert!(verified || sum(&covered) == 0xffff, "neither");
                        arrived = true;
                    }
                }
                if arrived {
                    break;
                }
            }
            assert!(arrived, "{:?}", ends.link.socket().unwrap().kernel_counters());
        }
    }
}
