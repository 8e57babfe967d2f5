use super::health::Told;
use super::table::tests::{EXAMPLE, read};
use super::*;
use crate::catalogue::Catalogue;
use crate::hash::{Form, Key};
use crate::respond::{Request, Responder, SLACK_BYTES, Settings, Transport};
use crate::{load, show, zone};
use wire::checksum::Sum;

const ZONE: &str = "$TTL 300\n@ SOA ns h 1 1 1 1 60\n@ NS ns\nns A 192.0.2.1\n\
    video A 192.0.2.250\nvideo TXT steered\ntwo A 192.0.2.251\nwww CNAME video\n";
const RESOLVER: &str = "192.0.2.53";

struct Server {
    steerer: Steerer,
    zones: Catalogue,
    catalogue: Catalogue,
    responder: Responder,
    problems: Vec<String>,
}

/// What came back: the addresses in order, and the scope, if there was an option.
type Answer = (Vec<String>, Option<u8>);

impl Server {
    fn new(table: &str, networks: &str, zone: &str) -> Self {
        let apex = b"\x07example\0";
        let loaded = load::read_text("zone".as_ref(), zone.as_bytes(), apex).unwrap();
        let key = Key::new([7; 16]);
        let zone = zone::build(apex, loaded, key, Form::Wire).unwrap().zone;
        let zones = Catalogue::new(key, Form::Wire, vec![Arc::new(zone)]);
        let mut server = Self {
            steerer: Steerer::new(read(table, networks).unwrap()),
            responder: Responder::new(Settings::default(), &zones),
            catalogue: zones.clone(),
            zones,
            problems: Vec::new(),
        };
        server.renew();
        server
    }

    fn example() -> Self {
        Self::new(EXAMPLE, "10.0.0.0/8 tokyo\n10.1.0.0/16 paris tokyo\n", ZONE)
    }

    fn renew(&mut self) {
        let (steering, problems) = self.steerer.steering(&self.zones);
        self.problems = problems;
        self.catalogue = self.zones.steered(Some(Arc::new(steering)));
    }

    fn tell(&mut self, target: &str, well: bool) -> Option<String> {
        let line = self.steerer.on_told(&Told { target: target.into(), well, why: "it answers 503".into() });
        self.renew();
        line
    }

    /// As the front answers datagrams.
    fn glanced(&mut self, request: &Request, message: &[u8]) -> Vec<u8> {
        let mut room = message.to_vec();
        room.resize(message.len() + SLACK_BYTES, 0);
        let mut glances = [self.responder.glance(&self.catalogue, &room, message.len())];
        Responder::look_up(&self.catalogue, &mut glances);
        let mut out = vec![0; 1_232];
        let glance = glances[0].as_ref();
        let responder = &mut self.responder;
        let response =
            responder.respond_glanced(&self.catalogue, request, glance, message, &mut out).unwrap();
        out.truncate(response.bytes);
        out
    }

    fn shown(&mut self, source: &str, name: &str, rtype: Rtype, subnet: Option<&str>) -> show::Shown {
        let mut message =
            dns::Header { id: 1, qdcount: 1, arcount: 1, ..dns::Header::default() }.emit().to_vec();
        message.extend(dns::name::from_text(name.as_bytes()).unwrap());
        message.extend(rtype.0.to_be_bytes());
        message.extend([0, 1]);
        let mut option = vec![0; 40];
        let bytes = subnet.map_or(0, |subnet| {
            let (address, prefix) = subnet.split_once('/').unwrap();
            let subnet =
                ClientSubnet { address: address.parse().unwrap(), source_prefix: prefix.parse().unwrap() };
            subnet.emit(0, &mut option).unwrap()
        });
        message.extend(dns::edns::emit_opt(1_232, 0, false, u16::try_from(bytes).unwrap()));
        message.extend(&option[..bytes]);
        let request =
            Request { source: source.parse().unwrap(), transport: Transport::Udp, now_ms: 0, unix: 0 };
        let mut room = [0; 1_232];
        let response = self.responder.respond(&self.catalogue, &request, &message, &mut room).unwrap();
        let answer = &room[..response.bytes];
        assert_eq!(response.sum.fold(), Sum::of(answer).fold(), "the sum is the message's");
        assert_eq!(answer, self.glanced(&request, &message), "looked up with others it is another answer");
        show::show(answer).unwrap()
    }

    fn ask(&mut self, source: &str, name: &str, rtype: Rtype, subnet: Option<&str>) -> Answer {
        let shown = self.shown(source, name, rtype, subnet);
        let last = |line: &String| line.rsplit(char::is_whitespace).next().unwrap().to_owned();
        let scope = shown.options.iter().flatten().find(|(code, _)| *code == 8).map(|(_, data)| data[3]);
        (shown.sections[0].iter().map(last).collect(), scope)
    }
}

/// The same, by hand.
fn is(addresses: &[&str], scope: Option<u8>) -> Answer {
    (addresses.iter().map(|address| (*address).to_owned()).collect(), scope)
}

#[test]
fn the_source_decides_when_no_subnet_is_told() {
    let mut server = Server::example();
    assert_eq!(server.ask("203.0.113.9", "video.example.", Rtype::A, None), is(&["198.51.100.10"], None));
    assert_eq!(server.ask("10.9.9.9", "VIDEO.example.", Rtype::A, None), is(&["198.51.100.10"], None));
    let (paris, _) = server.ask("192.0.2.77", "video.example.", Rtype::A, None);
    assert!(paris == ["192.0.2.10"] || paris == ["192.0.2.11"], "{paris:?}");
    let ttl = &server.shown("192.0.2.77", "video.example.", Rtype::A, None).sections[0][0];
    assert!(ttl.contains(" 20 ") || ttl.contains("\t20\t"), "the table's TTL and not the zone's: {ttl}");
}

#[test]
fn the_subnet_decides_and_the_scope_is_what_decided() {
    let mut server = Server::example();
    let mut ask = |subnet| server.ask(RESOLVER, "video.example.", Rtype::A, Some(subnet));
    // One target: the network alone decided, and no shorter prefix, as 10.1/16 lies in it.
    assert_eq!(ask("10.128.0.0/24"), is(&["198.51.100.10"], Some(9)));
    // Two: which of them depends on the /24.
    assert_eq!(ask("10.1.2.0/24").1, Some(24));
    assert_eq!(ask("10.1.2.3/32").1, Some(24));
    assert_eq!(ask("203.0.113.0/24"), is(&["198.51.100.10"], Some(24)));
    // Never longer than what was told: whoever keeps it knows no more.
    assert_eq!(ask("203.0.0.0/16").1, Some(16));
    assert_eq!(ask("2001:db8:a::/56"), is(&["198.51.100.10"], Some(48)));
    // RFC 7871 §7.1.2: nothing is told; the source decides, and anybody may have the answer.
    assert_eq!(ask("0.0.0.0/0").1, Some(0));
}

#[test]
fn what_does_not_depend_on_the_client_says_so() {
    let mut server = Server::example();
    for (name, rtype) in [
        ("video.example.", Rtype::TXT),
        ("ns.example.", Rtype::A),
        ("nobody.example.", Rtype::A),
        ("video.example.", Rtype::MX),
    ] {
        assert_eq!(server.ask(RESOLVER, name, rtype, Some("10.1.2.0/24")).1, Some(0), "{name} {rtype}");
    }
}

#[test]
fn a_resolver_that_is_not_listed_is_not_believed_and_gets_no_option() {
    let mut server = Server::example();
    let told = server.ask("192.0.2.54", "video.example.", Rtype::A, Some("203.0.113.0/24"));
    let plain = server.ask("192.0.2.54", "video.example.", Rtype::A, None);
    assert_eq!(told, plain);
    let mut any = Server::new(&EXAMPLE.replace("ecs = [", "ecs = \"any\" # ["), "", ZONE);
    let told = any.ask("192.0.2.54", "video.example.", Rtype::A, Some("203.0.113.0/24"));
    assert_eq!(told, is(&["198.51.100.10"], Some(24)));
}

#[test]
fn a_chain_ends_at_the_steered_addresses() {
    let mut server = Server::example();
    let (answer, scope) = server.ask(RESOLVER, "www.example.", Rtype::A, Some("203.0.113.0/24"));
    assert_eq!((answer, scope), is(&["video.example.", "198.51.100.10"], Some(24)));
}

#[test]
fn ipv6_is_steered_where_targets_have_it_and_the_zones_where_not() {
    let mut server = Server::example();
    // Of the pool's two targets one has IPv6: all its clients get that one.
    let ask = server.ask(RESOLVER, "video.example.", Rtype::AAAA, Some("10.1.2.0/24"));
    assert_eq!(ask, is(&["2001:db8::10"], Some(16)));
    server.steerer.set("paris-1", Some(Forced::Down), None).unwrap();
    server.renew();
    let ask = server.ask(RESOLVER, "video.example.", Rtype::AAAA, Some("10.1.2.0/24"));
    assert_eq!(ask, is(&[], Some(16)), "the zone has none, and another network would get some");
}

#[test]
fn several_answers_are_several_targets() {
    let mut server = Server::example();
    let (mut both, _) = server.ask("192.0.2.77", "two.example.", Rtype::A, None);
    both.sort();
    assert_eq!(both, ["192.0.2.10", "192.0.2.11"]);
}

#[test]
fn a_target_that_dies_loses_its_clients_to_its_pool_then_to_the_next_pool() {
    let mut server = Server::example();
    assert!(server.tell("paris-1", true).is_none(), "what was assumed is no news");
    let line = server.tell("paris-1", false).unwrap();
    assert_eq!(line, "target paris-1 is down: it answers 503");
    assert!(server.tell("paris-1", false).is_none(), "one line a change");
    assert_eq!(server.ask("192.0.2.77", "video.example.", Rtype::A, None), is(&["192.0.2.11"], None));
    server.steerer.set("paris-2", None, Some(0)).unwrap();
    server.renew();
    assert_eq!(server.ask("192.0.2.77", "video.example.", Rtype::A, None), is(&["198.51.100.10"], None));
    server.tell("paris-1", true).unwrap();
    assert_eq!(server.ask("192.0.2.77", "video.example.", Rtype::A, None), is(&["192.0.2.10"], None));
}

#[test]
fn when_all_are_dead_all_are_answered_or_the_zone() {
    let mut server = Server::example();
    let mut zone = Server::new(&format!("when-all-are-dead = \"zone\"\n{EXAMPLE}"), "", ZONE);
    for target in ["paris-1", "paris-2", "tokyo-1"] {
        server.tell(target, false);
        zone.tell(target, false);
    }
    let mut seen = std::collections::BTreeSet::new();
    for network in 0..64 {
        let (answer, _) = server.ask(&format!("172.16.{network}.1"), "video.example.", Rtype::A, None);
        seen.extend(answer);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["192.0.2.10", "192.0.2.11"], "the first pool's");
    assert_eq!(zone.ask("172.16.0.1", "video.example.", Rtype::A, None), is(&["192.0.2.250"], None));
}

#[test]
fn the_operators_word_beats_the_checks_until_it_is_taken_back() {
    let mut server = Server::example();
    assert!(server.steerer.set("rome-1", None, Some(1)).unwrap_err().contains("rome-1"));
    server.steerer.set("paris-1", Some(Forced::Down), None).unwrap();
    let line = server.tell("paris-1", true);
    assert!(line.is_none());
    assert_eq!(server.ask("192.0.2.77", "video.example.", Rtype::A, None), is(&["192.0.2.11"], None));
    let line = server.tell("paris-1", false).unwrap();
    assert!(line.ends_with("; the operator's word stands"), "{line}");
    // A table that is read again leaves both as they are.
    server.steerer.renew(read(EXAMPLE, "").unwrap());
    let state = server.steerer.states().into_iter().find(|state| state.target == "paris-1").unwrap();
    assert!(!state.up && !state.well && state.forced == Forced::Down && state.pools == ["paris"]);
    server.steerer.set("paris-1", Some(Forced::Up), None).unwrap();
    assert!(server.steerer.states()[0].up);
}

#[test]
fn what_cannot_be_steered_is_answered_from_its_zone_and_said() {
    let signed =
        "$TTL 300\n@ SOA ns h 1 1 1 1 60\n@ NS ns\n@ NSEC video A\nns A 192.0.2.1\nvideo A 192.0.2.250\n";
    let mut server = Server::new(EXAMPLE, "", signed);
    assert!(
        server.problems.iter().any(|line| line.contains("video.example. is not steered: its zone is signed"))
    );
    assert_eq!(server.ask("192.0.2.77", "video.example.", Rtype::A, None), is(&["192.0.2.250"], None));

    let server = Server::new(EXAMPLE, "", &ZONE.replace("two A", "three A"));
    assert_eq!(server.problems.len(), 1);
    assert!(server.problems[0].starts_with("two.example. is not steered: its zone does not have it"));
    let server = Server::new(&EXAMPLE.replace("two.example", "www.example"), "", ZONE);
    assert!(server.problems[0].contains("CNAME"), "{:?}", server.problems);
    let server = Server::new(&EXAMPLE.replace("two.example", "two.elsewhere"), "", ZONE);
    assert!(server.problems[0].contains("no zone of ours"), "{:?}", server.problems);
}
