use super::*;
use core::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Files as a kernel shows them, removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("lab-uncore-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        Self(root)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A channel of a Skylake server with two sockets.
fn channel(number: u32) -> Vec<(String, String)> {
    let at = |file: &str| format!("uncore_imc_{number}/{file}");
    [
        ("type", (20 + number).to_string().as_str()),
        ("cpumask", "0,18"),
        ("format/event", "config:0-7"),
        ("format/umask", "config:8-15"),
        ("format/edge", "config:18"),
        ("format/inv", "config:23"),
        ("format/thresh", "config:24-31"),
        ("events/clockticks", "event=0xff"),
        ("events/cas_count_read", "event=0x04,umask=0x03"),
        ("events/cas_count_read.scale", "6.103515625e-5"),
        ("events/cas_count_read.unit", "MiB"),
        ("events/cas_count_write", "event=0x04,umask=0x0c"),
        ("events/cas_count_write.scale", "6.103515625e-5"),
        ("events/cas_count_write.unit", "MiB"),
    ]
    .into_iter()
    .map(|(file, text)| (at(file), text.to_owned()))
    .collect()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

mod a_server_of_intel {
    use super::*;

    #[test]
    fn every_channel_counts_lines_of_64_bytes_on_each_socket() {
        let files = [channel(0), channel(1)].concat();
        let mut files = borrowed(&files);
        files.extend([("cpu/type", "4"), ("power/type", "9"), ("uncore_cha_0/type", "40")]);
        let tree = Tree::new(&files);
        let found = controllers(&tree.0).unwrap();
        let event = |config| Event { config, bytes: 64.0 };
        let expected = |number: u32| Controller {
            name: format!("uncore_imc_{number}"),
            kind: 20 + number,
            cpus: vec![0, 18],
            events: [event(0x0304), event(0x0c04)],
        };
        assert_eq!(found, [expected(0), expected(1)]);
    }

    #[test]
    fn free_running_counters_beside_others_are_not_counted_twice() {
        let files = channel(0);
        let mut files = borrowed(&files);
        let running = [
            ("uncore_imc_free_running_0/type", "60"),
            ("uncore_imc_free_running_0/cpumask", "0"),
            ("uncore_imc_free_running_0/format/event", "config:0-7"),
            ("uncore_imc_free_running_0/format/umask", "config:8-15"),
            ("uncore_imc_free_running_0/events/data_read", "event=0xff,umask=0x20"),
            ("uncore_imc_free_running_0/events/data_read.scale", "6.103515625e-5"),
            ("uncore_imc_free_running_0/events/data_read.unit", "MiB"),
            ("uncore_imc_free_running_0/events/data_write", "event=0xff,umask=0x30"),
            ("uncore_imc_free_running_0/events/data_write.scale", "6.103515625e-5"),
            ("uncore_imc_free_running_0/events/data_write.unit", "MiB"),
        ];
        let alone = Tree::new(&running);
        assert_eq!(controllers(&alone.0).unwrap()[0].events[1].config, 0x30ff);
        files.extend(running);
        let both = Tree::new(&files);
        let names: Vec<String> =
            controllers(&both.0).unwrap().into_iter().map(|controller| controller.name).collect();
        assert_eq!(names, ["uncore_imc_0"]);
    }
}

mod a_server_of_amd {
    use super::*;

    #[test]
    fn channels_count_commands_though_they_name_no_events() {
        let tree = Tree::new(&[
            ("amd_umc_0/type", "14"),
            ("amd_umc_0/cpumask", "0"),
            ("amd_umc_0/format/event", "config:0-7"),
            ("amd_umc_0/format/rdwrmask", "config:8-9"),
            ("amd_df/type", "12"),
        ]);
        let found = controllers(&tree.0).unwrap();
        let configs: Vec<u64> = found[0].events.iter().map(|event| event.config).collect();
        assert_eq!((found.len(), found[0].kind, configs), (1, 14, vec![0x10a, 0x20a]));
    }
}

mod a_machine {
    use super::*;

    #[test]
    fn without_controllers_is_told_what_speaks_instead() {
        let tree = Tree::new(&[("software/type", "1"), ("msr/type", "7")]);
        let lack = controllers(&tree.0).unwrap_err().to_string();
        assert!(lack.contains("virtual machine") && lack.contains("model"), "{lack}");
    }

    #[test]
    fn whose_files_say_something_strange_names_the_file() {
        for (file, text) in [
            ("uncore_imc_0/type", "twenty"),
            ("uncore_imc_0/cpumask", "18-0"),
            ("uncore_imc_0/format/umask", "config1:8-15"),
            ("uncore_imc_0/format/event", "config:0-1"),
            ("uncore_imc_0/events/cas_count_read.unit", "furlongs"),
        ] {
            let mut files = channel(0);
            files.push((file.to_owned(), text.to_owned()));
            let tree = Tree::new(&borrowed(&files));
            assert!(matches!(controllers(&tree.0), Err(Lack::Strange(..))), "{file}");
        }
    }

    #[test]
    fn fields_in_several_parts_are_filled_from_below() {
        assert_eq!(place("config:0-7,32-35", 0x1ab), Some(0x1_0000_00ab));
        assert_eq!(place("config:63", 1), Some(1 << 63));
        assert_eq!(place("config:0-63", u64::MAX), Some(u64::MAX));
        assert_eq!(place("config:0-7", 256), None);
        assert_eq!(place("config:60-64", 1), None);
        assert_eq!(place("config:7-0", 1), None);
    }

    /// The kernel's clock counts on every machine: it stands in for a controller, in lines of 64 bytes.
    #[test]
    #[ignore = "needs root"]
    fn that_counts_something_counts_on() {
        let mut files = channel(0);
        for (file, text) in [
            ("type", "1"),
            ("cpumask", "0"),
            ("events/cas_count_read", "event=0"),
            ("events/cas_count_write", "event=0"),
        ] {
            files.push((format!("uncore_imc_0/{file}"), text.to_owned()));
        }
        let tree = Tree::new(&borrowed(&files));
        let memory = Memory::open_below(&tree.0).unwrap();
        let before = memory.read().unwrap();
        std::thread::sleep(core::time::Duration::from_millis(50));
        let passed = memory.read().unwrap().since(before);
        assert!(passed.read >= 50e6 * 64.0 && passed.written >= 50e6 * 64.0, "{passed:?}");
        assert_eq!(memory.names(), ["uncore_imc_0"]);
    }
}
