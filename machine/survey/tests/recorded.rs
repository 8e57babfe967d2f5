//! Files of other machines, read as this one's are; and the document that comes of it.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use survey::{HugePages, RingState, Survey, Tree, Tun};

    /// Files below a directory of the test's own, which goes with it.
    struct Recorded(PathBuf);

    impl Recorded {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("survey-{}-{name}", std::process::id()));
            let recorded = Self(root);
            for (path, text) in files {
                let path = recorded.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            fs::create_dir_all(&recorded.0).unwrap();
            recorded
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn survey(&self, device: Option<&str>) -> Survey {
            Survey::take(&Tree::below(&self.0), device).unwrap()
        }
    }

    impl Drop for Recorded {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_bare_container_shows_nothing_and_nothing_fails() {
        let survey = Recorded::new("bare", &[]).survey(None);
        assert_eq!((survey.memory.available_bytes, survey.memory.huge_pages.len()), (None, 0));
        assert_eq!((survey.tun, survey.nvme.poll_queues, survey.iommu.present), (Tun::Missing, None, false));
        assert!(!survey.confinement.seccomp && !survey.privileges.user_namespaces);
        assert_eq!(survey.device, None);
    }

    #[test]
    fn a_storage_server_shows_its_drives_pages_and_translation() {
        let recorded = Recorded::new(
            "storage",
            &[
                ("proc/meminfo", "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n"),
                ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n"),
                ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n"),
                ("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n"),
                ("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
                ("sys/module/nvme/parameters/poll_queues", "4\n"),
                ("sys/block/nvme0n1/queue/io_poll", "1\n"),
                ("sys/block/nvme0n1/device/model", "SAMSUNG MZQL23T8HCLS-00A07              \n"),
                ("sys/block/nvme0n1/size", "7501476528\n"),
                ("sys/block/nvme1n1/queue/io_poll", "0\n"),
                ("sys/block/sda/size", "1\n"),
                ("sys/class/nvme-generic/ng0n1/dev", "242:0\n"),
                ("sys/class/iommu/dmar0/uevent", ""),
                ("sys/kernel/iommu_groups/0/type", "DMA-FQ\n"),
                ("sys/kernel/iommu_groups/1/type", "DMA-FQ\n"),
                ("sys/kernel/iommu_groups/2/type", "identity\n"),
                ("proc/sys/kernel/io_uring_disabled", "2\n"),
                ("proc/sys/net/core/bpf_jit_enable", "0\n"),
                ("proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno log allow\n"),
                ("proc/sys/user/max_user_namespaces", "31231\n"),
                ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0\n"),
            ],
        );
        let survey = recorded.survey(None);
        assert_eq!(survey.memory.available_bytes, Some(60_000_000 << 10));
        assert_eq!(survey.memory.huge_pages[0], HugePages { page_bytes: 2 << 20, total: 512, free: 500 });
        assert_eq!(survey.memory.huge_bytes_free(), 500 << 21);
        assert_eq!(survey.memory.transparent_huge_pages.as_deref(), Some("madvise"));
        assert_eq!(survey.nvme.poll_queues, Some(4));
        let [first, second] = &survey.nvme.disks[..] else { panic!("{:?}", survey.nvme.disks) };
        assert_eq!((first.name.as_str(), first.polled), ("nvme0n1", true));
        assert_eq!(first.model.as_deref(), Some("SAMSUNG MZQL23T8HCLS-00A07"));
        assert_eq!((first.bytes, first.passthrough.as_deref()), (Some(7_501_476_528 * 512), Some("ng0n1")));
        assert!(!second.polled && second.passthrough.is_none());
        assert_eq!((survey.iommu.present, survey.iommu.groups), (true, 3));
        assert_eq!(survey.iommu.mode.as_deref(), Some("DMA-FQ"));
        assert_eq!(survey.io_uring.sysctl_disabled, Some(2));
        assert!(!survey.xdp_sockets.jit && survey.confinement.seccomp && survey.privileges.user_namespaces);
    }

    #[test]
    fn a_distribution_that_keeps_user_namespaces_from_users_says_so() {
        let recorded = Recorded::new(
            "ubuntu",
            &[
                ("proc/sys/user/max_user_namespaces", "31231\n"),
                ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
            ],
        );
        assert!(!recorded.survey(None).privileges.user_namespaces);
    }

    #[test]
    fn a_device_has_its_driver_and_its_place_from_sysfs() {
        let recorded = Recorded::new(
            "nic",
            &[
                ("sys/devices/pci0000:17/0000:17:00.0/numa_node", "1\n"),
                ("sys/kernel/iommu_groups/12/type", "identity\n"),
                ("sys/class/net/lo/speed", "25000\n"),
            ],
        );
        recorded.link("sys/class/net/lo/device", "../../../devices/pci0000:17/0000:17:00.0");
        recorded.link("sys/devices/pci0000:17/0000:17:00.0/driver", "../../../bus/pci/drivers/ice");
        recorded.link("sys/devices/pci0000:17/0000:17:00.0/iommu_group", "../../../kernel/iommu_groups/12");
        // The one interface that every namespace has, here with somebody else's files.
        let device = recorded.survey(Some("lo")).device.unwrap();
        assert_eq!(device.driver.as_deref(), Some("ice"));
        assert_eq!((device.bus.as_deref(), device.numa_node), (Some("0000:17:00.0"), Some(1)));
        assert_eq!((device.iommu.as_deref(), device.speed_mbps), (Some("identity"), Some(25_000)));
        assert!(!device.ethernet && device.rx_queues() >= 1);
    }

    #[test]
    fn an_interface_that_does_not_exist_is_absent() {
        assert_eq!(Recorded::new("none", &[]).survey(Some("no-such-link")).device, None);
    }

    #[test]
    fn the_document_keeps_its_names() {
        let survey = Survey::take(&Tree::host(), Some("lo")).unwrap();
        let document = serde_json::to_value(&survey).unwrap();
        for path in [
            "/kernel/release",
            "/processors",
            "/memory/huge_pages",
            "/limits/open_files",
            "/privileges/capabilities",
            "/confinement/seccomp",
            "/io_uring/state",
            "/iommu/present",
            "/nvme/disks",
            "/tun",
            "/xdp_sockets/jit",
            "/device/name",
            "/device/queues/rx",
            "/device/xdp/attached",
            "/device/offloads",
        ] {
            assert!(document.pointer(path).is_some(), "{path} in {document}");
        }
        if survey.io_uring.state == RingState::Usable {
            assert_eq!(document.pointer("/io_uring/state").unwrap(), "usable");
        }
    }
}
