//! What all servers of the web decide alike.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    options: Common,
}

const DEFAULTS: Defaults = Defaults { rescan: 10, stalled: 600 };

fn cli(line: &str) -> Common {
    CommandLine::try_parse_from(format!("atlas {line}").split_whitespace()).unwrap().options
}

fn resolve(line: &str, text: &str) -> Result<Config, ConfigError> {
    Config::resolve(cli(line).over(toml::from_str(text).unwrap()), "atlas serve examples/video", DEFAULTS)
}

fn over(line: &str, text: &str) -> Config {
    resolve(line, text).unwrap()
}

fn refused(line: &str, text: &str) -> String {
    let line = resolve(line, text).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn the_command_line_beats_the_file_beats_the_defaults() {
    let config = over("video --http 8080", "http = 81\nhttps = 444\n");
    assert_eq!((config.http, config.https), (Some(8080), Some(444)));
    assert_eq!(config.drain, Duration::from_secs(30));
    assert_eq!(config.dir, Path::new("video"));
}

#[test]
fn a_switch_of_the_file_can_be_turned_off() {
    assert!(over("video", "stats = true").stats);
    assert!(!over("video --stats=off", "stats = true").stats);
    assert!(over("video --stats", "").stats);
}

#[test]
fn lists_replace_and_do_not_add_up() {
    let config = over("video --addr 10.0.0.2/24", "addr = [\"10.9.0.2/24\", \"fd00::2/64\"]");
    assert_eq!(config.addr, ["10.0.0.2/24".parse().unwrap()]);
}

#[test]
fn a_certificate_comes_from_one_place_as_a_whole() {
    let file = "cert = \"a.pem\"\nkey = \"a.key\"";
    let certificate = over("video --cert b.pem --key b.key", file).certificate.unwrap();
    assert_eq!((certificate.chain, certificate.key), ("b.pem".into(), "b.key".into()));
    assert!(refused("video --cert b.pem", file).contains("--cert without --key"));
}

#[test]
fn packets_are_captured_to_a_file_within_bounds() {
    assert_eq!(over("video", "").capture, None);
    let choice =
        over("video --pcap a.pcapng --pcap-start=off", "pcap-filter = \"port 443\"").capture.unwrap();
    assert_eq!((choice.filter.port, choice.filter.host, choice.at_start), (Some(443), None, false));
    assert_eq!((choice.bytes_max, choice.snap), (256 << 20, 128));
    assert!(refused("video --pcap-size 10M", "").contains("--pcap-size without --pcap"));
    assert!(refused("video --pcap a --pcap-size 1M", "").contains("--pcap-size"));
    for snap in ["73", "262145"] {
        assert!(refused(&format!("video --pcap a --pcap-snap {snap}"), "").contains("74 to 262144"));
    }
    let told =
        CommandLine::try_parse_from(["atlas", "video", "--pcap", "a", "--pcap-filter", "host a.example"]);
    let told = told.err().unwrap().to_string();
    assert!(told.contains("'a.example' is not an IP address"), "{told}");
}

#[test]
fn what_does_not_go_together_is_told_in_one_line() {
    for (line, text, told) in [
        ("", "", "no directory"),
        ("video --http off --https off", "", "nothing to serve"),
        ("video --http 443", "", "same port"),
        ("video --addr 10.0.0.2/24 --addr 10.0.1.2/24", "", "once for IPv4"),
        ("video --link packet:eth0 --address-mode own", "", "needs --addr"),
        ("video --address-mode shared", "", "needs an interface"),
        ("video --link tap --dev eth0", "", "names its own device"),
        ("video", "workers = 0", "--workers"),
        ("video", "connections = 0", "nobody could connect"),
        ("video --key k.pem", "", "--key without --cert"),
    ] {
        let refusal = refused(line, text);
        assert!(refusal.contains(told), "{line}: {refusal}");
    }
}

#[test]
fn an_interface_without_an_address_is_shared() {
    for (line, link, mode) in [
        ("video", LinkChoice::Tap(None), AddressMode::Own),
        ("video --dev eth1", LinkChoice::Auto(Some("eth1".to_owned())), AddressMode::Shared),
        ("video --dev eth1 --addr 10.0.0.2/24", LinkChoice::Auto(Some("eth1".to_owned())), AddressMode::Own),
        ("video --link afxdp:eth1", LinkChoice::AfXdp("eth1".to_owned()), AddressMode::Shared),
        (
            "video --link packet:eth1 --addr 10.0.0.2/24 --address-mode shared",
            LinkChoice::Packet("eth1".to_owned()),
            AddressMode::Shared,
        ),
    ] {
        let config = over(line, "");
        assert_eq!((config.link, config.address_mode), (link, mode), "{line}");
    }
}

#[test]
fn a_link_and_its_device_come_from_one_place() {
    let config = over("video --dev eth2", "link = \"packet:eth1\"");
    assert_eq!(config.link, LinkChoice::Auto(Some("eth2".to_owned())));
    let config = over("video --link tap", "dev = \"eth1\"");
    assert_eq!(config.link, LinkChoice::Tap(None));
}

#[test]
fn a_client_that_takes_nothing_is_left_after_a_time_unless_the_operator_says_never() {
    assert_eq!(over("video", "").stalled, Some(Duration::from_secs(600)));
    assert_eq!(over("video", "stalled-seconds = 90").stalled, Some(Duration::from_secs(90)));
    assert_eq!(over("video --stalled-seconds 0", "stalled-seconds = 90").stalled, None);
}

#[test]
fn what_needs_a_restart_is_known_by_name() {
    let before = over("video --workers 1", "");
    let after = over("video --workers 2 --drain-seconds 5", "");
    assert_eq!(before.fixed_differences(&after), ["workers"]);
    assert!(before.fixed_differences(&before).is_empty());
}
