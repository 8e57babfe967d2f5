use super::*;
use handshake::{
    Certificate, Certificates, ClientOptions, Handshake, Progress, ServerOptions, ServerSettings, Ticketing,
    Trust,
};
use proptest::prelude::*;
use std::sync::OnceLock;
use tls::{Suite, Version};

const HELD: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn object(bytes: usize) -> Vec<u8> {
    HELD.iter().copied().cycle().take(bytes).collect()
}

fn response(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A server that says what it is told to, in records of the sizes it is told.
struct Server {
    cx: Cryptography,
    sealer: Sealer,
    opener: Opener,
}

impl Server {
    fn settings() -> &'static ServerSettings {
        static SETTINGS: OnceLock<ServerSettings> = OnceLock::new();
        SETTINGS.get_or_init(|| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            let certificate = Certificate::from_pem(
                made.cert.pem().as_bytes(),
                made.signing_key.serialize_pem().as_bytes(),
            );
            let certificates = Certificates::new(certificate.unwrap());
            ServerSettings::new(certificates, &Ticketing::new().unwrap(), ServerOptions::default()).unwrap()
        })
    }

    /// Seals `bytes` in records whose sizes repeat.
    fn say(&mut self, content: ContentType, bytes: &[u8], records: &[usize]) -> Vec<u8> {
        let (mut wire, mut rest, mut sizes) = (Vec::new(), bytes, records.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = later;
            let layout = self.sealer.layout();
            let mut record = vec![0; layout.sealed_bytes(now.len())];
            let payload = layout.head_bytes..layout.head_bytes + now.len();
            record[payload.clone()].copy_from_slice(now);
            let number = self.sealer.bind().unwrap();
            self.sealer.seal(&mut self.cx.keys, number, content, &mut record, payload).unwrap();
            wire.extend_from_slice(&record);
        }
        wire
    }

    fn hear(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        while let Some(message) =
            self.opener.poll(&mut self.cx.keys, &mut self.cx.scratch, &mut wire).unwrap()
        {
            if let Message::Data(bytes) = message {
                heard.extend_from_slice(bytes);
            }
        }
        heard
    }
}

/// The client, its server, and what the server has already said (tickets).
fn met(version: Version, suite: Suite) -> (Session, Cryptography, Server) {
    let options = ClientOptions { versions: vec![version], suites: vec![suite], ..ClientOptions::default() };
    let settings = ClientSettings::new(Trust::Anyone, options).unwrap();
    let mut cx = Cryptography::new(1);
    let mut session = Session::secure(&settings, "localhost").unwrap();
    let mut handshake = Handshake::new(Server::settings()).unwrap();
    let mut established = None;
    while established.is_none() || !session.is_ready() {
        let said = session.output().to_vec();
        session.on_sent(said.len());
        match (established.is_none()).then(|| handshake.on_bytes(&said)) {
            Some(Progress::Established(keys)) => established = Some(*keys),
            Some(Progress::Failed(error)) => panic!("{error}"),
            Some(Progress::Continue) | None => {}
        }
        give(&mut session, &mut cx, &handshake.take_output(), &[1_448], false).unwrap();
    }
    let established = established.unwrap();
    let server = Server { cx: Cryptography::new(1), sealer: established.sealer, opener: established.opener };
    (session, cx, server)
}

/// What a client saw of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    body: Vec<u8>,
    skipped: u64,
    first_bytes: usize,
    done: usize,
}

/// Brings bytes as they are wanted, cut as they come; what is to be discarded is never shown.
fn give(
    session: &mut Session,
    cx: &mut Cryptography,
    stream: &[u8],
    cuts: &[usize],
    show_anyway: bool,
) -> Result<Seen, Fault> {
    let (mut seen, mut at, mut cuts) = (Seen::default(), 0, cuts.iter().cycle());
    while at < stream.len() {
        let there = (*cuts.next().unwrap()).min(stream.len() - at);
        let (count, discard) = match session.want() {
            Want::Bytes(wanted) => (wanted.min(there), false),
            Want::Discard(wanted) => (usize::try_from(wanted).unwrap().min(there), !show_anyway),
        };
        let mut tell = |event: Event<'_>| match event {
            Event::Body(bytes) => seen.body.extend_from_slice(bytes),
            Event::Skipped(bytes) => seen.skipped += bytes,
            Event::FirstByte => seen.first_bytes += 1,
            Event::Done => seen.done += 1,
            Event::Head(_) | Event::Established { .. } => {}
        };
        if discard {
            session.on_discarded(count as u64, &mut tell);
        } else {
            session.on_bytes(cx, &stream[at..at + count], &mut tell)?;
        }
        at += count;
    }
    Ok(seen)
}

fn asked(session: &mut Session, cx: &mut Cryptography, heed: Heed) -> Vec<u8> {
    session.ask(cx, b"GET / HTTP/1.1\r\n\r\n", heed).unwrap();
    let said = session.output().to_vec();
    session.on_sent(said.len());
    said
}

fn suites() -> impl Strategy<Value = (Version, Suite)> {
    let versions = prop_oneof![Just(Version::Tls13), Just(Version::Tls12)];
    (versions, proptest::sample::select(Suite::ALL.to_vec()))
}

mod over_tls {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Counted and seen responses follow each other on one connection, whatever the records and cuts are.
        #[test]
        fn responses_end_where_they_end(
            (version, suite) in suites(),
            responses in proptest::collection::vec((0_usize..60_000, any::<bool>()), 1..5),
            records in proptest::collection::vec(1_usize..=16_384, 1..4),
            cuts in proptest::collection::vec(1_usize..20_000, 1..20),
            show_anyway in any::<bool>(),
        ) {
            let (mut session, mut cx, mut server) = met(version, suite);
            for (bytes, see) in responses {
                let heed = if see { Heed::See } else { Heed::Count };
                let request = asked(&mut session, &mut cx, heed);
                prop_assert_eq!(server.hear(&request), b"GET / HTTP/1.1\r\n\r\n");
                let body = object(bytes);
                let wire = server.say(ContentType::ApplicationData, &response(&body), &records);
                let seen = give(&mut session, &mut cx, &wire, &cuts, show_anyway).unwrap();
                prop_assert_eq!((seen.done, seen.first_bytes), (1, 1));
                prop_assert_eq!(seen.body.len() as u64 + seen.skipped, bytes as u64);
                if see {
                    prop_assert_eq!(seen.body, body);
                }
                prop_assert!(!session.is_awaiting());
            }
        }
    }

    #[test]
    fn most_of_a_large_response_is_never_shown() {
        let (mut session, mut cx, mut server) = met(Version::Tls13, Suite::Aes128Gcm);
        asked(&mut session, &mut cx, Heed::Count);
        let wire = server.say(ContentType::ApplicationData, &response(&object(300_000)), &[16_384]);
        let seen = give(&mut session, &mut cx, &wire, &[65_536], false).unwrap();
        assert_eq!(seen.skipped + seen.body.len() as u64, 300_000);
        assert!(seen.body.len() <= 16_384, "only the first record was opened");
    }

    #[test]
    fn a_key_update_between_records_that_nobody_sees_is_obeyed() {
        let (mut session, mut cx, mut server) = met(Version::Tls13, Suite::Aes128Gcm);
        for _ in 0..3 {
            let request = asked(&mut session, &mut cx, Heed::Count);
            assert_eq!(server.hear(&request), b"GET / HTTP/1.1\r\n\r\n");
            let text = response(&object(100_000));
            let mut wire = server.say(ContentType::ApplicationData, &text[..50_000], &[16_384]);
            let request = KeyUpdateRequest::Requested;
            wire.extend_from_slice(
                server.sealer.seal_key_update(&mut server.cx.keys, request).unwrap().as_bytes(),
            );
            wire.extend(server.say(ContentType::ApplicationData, &text[50_000..], &[16_384]));
            let seen = give(&mut session, &mut cx, &wire, &[4_096], false).unwrap();
            assert_eq!(seen.done, 1);
            // Ours follows before the next request, under which it is sealed.
            let request = asked(&mut session, &mut cx, Heed::See);
            assert_eq!(server.hear(&request), b"GET / HTTP/1.1\r\n\r\n");
            let wire = server.say(ContentType::ApplicationData, &response(b"small"), &[1_000]);
            assert_eq!(give(&mut session, &mut cx, &wire, &[7], false).unwrap().body, b"small");
        }
    }

    #[test]
    fn a_record_that_was_changed_is_refused_when_it_is_seen() {
        let (mut session, mut cx, mut server) = met(Version::Tls13, Suite::Aes128Gcm);
        asked(&mut session, &mut cx, Heed::See);
        let mut wire = server.say(ContentType::ApplicationData, &response(b"something"), &[1_000]);
        *wire.last_mut().unwrap() ^= 1;
        assert!(matches!(give(&mut session, &mut cx, &wire, &[99], false), Err(Fault::Tls(_))));
    }

    #[test]
    fn bytes_behind_a_response_are_a_fault() {
        let (mut session, mut cx, mut server) = met(Version::Tls13, Suite::Aes128Gcm);
        asked(&mut session, &mut cx, Heed::Count);
        let wire =
            server.say(ContentType::ApplicationData, &[response(b"one"), response(b"two")].concat(), &[99]);
        assert_eq!(give(&mut session, &mut cx, &wire, &[1_000], false), Err(Fault::Unasked));
    }

    #[test]
    fn an_end_without_close_notify_does_not_end_a_response_without_length() {
        for polite in [true, false] {
            let (mut session, mut cx, mut server) = met(Version::Tls13, Suite::Aes128Gcm);
            asked(&mut session, &mut cx, Heed::Count);
            let text = b"HTTP/1.0 200 OK\r\n\r\nuntil the end";
            let mut wire = server.say(ContentType::ApplicationData, text, &[1_000]);
            if polite {
                wire.extend(server.say(ContentType::Alert, &[1, 0], &[2]));
            }
            assert_eq!(give(&mut session, &mut cx, &wire, &[9], false).unwrap().body, b"until the end");
            assert_eq!(session.on_end(&mut |_| {}).is_ok(), polite);
        }
    }
}

mod without_tls {
    use super::*;

    proptest! {
        #[test]
        fn responses_end_where_they_end(
            responses in proptest::collection::vec((0_usize..9_000, any::<bool>()), 1..6),
            cuts in proptest::collection::vec(1_usize..3_000, 1..20),
        ) {
            let (mut session, mut cx) = (Session::plain(), Cryptography::new(1));
            for (bytes, see) in responses {
                asked(&mut session, &mut cx, if see { Heed::See } else { Heed::Count });
                let seen = give(&mut session, &mut cx, &response(&object(bytes)), &cuts, false).unwrap();
                prop_assert_eq!((seen.done, seen.body.len() as u64 + seen.skipped), (1, bytes as u64));
            }
        }
    }

    #[test]
    fn an_end_within_a_response_is_a_fault() {
        let (mut session, mut cx) = (Session::plain(), Cryptography::new(1));
        assert_eq!(session.on_end(&mut |_| {}), Ok(()));
        asked(&mut session, &mut cx, Heed::Count);
        assert_eq!(session.on_end(&mut |_| {}), Err(Fault::Closed("before the response")));
        give(&mut session, &mut cx, &response(b"cut")[..20], &[99], false).unwrap();
        assert_eq!(session.on_end(&mut |_| {}), Err(Fault::Closed("within a response")));
    }
}
