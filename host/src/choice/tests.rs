//! Machines that were surveyed, and what is chosen on them.

use super::*;
use survey::{
    Channels, Confinement, DeviceFeatures, IoUring, Iommu, Kernel, Limits, Memory, Nvme, Offloads,
    Privileges, RingState, Rss, Xdp, XdpAttached, XdpMode, XdpSockets,
};

/// A root on a new kernel, with eight cores, and this device.
pub(crate) fn machine(device: Option<Device>) -> Survey {
    Survey {
        kernel: Kernel { release: "6.18.0".to_owned(), version: (6, 18), architecture: "x86_64".to_owned() },
        processors: 8,
        memory: Memory {
            available_bytes: Some(32 << 30),
            huge_pages: Vec::new(),
            transparent_huge_pages: Some("madvise".to_owned()),
        },
        limits: Limits { memlock_bytes: None, open_files: Some(1 << 20), open_files_most: Some(1 << 20) },
        privileges: Privileges {
            root: true,
            capabilities: vec![
                Capability::NetAdmin,
                Capability::NetRaw,
                Capability::Bpf,
                Capability::IpcLock,
                Capability::NetBindService,
                Capability::SysAdmin,
            ],
            user_namespaces: true,
        },
        confinement: Confinement { landlock_abi: Some(7), seccomp: true },
        io_uring: IoUring {
            state: RingState::Usable,
            sysctl_disabled: Some(0),
            reads_several_fixed: true,
            commands: true,
        },
        iommu: Iommu { present: false, mode: None, groups: 0 },
        nvme: Nvme { poll_queues: None, disks: Vec::new() },
        tun: Tun::Usable,
        xdp_sockets: XdpSockets { supported: Some(true), jit: true },
        device,
    }
}

/// A NIC with as many queues as cores, zero-copy and an address.
pub(crate) fn nic() -> Device {
    Device {
        name: "eth1".to_owned(),
        index: 3,
        driver: Some("ice".to_owned()),
        bus: Some("0000:17:00.0".to_owned()),
        numa_node: Some(0),
        iommu: None,
        ethernet: true,
        up: true,
        running: true,
        mtu: 1500,
        speed_mbps: Some(25_000),
        addresses: vec!["192.0.2.10/24".to_owned()],
        master: None,
        xdp: Xdp {
            attached: None,
            features: Some(DeviceFeatures {
                native: true,
                redirect: true,
                zero_copy: true,
                pieces: true,
                zero_copy_segments_max: 8,
                tx_checksum: false,
            }),
        },
        queues: netlink::Queues { rx: 64, tx: 64 },
        channels: Some(Channels { rx: 8, tx: 8, rx_max: 16, combined: true }),
        rings: None,
        rss: Some(Rss { queues: 8, table: 128, key_bytes: 40, hashes: true }),
        offloads: Some(Offloads { tso: true, tx_checksum: true, ..Offloads::default() }),
    }
}

fn with(change: impl FnOnce(&mut Device)) -> Survey {
    let mut device = nic();
    change(&mut device);
    machine(Some(device))
}

fn choose(survey: &Survey, link: &str, mode: AddressMode, workers: Option<u16>) -> Choice {
    let link = match link {
        "auto" => LinkChoice::Auto(Some("eth1".to_owned())),
        text => text.parse().unwrap(),
    };
    Choice::of(survey, &Asked { link: &link, mode, workers, inside: false })
}

fn auto(survey: &Survey) -> Choice {
    choose(survey, "auto", AddressMode::Shared, None)
}

fn why_not(choice: &Choice, candidate: Candidate) -> Obstacle {
    let step = choice.steps.iter().find(|step| step.candidate == candidate).unwrap();
    step.obstacle.clone().unwrap()
}

#[test]
fn a_nic_with_zero_copy_and_a_queue_for_each_core_is_taken_at_once() {
    let choice = auto(&machine(Some(nic())));
    assert_eq!((choice.taken(), choice.steps.len()), (Some(Candidate::AfXdpZeroCopy), 1));
    assert_eq!((choice.workers, choice.workers_why.as_str()), (8, "one for each queue of eth1"));
    assert_eq!(choice.lines(), ["AF_XDP, zero-copy: taken"]);
}

#[test]
fn a_driver_without_zero_copy_is_copied_for() {
    let choice = auto(&with(|nic| {
        nic.driver = Some("virtio_net".to_owned());
        nic.xdp.features.as_mut().unwrap().zero_copy = false;
    }));
    assert_eq!(choice.taken(), Some(Candidate::AfXdpCopy));
    assert_eq!(
        choice.lines(),
        ["AF_XDP, zero-copy: no, the driver virtio_net has no zero-copy", "AF_XDP, copy: taken"]
    );
}

#[test]
fn a_driver_without_programs_gets_a_packet_socket_unless_asked_by_name() {
    let survey = with(|nic| nic.xdp.features = Some(DeviceFeatures::default()));
    let choice = choose(&survey, "auto", AddressMode::Own, None);
    assert_eq!(choice.taken(), Some(Candidate::Packet));
    assert_eq!(choice.workers, 7, "one core is left");
    assert!(why_not(&choice, Candidate::AfXdpCopy).what.contains("runs no XDP programs"));
    let named = choose(&survey, "afxdp:eth1", AddressMode::Own, None);
    assert_eq!(named.taken(), Some(Candidate::AfXdpCopy));
}

#[test]
fn a_packet_socket_shares_an_address_where_a_program_can_be() {
    let survey = with(|nic| nic.xdp.features = Some(DeviceFeatures::default()));
    let choice = auto(&survey);
    assert_eq!(
        choice.taken(),
        Some(Candidate::Packet),
        "any device can run it after its kernel's receive path"
    );
    assert_eq!(choice.workers, 8, "a worker for each queue");
    let taken = with(|nic| nic.xdp.attached = Some(XdpAttached { mode: XdpMode::Native, program: 7 }));
    let choice = choose(&taken, "packet:eth1", AddressMode::Shared, None);
    assert!(choice.refusal().unwrap().contains("ip link set dev eth1 xdp off"));
    let own = choose(&taken, "packet:eth1", AddressMode::Own, None);
    assert_eq!((own.taken(), own.workers), (Some(Candidate::Packet), 7), "its own address does without");
}

#[test]
fn an_own_address_is_received_by_af_xdp_only_from_hardware() {
    let link = "packet:eth1".parse().unwrap();
    let asked = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    assert!(is_steered(&machine(Some(nic())), &asked));
    assert!(!is_steered(&with(|nic| nic.bus = None), &asked), "a veth device");
    assert!(!is_steered(&with(|nic| nic.xdp.features = None), &asked));
    assert!(!is_steered(&with(|nic| nic.rss.as_mut().unwrap().queues = 64), &asked));
}

#[test]
fn a_kernel_that_does_not_tell_is_tried() {
    let choice = auto(&with(|nic| nic.xdp.features = None));
    assert_eq!(choice.taken(), Some(Candidate::AfXdpZeroCopy));
}

#[test]
fn what_is_tried_and_refused_falls_back_with_the_reason() {
    let survey = machine(Some(nic()));
    let link = LinkChoice::Auto(Some("eth1".to_owned()));
    let asked = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    let mut choice = Choice::of(&survey, &asked);
    assert!(choice.fall_back("the queue is in use", &survey, &asked));
    assert_eq!(choice.taken(), Some(Candidate::AfXdpCopy));
    assert!(choice.fall_back("the queue is in use", &survey, &asked));
    assert!(choice.fall_back("no memory", &survey, &asked));
    assert_eq!(choice.taken(), Some(Candidate::Tap));
    assert!(!choice.fall_back("no luck", &survey, &asked));
    assert_eq!(choice.taken(), None);
    assert_eq!(
        choice.lines(),
        [
            "AF_XDP, zero-copy; AF_XDP, copy: no, the queue is in use",
            "packet socket: no, no memory",
            "TAP device: no, no luck"
        ]
    );
}

#[test]
fn what_was_asked_for_by_name_never_becomes_something_else() {
    let survey = machine(Some(nic()));
    let link = "packet:eth1".parse().unwrap();
    let asked = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    let mut choice = Choice::of(&survey, &asked);
    assert_eq!(choice.taken(), Some(Candidate::Packet));
    assert!(!choice.fall_back("no memory", &survey, &asked));
}

#[test]
fn each_obstacle_of_a_device_has_its_command() {
    type Change = fn(&mut Device);
    let cases: [(Change, &str, &str); 6] = [
        (|nic| nic.up = false, "eth1 is down", "ip link set dev eth1 up"),
        (
            |nic| nic.xdp.attached = Some(XdpAttached { mode: XdpMode::Native, program: 7 }),
            "has an XDP program already",
            "ip link set dev eth1 xdp off",
        ),
        (|nic| nic.offloads.as_mut().unwrap().lro = true, "merges segments", "ethtool -K eth1 lro off"),
        (
            |nic| {
                nic.mtu = 9000;
                nic.xdp.features.as_mut().unwrap().pieces = false;
            },
            "no packet beyond a page",
            "ip link set dev eth1 mtu 3498",
        ),
        (
            |nic| nic.rss.as_mut().unwrap().queues = 16,
            "over 16 queues and there are 8 cores",
            "ethtool -L eth1 combined 8",
        ),
        (|nic| nic.addresses.clear(), "no address", "ip address add IP/PREFIX dev eth1"),
    ];
    for (change, what, remedy) in cases {
        let obstacle = why_not(&auto(&with(change)), Candidate::AfXdpZeroCopy);
        assert!(obstacle.what.contains(what) && obstacle.blocks, "{obstacle}");
        assert_eq!(obstacle.remedy.as_deref(), Some(remedy), "{obstacle}");
    }
}

#[test]
fn a_jumbo_mtu_is_no_obstacle_to_a_driver_that_takes_pieces() {
    assert_eq!(auto(&with(|nic| nic.mtu = 9000)).taken(), Some(Candidate::AfXdpZeroCopy));
}

#[test]
fn queues_and_workers_have_to_match_and_the_remedy_makes_them() {
    let of = |workers, change: fn(&mut Device)| {
        let choice = choose(&with(change), "afxdp:eth1", AddressMode::Own, Some(workers));
        choice.steps.last().and_then(|step| step.obstacle.clone())
    };
    assert_eq!(of(8, |_| ()), None);
    let fewer = of(2, |_| ()).unwrap();
    assert!(fewer.what.contains("over 8 queues and there are to be 2 workers"), "{fewer}");
    assert_eq!(fewer.remedy.as_deref(), Some("ethtool -L eth1 combined 2"));
    assert_eq!(of(16, |_| ()).unwrap().remedy.as_deref(), Some("ethtool -L eth1 combined 16"));
    assert_eq!(of(32, |_| ()).unwrap().remedy.as_deref(), Some("--workers 16"));
    let apart = of(2, |nic| nic.channels.as_mut().unwrap().combined = false).unwrap();
    assert_eq!(apart.remedy.as_deref(), Some("ethtool -L eth1 rx 2 tx 2"));
    let silent = of(2, |nic| {
        nic.channels = None;
        nic.rss = None;
        nic.queues.rx = 1;
    });
    assert_eq!(silent.unwrap().remedy.as_deref(), Some("--workers 1"));
}

#[test]
fn a_user_without_capabilities_is_told_which_and_how() {
    let mut survey = machine(Some(nic()));
    survey.privileges.capabilities = vec![Capability::NetRaw];
    let choice = choose(&survey, "auto", AddressMode::Own, None);
    assert_eq!(choice.taken(), Some(Candidate::Packet));
    let obstacle = why_not(&choice, Candidate::AfXdpZeroCopy);
    assert_eq!(obstacle.what, "CAP_NET_ADMIN, CAP_BPF missing");
    assert!(obstacle.remedy.unwrap().contains("setcap cap_net_admin,cap_net_raw,cap_bpf+ep"));
}

#[test]
fn memory_that_may_not_be_pinned_leaves_the_packet_socket() {
    let mut survey = machine(Some(nic()));
    survey.limits.memlock_bytes = Some(1 << 30);
    let choice = choose(&survey, "auto", AddressMode::Own, None);
    assert_eq!(choice.taken(), Some(Candidate::Packet));
    let obstacle = why_not(&choice, Candidate::AfXdpZeroCopy);
    assert!(obstacle.what.contains("only 1024 MiB may be locked"), "{obstacle}");
    assert!(obstacle.remedy.unwrap().contains("LimitMEMLOCK=infinity"));
    survey.limits.memlock_bytes = Some(4 << 30);
    assert_eq!(choose(&survey, "auto", AddressMode::Own, None).taken(), Some(Candidate::AfXdpZeroCopy));
}

#[test]
fn a_tap_device_is_never_shared_and_an_interface_is_never_inside() {
    let survey = machine(None);
    let shared = choose(&survey, "tap", AddressMode::Shared, None);
    let line = shared.refusal().unwrap();
    assert!(line.contains("--address-mode own") && !line.contains('\n'), "{line}");
    let link = LinkChoice::Auto(Some("eth1".to_owned()));
    let inside = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: true };
    let choice = Choice::of(&machine(Some(nic())), &inside);
    assert_eq!(choice.taken(), Some(Candidate::Tap));
    assert!(why_not(&choice, Candidate::Packet).remedy.unwrap().contains("setcap"));
}

#[test]
fn without_an_interface_there_is_a_tap_device_or_the_command_that_brings_one() {
    let mut survey = machine(None);
    assert_eq!(choose(&survey, "tap", AddressMode::Own, None).taken(), Some(Candidate::Tap));
    survey.tun = Tun::Missing;
    let choice = choose(&survey, "tap", AddressMode::Own, None);
    assert!(choice.refusal().unwrap().contains("`modprobe tun`"));
    let missing = choose(&survey, "auto", AddressMode::Own, None);
    assert_eq!(
        missing.refusal().unwrap(),
        "no link on eth1 can be had: there is no interface eth1 (`ip -brief link`)"
    );
}
