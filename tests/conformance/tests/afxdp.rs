//! AF_XDP on one end of a veth pair, a packet socket on the other.

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::os::fd::AsFd;

    use conformance::{LinkFixture, link_suite};
    use dma::{Pool, PoolLayout};
    use link_afxdp::{AfxdpConfig, AfxdpLink, AfxdpQueue, Interface, Summer};
    use netlink::{LinkChange, Netlink};
    use platform::Link;
    use vnet::{VnetConfig, VnetQueue};
    use xdp::{AttachMode, Attachment, CopyMode, Scope, Socket, SocketState, Steering};

    /// A veth pair, deleted when dropped.
    struct Veth {
        ours: String,
        theirs: String,
    }

    impl Veth {
        fn create(mtu: u32) -> Self {
            let name = |end| format!("cx{}{end}", std::process::id() % 100_000_000);
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
        let veth = Veth::create(mtu);
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
        let veth = Veth::create(1_500);
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
}
