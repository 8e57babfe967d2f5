//! A file of options, and what is wrong with one.

use super::*;
use crate::options::{Congestion, LogChoice, PortChoice};
use serde::Deserialize;

/// What a server might have of its own.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Own {
    /// Something
    #[arg(long)]
    frames: Option<u32>,
    /// A file
    #[arg(long)]
    list: Option<PathBuf>,
    /// A table
    #[arg(skip)]
    service: Option<Service>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "idle_timeout_ms")]
    _idle_timeout_ms: Option<u64>,
}

const TABLES: &[&str] = &["service"];

fn parsed(text: &str) -> Result<Options<Own>, FileError> {
    parse(text, TABLES)
}

#[test]
fn every_flag_is_a_key() {
    let text = r#"
        dir = "/srv/video"
        addr = ["192.0.2.10/24", "2001:db8::10/64"]
        link = "packet:eth1"
        dev = "eth1"
        address-mode = "own"
        http = 80
        https = "off"
        congestion = "newreno"
        connections = 1000
        connections-per-client = 8
        cert = "chain.pem"
        key = "key.pem"
        key-log = "secrets.log"
        workers = 2
        pin = true
        confine = "off"
        seccomp = "log"
        frames = 1024
        list = "names"
        admin = 9000
        access-log = "-"
        log-format = "json"
        log-level = "warn"
        stats = "on"
        pcap = "packets.pcapng"
        pcap-filter = "host 192.0.2.7 and port 443"
        pcap-size = "10M"
        pcap-snap = 200
        pcap-start = false
        drain-seconds = 5
        stalled-seconds = 90
        rescan-seconds = 0
        namespace = "never"
        forward-http = 8081
        forward-https = "off"
    "#;
    let options = parsed(text).unwrap().common;
    assert_eq!(options.addr.len(), 2);
    assert_eq!(options.https, Some(PortChoice(None)));
    assert_eq!(options.congestion, Some(Congestion::NewReno));
    assert_eq!(options.access_log, Some(LogChoice::Stdout));
    assert_eq!((options.pin, options.stats), (Some(true), Some(true)));
    for key in keys::<Own>(TABLES).iter().filter(|key| !TABLES.contains(&key.as_str())) {
        assert!(
            text.lines().any(|line| line.trim_start().starts_with(&format!("{key} = "))),
            "{key} is a flag that this test does not set"
        );
    }
}

#[test]
fn an_unknown_key_is_answered_with_its_nearest() {
    let unknown = |text: &str| match parsed(text).unwrap_err() {
        FileError::UnknownKey { line, nearest, .. } => (line, nearest),
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown("http = 80\ndrain_second = 3\n"), (2, Some("drain-seconds".to_owned())));
    assert_eq!(unknown("wrokers = 3"), (1, Some("workers".to_owned())));
    assert_eq!(unknown("zzz = 3"), (1, None));
    let nested = unknown("[service]\ntitle = \"x\"\nidle_timeout_sm = 3");
    assert_eq!(nested, (3, Some("idle_timeout_ms".to_owned())));
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let syntax = |text: &str| match parsed(text).unwrap_err() {
        FileError::Syntax { line, why } => {
            assert!(!why.contains('\n'), "{why}");
            (line, why)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(syntax("http = 80\nhttps = \"many\"\n").0, 2);
    assert!(syntax("http = 80\nhttps = \"many\"\n").1.starts_with("https: 'many' is not a port"));
    assert!(syntax("workers = \"two\"").1.starts_with("workers: "));
    assert_eq!(syntax("http = 80\nhttp = 81\n").0, 2);
    assert_eq!(syntax("\n\nhttp = = 81\n").0, 3);
    assert_eq!(syntax("frames = -1").0, 1);
}

#[test]
fn paths_are_relative_to_the_file() {
    let dir = std::env::temp_dir().join(format!("program-options-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("atlas.toml");
    let text = "dir = \"video\"\ncert = \"/etc/chain.pem\"\naccess-log = \"log\"\nlist = \"names\"\n";
    std::fs::write(&path, text).unwrap();
    let Options { common, own } =
        read::<Own>(&path, &control::Directly, TABLES, |own| own.list.iter_mut().collect()).unwrap();
    assert_eq!(common.dir, Some(dir.join("video")));
    assert_eq!(common.cert, Some("/etc/chain.pem".into()));
    assert_eq!(common.access_log, Some(LogChoice::File(dir.join("log"))));
    assert_eq!(own.list, Some(dir.join("names")));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("/nonexistent/atlas.toml");
    let error = read::<Own>(path, &control::Directly, TABLES, |_| Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/atlas.toml: "), "{error}");
}
