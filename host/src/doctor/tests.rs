//! Machines that were surveyed, and what is said of them.

use super::*;
use crate::choice::tests::{machine, nic};
use crate::values::{AddressMode, LinkChoice};
use survey::{DeviceFeatures, HugePages, Nvme, NvmeDisk};

fn on_eth1(survey: Survey) -> Report {
    let link = LinkChoice::Auto(Some("eth1".to_owned()));
    Report::new(survey, &Asked { link: &link, mode: AddressMode::Shared, workers: None, inside: false })
}

/// A machine with nothing to complain of.
fn ready() -> Survey {
    let mut survey = machine(Some(nic()));
    survey.memory.huge_pages = vec![HugePages { page_bytes: 2 << 20, total: 1024, free: 1024 }];
    survey
}

#[test]
fn a_machine_that_is_ready_has_nothing_in_the_way() {
    let report = on_eth1(ready());
    assert!(!report.is_blocked() && report.obstacles.is_empty(), "{report}");
    let text = report.to_string();
    for told in [
        "Linux 6.18.0 on x86_64",
        "1024 of 1024 huge pages of 2048 KiB free",
        "root, CAP_NET_ADMIN CAP_NET_RAW",
        "driver ice, at 0000:17:00.0",
        "programs in the driver, redirects, zero-copy",
        "8 of 16 receive, 8 send, in pairs; flows spread over 8",
        "AF_XDP, zero-copy: taken",
        "8 workers (one for each queue of eth1)",
    ] {
        assert!(text.contains(told), "{told} in\n{text}");
    }
}

#[test]
fn the_peer_of_a_veth_device_has_to_compute_checksums_for_who_sees_packets_first() {
    let mut survey = ready();
    survey.device.as_mut().unwrap().driver = Some("veth".to_owned());
    let report = on_eth1(survey.clone());
    let told =
        report.obstacles.iter().find(|obstacle| obstacle.remedy.as_deref() == Some("ethtool -K PEER tx off"));
    assert!(
        !report.is_blocked() && told.is_some_and(|told| told.what.contains("eth1 is a veth")),
        "{report}"
    );
    let link = LinkChoice::Packet("eth1".to_owned());
    let own = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    assert!(!Report::new(survey, &own).to_string().contains("PEER"), "the kernel says which are unfinished");
}

#[test]
fn what_only_costs_is_told_with_its_command_and_blocks_nothing() {
    let mut survey = ready();
    survey.memory.huge_pages.clear();
    survey.memory.transparent_huge_pages = Some("never".to_owned());
    survey.limits.open_files_most = Some(1024);
    survey.iommu.mode = Some("DMA".to_owned());
    survey.xdp_sockets.jit = false;
    let disk = NvmeDisk {
        name: "nvme0n1".to_owned(),
        model: None,
        bytes: Some(3_840_755_982_336),
        polled: false,
        passthrough: Some("ng0n1".to_owned()),
    };
    survey.nvme = Nvme { poll_queues: Some(0), disks: vec![disk] };
    survey.device.as_mut().unwrap().channels.as_mut().unwrap().rx = 2;
    survey.device.as_mut().unwrap().rss = None;
    let report = on_eth1(survey);
    assert!(!report.is_blocked(), "{report}");
    let remedies: Vec<&str> =
        report.obstacles.iter().filter_map(|obstacle| obstacle.remedy.as_deref()).collect();
    for remedy in [
        "sudo sysctl -w vm.nr_hugepages=98",
        "transparent_hugepage/enabled",
        "ulimit -n 65536",
        "nvme poll_queues=8",
        "iommu.strict=0",
        "bpf_jit_enable=1",
        "ethtool -L eth1 combined 8",
    ] {
        assert!(remedies.iter().any(|known| known.contains(remedy)), "{remedy} in {remedies:#?}");
    }
    assert!(
        report.to_string().contains("a drive, 3840 GB, completions by interrupt, commands through ng0n1")
    );
}

#[test]
fn a_ring_that_cannot_be_had_blocks_whatever_the_link() {
    let mut survey = ready();
    survey.io_uring.state = RingState::Forbidden;
    survey.io_uring.sysctl_disabled = Some(2);
    let link = LinkChoice::Tap(None);
    let asked = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    let report = Report::new(survey, &asked);
    assert_eq!(report.choice.taken(), Some(Candidate::Tap));
    assert!(report.is_blocked());
    let remedy = Some("sudo sysctl -w kernel.io_uring_disabled=0".to_owned());
    assert!(report.obstacles.iter().any(|obstacle| obstacle.blocks && obstacle.remedy == remedy), "{report}");
}

#[test]
fn a_link_that_cannot_be_had_blocks_with_its_command() {
    let mut survey = ready();
    survey.device.as_mut().unwrap().up = false;
    let report = on_eth1(survey);
    assert!(report.is_blocked());
    let text = report.to_string();
    let (_, way) = text.split_once("In the way:").unwrap();
    assert!(way.contains("eth1 is down\n      ip link set dev eth1 up\n"), "{text}");
}

#[test]
fn a_tap_device_instead_of_the_interface_is_no_success() {
    let mut survey = ready();
    let device = survey.device.as_mut().unwrap();
    device.up = false;
    let link = LinkChoice::Auto(Some("eth1".to_owned()));
    let asked = Asked { link: &link, mode: AddressMode::Own, workers: None, inside: false };
    let report = Report::new(survey, &asked);
    assert_eq!(report.choice.taken(), Some(Candidate::Tap));
    assert!(report.is_blocked(), "{report}");
}

#[test]
fn a_limit_on_locked_memory_blocks_af_xdp_and_only_costs_a_tap_device() {
    let mut survey = ready();
    survey.limits.memlock_bytes = Some(8 << 20);
    let blocked = |link: &LinkChoice, mode| {
        let asked = Asked { link, mode, workers: Some(1), inside: false };
        let mut survey = survey.clone();
        survey.device.as_mut().unwrap().rss.as_mut().unwrap().queues = 1;
        let report = Report::new(survey, &asked);
        assert!(report.to_string().contains("ulimit -l unlimited"), "{report}");
        report.is_blocked()
    };
    assert!(blocked(&"afxdp:eth1".parse().unwrap(), AddressMode::Shared));
    assert!(!blocked(&LinkChoice::Tap(None), AddressMode::Own));
}

#[test]
fn a_packet_socket_misses_the_offloads_that_are_off() {
    let mut survey = ready();
    let device = survey.device.as_mut().unwrap();
    device.xdp.features = Some(DeviceFeatures::default());
    device.offloads.as_mut().unwrap().tso = false;
    let link = "packet:eth1".parse().unwrap();
    let report =
        Report::new(survey, &Asked { link: &link, mode: AddressMode::Own, workers: Some(1), inside: false });
    assert!(report.to_string().contains("ethtool -K eth1 tx on sg on tso on"), "{report}");
}

#[test]
fn the_document_has_a_version_and_four_parts() {
    let document: serde_json::Value = serde_json::from_str(&on_eth1(ready()).json()).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["survey"]["device"]["driver"], "ice");
    assert_eq!(document["choice"]["steps"][0]["candidate"], "af_xdp_zero_copy");
    assert_eq!(document["choice"]["address_mode"], "shared");
    assert_eq!(document["choice"]["workers"], 8);
    assert!(document["obstacles"].as_array().unwrap().is_empty());
}
