//! The steering program and its sockets, on the kernel that runs this.

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use core::time::Duration;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::fd::AsFd as _;
    use std::process::{Command, Stdio};

    use dma::{Pool, PoolLayout};
    use netlink::{LinkChange, LinkInfo, Netlink, XdpMode};
    use xdp::{AttachMode, Attachment, Scope, Socket, SocketConfig, Steering, Transport, Verdict, XdpError};

    const V4: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 1);
    const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa71a, 0, 0, 0, 0, 0x12, 0x3456);

    /// A veth pair whose ends are up, deleted when dropped.
    struct Veth {
        ours: String,
    }

    impl Veth {
        fn create() -> Self {
            let name = |end| format!("xk{}{end}", std::process::id() % 100_000_000);
            let (ours, theirs) = (name('a'), name('b'));
            let mut netlink = Netlink::open().unwrap();
            netlink.create_veth(&ours, &theirs).unwrap();
            let pair = Self { ours };
            for end in [&pair.ours, &theirs] {
                netlink.change_link(end, LinkChange { up: Some(true), ..Default::default() }).unwrap();
            }
            pair
        }

        fn info(&self) -> LinkInfo {
            Netlink::open().unwrap().link(&self.ours).unwrap().unwrap()
        }

        fn socket(&self) -> (Socket, Pool) {
            let pool = Pool::with_chunks(PoolLayout { large_count: 1, small_count: 0 }, 64).unwrap();
            let config =
                SocketConfig { receive_chunks: 32, rx_slots: 32, tx_slots: 32, ..Default::default() };
            let fd = Socket::create().unwrap();
            (Socket::open(fd, self.info().index, 0, &pool, config).unwrap(), pool)
        }
    }

    impl Drop for Veth {
        fn drop(&mut self) {
            let _ = Netlink::open().and_then(|mut netlink| netlink.delete_link(&self.ours));
        }
    }

    fn loaded(scope: Scope) -> Steering {
        let steering = Steering::load(scope, 4).unwrap();
        steering.add_address(V4.into()).unwrap();
        steering.add_address(V6.into()).unwrap();
        steering
    }

    fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), rest].concat()
    }

    fn segment(to: IpAddr, port: u16) -> Vec<u8> {
        let tcp = [&[0xc0, 0][..], &port.to_be_bytes(), &[0; 16]].concat();
        match to {
            IpAddr::V4(to) => {
                let head = [0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 18, 7, 9];
                ethernet(0x0800, &[&head[..], &to.octets(), &tcp].concat())
            }
            IpAddr::V6(to) => {
                let head = [0x60, 0, 0, 0, 0, 20, 6, 64];
                ethernet(0x86dd, &[&head[..], &[0xfe; 16], &to.octets(), &tcp].concat())
            }
        }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn the_verifier_takes_the_program_of_every_scope() {
        for scope in [Scope::OwnAddress, Scope::SharedAddress, Scope::Everything] {
            let _ = loaded(scope);
        }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn the_kernel_finds_ours_what_the_interpreter_does() {
        let veth = Veth::create();
        let (socket, _pool) = veth.socket();
        let steering = loaded(Scope::OwnAddress);
        let verdict = |packet: &[u8]| steering.try_packet(packet).unwrap();
        assert_eq!(verdict(&segment(V4.into(), 22)), Verdict::Pass, "no socket yet");
        steering.insert(0, socket.as_fd()).unwrap();
        assert_eq!(verdict(&segment(V4.into(), 22)), Verdict::Redirect);
        assert_eq!(verdict(&segment(V6.into(), 22)), Verdict::Redirect);
        assert_eq!(verdict(&segment(Ipv4Addr::new(198, 18, 7, 2).into(), 22)), Verdict::Pass);
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        let solicitation = |target: Ipv6Addr| {
            let icmp = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
            let head = [0x60, 0, 0, 0, 0, 24, 58, 255];
            ethernet(0x86dd, &[&head[..], &[0xfe; 16], &group.octets(), &icmp].concat())
        };
        assert_eq!(verdict(&solicitation(V6)), Verdict::Redirect);
        assert_eq!(verdict(&solicitation("fd00::12:3456".parse().unwrap())), Verdict::Pass);
        steering.remove_address(V4.into()).unwrap();
        assert_eq!(verdict(&segment(V4.into(), 22)), Verdict::Pass);
        steering.remove(0).unwrap();
        assert_eq!(verdict(&segment(V6.into(), 22)), Verdict::Pass);
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_port_is_ours_from_when_it_is_added_until_it_is_removed() {
        let veth = Veth::create();
        let (socket, _pool) = veth.socket();
        let steering = loaded(Scope::SharedAddress);
        steering.insert(0, socket.as_fd()).unwrap();
        let verdicts = || [V4.into(), V6.into()].map(|to| steering.try_packet(&segment(to, 8_443)).unwrap());
        assert_eq!(verdicts(), [Verdict::Pass; 2]);
        steering.add_port(Transport::Udp, 8_443).unwrap();
        assert_eq!(verdicts(), [Verdict::Pass; 2]);
        steering.add_port(Transport::Tcp, 8_443).unwrap();
        assert_eq!(verdicts(), [Verdict::Redirect; 2]);
        steering.remove_port(Transport::Tcp, 8_443).unwrap();
        steering.remove_port(Transport::Tcp, 8_443).unwrap();
        assert_eq!(verdicts(), [Verdict::Pass; 2]);
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_queue_whose_socket_is_closed_is_the_kernels_again() {
        let veth = Veth::create();
        let (socket, _pool) = veth.socket();
        let steering = loaded(Scope::OwnAddress);
        steering.insert(0, socket.as_fd()).unwrap();
        drop(socket);
        assert_eq!(steering.try_packet(&segment(V4.into(), 443)).unwrap(), Verdict::Pass);
        let error = steering.insert(4, veth.socket().0.as_fd()).unwrap_err();
        assert!(matches!(error, XdpError::NoQueue { queue: 4 }), "{error}");
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn chunks_come_back_when_a_socket_is_closed() {
        let veth = Veth::create();
        let (socket, pool) = veth.socket();
        assert_eq!(pool.chunks_free(), 32, "32 are the kernel's");
        drop(socket);
        assert_eq!(pool.chunks_free(), 64);
        let (_first, _pool) = veth.socket();
        let second =
            Socket::open(Socket::create().unwrap(), veth.info().index, 0, &pool, SocketConfig::default());
        assert!(matches!(second, Err(XdpError::Busy { .. })), "{second:?}");
        let other =
            Socket::open(Socket::create().unwrap(), veth.info().index, 7, &pool, SocketConfig::default());
        assert!(matches!(other, Err(XdpError::NoQueue { queue: 7 })), "{other:?}");
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn a_program_is_attached_in_the_driver_or_before_the_stack_and_once() {
        let veth = Veth::create();
        let steering = loaded(Scope::OwnAddress);
        for (mode, seen) in [(AttachMode::Native, XdpMode::Native), (AttachMode::Generic, XdpMode::Generic)] {
            let attachment = steering.attach(veth.info().index, mode).unwrap();
            assert_eq!(veth.info().xdp.map(|xdp| xdp.mode), Some(seen));
            let again = steering.attach(veth.info().index, mode);
            assert!(matches!(again, Err(XdpError::Busy { .. })), "{again:?}");
            drop(attachment);
            assert_eq!(veth.info().xdp, None);
        }
    }

    #[test]
    #[ignore = "needs the machine's root"]
    fn descriptors_from_elsewhere_are_a_program_and_an_attachment() {
        let veth = Veth::create();
        let (socket, _pool) = veth.socket();
        let steering = Steering::from_descriptors(loaded(Scope::OwnAddress).into_descriptors(), 4);
        let attachment = steering.attach(veth.info().index, AttachMode::Native).unwrap();
        let copy = attachment.as_fd().try_clone_to_owned().unwrap();
        drop(attachment);
        assert!(veth.info().xdp.is_some(), "somebody else still holds it");
        let attachment = Attachment::from(copy);
        steering.insert(0, socket.as_fd()).unwrap();
        assert_eq!(steering.try_packet(&segment(V4.into(), 443)).unwrap(), Verdict::Redirect);
        drop(attachment);
        assert_eq!(veth.info().xdp, None);
    }

    /// Set in the process that is to be killed: the interface that it attaches to.
    const VICTIM: &str = "XDP_TEST_VICTIM";

    #[test]
    #[ignore = "needs the machine's root"]
    #[expect(clippy::disallowed_methods, reason = "waits for the kernel to tidy up")]
    fn a_program_is_gone_when_its_process_is_killed() {
        if let Ok(index) = std::env::var(VICTIM) {
            let steering = loaded(Scope::OwnAddress);
            let _attachment = steering.attach(index.parse().unwrap(), AttachMode::Native).unwrap();
            std::io::stderr().write_all(b"attached\n").unwrap();
            let _ = std::io::stdin().read_line(&mut String::new());
            panic!("nobody killed us");
        }
        let veth = Veth::create();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "tests::a_program_is_gone_when_its_process_is_killed",
            ])
            .env(VICTIM, veth.info().index.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(victim.stderr.take().unwrap());
        assert!(said.lines().any(|line| line.unwrap().contains("attached")), "it died by itself");
        assert!(veth.info().xdp.is_some());
        victim.kill().unwrap();
        victim.wait().unwrap();
        for _ in 0..200 {
            if veth.info().xdp.is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still attached two seconds after kill -9");
    }

    #[test]
    fn an_operator_without_the_capability_is_told_its_name() {
        let error = XdpError::MayNot { attempt: "load the steering program", capability: "CAP_BPF" };
        assert_eq!(
            error.to_string(),
            "we may not load the steering program: run as root, or give the program CAP_BPF"
        );
    }
}
