//! Peers that cannot or will not.

use proptest::prelude::*;
use tls::{AlertDescription, Suite, Version};

use super::fixture::*;
use crate::*;

fn fresh() -> Handshake {
    Handshake::new(&server_settings(ServerOptions::default())).unwrap()
}

fn failure(progress: Progress) -> HandshakeError {
    match progress {
        Progress::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The description in a plaintext alert record.
fn alert_in(output: &[u8]) -> Option<AlertDescription> {
    match output {
        [21, 3, _, 0, 2, 2, code] => Some(AlertDescription(*code)),
        _ => None,
    }
}

mod plain_http {
    use super::*;

    #[test]
    fn is_told_apart_from_garbage_with_its_first_word() {
        for request in ["GET / HTTP/1.1", "HEAD /", "POST /x", "OPTIONS *", "CONNECT a:443", "PRI * HTTP/2.0"]
        {
            assert_eq!(failure(fresh().on_bytes(request.as_bytes())), HandshakeError::PlainHttp);
        }
        for garbage in [&b"GETX"[..], b"SSH-2.0-x", b"\0", b"get / http/1.1", &[0x80, 0x2e, 1], b"G\x16"] {
            assert_eq!(failure(fresh().on_bytes(garbage)), HandshakeError::NotTls, "{garbage:?}");
        }
    }

    #[test]
    fn is_waited_for_while_it_may_still_become_a_method_and_is_owed_no_alert() {
        let mut server = fresh();
        for byte in b"OPTIONS" {
            assert!(matches!(server.on_bytes(&[*byte]), Progress::Continue));
        }
        assert_eq!(failure(server.on_bytes(b" ")), HandshakeError::PlainHttp);
        assert!(!server.has_output());
    }
}

mod a_hello {
    use super::*;

    #[test]
    fn without_a_common_version_gets_an_alert() {
        let server =
            server_settings(ServerOptions { versions: vec![Version::Tls13], ..ServerOptions::default() });
        let client =
            client_settings(ClientOptions { versions: vec![Version::Tls12], ..ClientOptions::default() });
        let (at_client, at_server) = try_to_meet(&server, &client, "localhost", 1448).err().unwrap();
        assert!(matches!(at_server, Some(HandshakeError::Incompatible(_))), "{at_server:?}");
        assert_eq!(at_client, Some(HandshakeError::AlertReceived(AlertDescription::PROTOCOL_VERSION)));
    }

    #[test]
    fn without_a_common_suite_gets_an_alert() {
        let server =
            server_settings(ServerOptions { suites: vec![Suite::Aes128Gcm], ..ServerOptions::default() });
        let client = client_settings(ClientOptions {
            suites: vec![Suite::Chacha20Poly1305],
            ..ClientOptions::default()
        });
        let (at_client, at_server) = try_to_meet(&server, &client, "localhost", 1448).err().unwrap();
        assert!(matches!(at_server, Some(HandshakeError::Incompatible(_))), "{at_server:?}");
        assert_eq!(at_client, Some(HandshakeError::AlertReceived(AlertDescription::HANDSHAKE_FAILURE)));
    }

    #[test]
    fn without_a_common_application_protocol_gets_an_alert() {
        let client =
            client_settings(ClientOptions { alpn: vec![b"h2".to_vec()], ..ClientOptions::default() });
        let server = server_settings(ServerOptions::default());
        let (at_client, at_server) = try_to_meet(&server, &client, "localhost", 1448).err().unwrap();
        assert!(matches!(at_server, Some(HandshakeError::Incompatible(_))), "{at_server:?}");
        assert_eq!(at_client, Some(HandshakeError::AlertReceived(AlertDescription::NO_APPLICATION_PROTOCOL)));
    }

    #[test]
    fn without_application_protocols_is_served() {
        let client = client_settings(ClientOptions { alpn: vec![], ..ClientOptions::default() });
        let met = meet(&server_settings(ServerOptions::default()), &client, 1448);
        assert_eq!(met.server.alpn, None);
    }

    #[test]
    fn gets_our_favourite_suite_whatever_its_own_is() {
        let mut suites = Suite::ALL.to_vec();
        suites.reverse();
        let client = client_settings(ClientOptions { suites, ..ClientOptions::default() });
        let met = meet(&server_settings(ServerOptions::default()), &client, 1448);
        assert_eq!((met.server.version, met.server.suite), (Version::Tls13, Suite::Aes128Gcm));
    }

    #[test]
    fn without_a_signature_scheme_for_our_key_gets_an_alert() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let Pem { chain, key } = issue_for(&["localhost"], &key);
        let ed25519 = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let ticketing = Ticketing::new().unwrap();
        let server =
            ServerSettings::new(Certificates::new(ed25519), &ticketing, ServerOptions::default()).unwrap();
        let client = client_settings(ClientOptions::default());
        // The client can verify Ed25519; its hello is made to name something else, of the same length.
        let mut hello = ClientHandshake::new(&client, "localhost").unwrap().take_output();
        let scheme = hello.windows(2).rposition(|pair| pair == [8, 7]).unwrap();
        hello[scheme] = 0x7f;
        let mut server_side = Handshake::new(&server).unwrap();
        let error = failure(server_side.on_bytes(&hello));
        assert!(matches!(error, HandshakeError::Incompatible(_)), "{error:?}");
        // Found after the ServerHello, so the alert is a sealed record behind it.
        let output = server_side.take_output();
        assert_eq!(output[0], 22);
        assert_eq!(output[output.len() - 24..][..5], [23, 3, 3, 0, 2 + 1 + 16]);
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "rustls shares its resolver by Arc")]
    fn for_a_name_that_a_foreign_resolver_does_not_know_is_incompatible() {
        let resolver = std::sync::Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
        let (at_client, at_server) = try_to_meet(
            &ServerSettings::from_rustls(config),
            &client_settings(ClientOptions::default()),
            "localhost",
            1448,
        )
        .err()
        .unwrap();
        assert!(matches!(at_server, Some(HandshakeError::Incompatible(_))), "{at_server:?}");
        assert!(matches!(at_client, Some(HandshakeError::AlertReceived(_))));
    }

    #[test]
    fn that_does_not_parse_gets_an_alert() {
        let mut server = fresh();
        let error = failure(server.on_bytes(&[22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3]));
        assert!(matches!(error, HandshakeError::Malformed(_)), "{error:?}");
        assert_eq!(alert_in(&server.take_output()), Some(AlertDescription::DECODE_ERROR));
    }

    #[test]
    fn that_is_another_message_gets_an_alert() {
        let mut server = fresh();
        let error = failure(server.on_bytes(&[22, 3, 1, 0, 4, 14, 0, 0, 0]));
        assert!(matches!(error, HandshakeError::Malformed(_)), "{error:?}");
        assert_eq!(alert_in(&server.take_output()), Some(AlertDescription::UNEXPECTED_MESSAGE));
    }

    #[test]
    fn in_a_record_longer_than_any_is_refused_by_its_head() {
        let mut server = fresh();
        let error = failure(server.on_bytes(&[22, 3, 1, 0xff, 0xff]));
        assert!(matches!(error, HandshakeError::Malformed(_)), "{error:?}");
        assert_eq!(server.buffered_bytes() - server.take_output().capacity(), 0);
    }

    #[test]
    fn longer_than_any_honest_one_is_refused_and_never_held() {
        let mut server = fresh();
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.resize(5 + 0x4000, 0);
        record[5..9].copy_from_slice(&[1, 0, 0xff, 0xff]);
        let mut error = None;
        for _ in 0..5 {
            match server.on_bytes(&record) {
                Progress::Continue => assert!(server.buffered_bytes() <= 3 * HANDSHAKE_BYTES_MAX),
                Progress::Failed(why) => {
                    error = Some(why);
                    break;
                }
                Progress::Established(_) => panic!(),
            }
            record[5..9].fill(0);
        }
        assert_eq!(error, Some(HandshakeError::TooLong));
        assert_eq!(server.buffered_bytes(), 0);
    }
}

mod a_client {
    use super::*;

    #[test]
    fn that_does_not_trust_the_certificate_says_so() {
        let other_root = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        let client =
            ClientSettings::new(Trust::Roots(other_root.as_bytes()), ClientOptions::default()).unwrap();
        let (at_client, at_server) =
            try_to_meet(&server_settings(ServerOptions::default()), &client, "localhost", 1448)
                .err()
                .unwrap();
        assert!(matches!(at_client, Some(HandshakeError::PeerCertificate(_))), "{at_client:?}");
        assert_eq!(at_server, Some(HandshakeError::AlertReceived(AlertDescription::UNKNOWN_CA)));
    }

    #[test]
    fn that_trusts_anyone_meets_a_self_signed_server_of_another_name() {
        let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
        let own =
            Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
        let ticketing = Ticketing::new().unwrap();
        let server =
            ServerSettings::new(Certificates::new(own.unwrap()), &ticketing, ServerOptions::default());
        let client = ClientSettings::new(Trust::Anyone, ClientOptions::default()).unwrap();
        meet(&server.unwrap(), &client, 1448);
    }

    #[test]
    fn that_closes_in_the_middle_is_told_from_one_that_breaks_rules() {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut server_side = Handshake::new(&server).unwrap();
        let mut hello = ClientHandshake::new(&client, "localhost").unwrap();
        let _ = server_side.on_bytes(&hello.take_output());
        let error = failure(server_side.on_bytes(&[21, 3, 3, 0, 2, 2, 90]));
        assert!(
            matches!(
                error,
                HandshakeError::AlertReceived(AlertDescription::USER_CANCELED) | HandshakeError::Closed
            ),
            "{error:?}"
        );
    }
}

mod a_finished_message {
    use super::*;

    #[test]
    fn with_any_byte_changed_ends_the_handshake_with_an_alert() {
        for version in [Version::Tls12, Version::Tls13] {
            let (server, client) = settings(version, Suite::Aes128Gcm);
            for at in 0..60 {
                let mut server_side = Handshake::new(&server).unwrap();
                let mut client_side = ClientHandshake::new(&client, "localhost").unwrap();
                let _ = server_side.on_bytes(&client_side.take_output());
                let _ = client_side.on_bytes(&server_side.take_output());
                let mut flight = client_side.take_output();
                let at = flight.len() - 1 - at.min(flight.len() - 1);
                flight[at] ^= 0x80;
                match server_side.on_bytes(&flight) {
                    Progress::Failed(HandshakeError::Ours(why)) => panic!("byte {at}: {why}"),
                    Progress::Failed(_) | Progress::Continue => {}
                    // The version in the head of a ChangeCipherSpec means nothing, nor, in TLS 1.3, does that of the
                    // Finished message.
                    Progress::Established(_) => {
                        let meaningless: &[usize] = match version {
                            Version::Tls12 => &[43, 44],
                            Version::Tls13 => &[1, 2, 7, 8],
                        };
                        assert!(meaningless.contains(&at), "byte {at} of {}", flight.len());
                    }
                }
            }
        }
    }
}

mod operators {
    use super::*;

    #[test]
    fn are_told_what_is_wrong_with_their_files() {
        let (good, other) = (issue(&["localhost"]), issue(&["localhost"]));
        let load =
            |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map(|_| ());
        assert_eq!(load(&good.chain, &good.key), Ok(()));
        assert_eq!(load("", &good.key), Err(CertificateError::NoCertificate));
        assert_eq!(load(&good.key, &good.key), Err(CertificateError::NoCertificate));
        assert_eq!(load(&good.chain, ""), Err(CertificateError::NoKey));
        assert_eq!(load(&good.chain, &good.chain), Err(CertificateError::NoKey));
        assert_eq!(load(&good.chain, &other.key), Err(CertificateError::Mismatch));
        let garbled = good.chain.replacen('M', "A", 1);
        assert!(matches!(load(&garbled, &good.key), Err(CertificateError::Chain(_))));
        let garbled = good.key.replacen('M', "A", 1);
        assert!(matches!(load(&good.chain, &garbled), Err(CertificateError::Key(_))));
    }

    #[test]
    fn are_told_when_nothing_is_left_to_offer() {
        let make = |options| {
            let certificates = Certificates::new(certificate(&["localhost"]));
            ServerSettings::new(certificates, &Ticketing::new().unwrap(), options)
        };
        for options in [
            ServerOptions { versions: vec![], ..ServerOptions::default() },
            ServerOptions { suites: vec![], ..ServerOptions::default() },
        ] {
            assert!(matches!(make(options), Err(SettingsError::NothingOffered(_))));
        }
        let roots = ClientSettings::new(Trust::Roots(b"no certificate"), ClientOptions::default());
        assert!(matches!(roots, Err(SettingsError::Roots(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_ends_or_waits_and_is_never_our_fault(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        like_tls: bool,
        piece in 1_usize..200,
    ) {
        let mut bytes = bytes;
        if like_tls && bytes.len() > 9 {
            bytes[..5].copy_from_slice(&[22, 3, 1, 0, 100]);
            bytes[5..9].copy_from_slice(&[1, 0, 0, 96]);
        }
        let mut server = fresh();
        for bytes in bytes.chunks(piece) {
            match server.on_bytes(bytes) {
                Progress::Continue => {}
                Progress::Established(_) => prop_assert!(false, "established by garbage"),
                Progress::Failed(error) => {
                    prop_assert!(!matches!(error, HandshakeError::Ours(_)), "{error}");
                    break;
                }
            }
        }
    }

    #[test]
    fn a_hello_with_a_byte_changed_never_panics_and_is_never_our_fault(at: prop::sample::Index, to: u8) {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut hello = ClientHandshake::new(&client, "localhost").unwrap().take_output();
        let at = at.index(hello.len());
        hello[at] = to;
        if let Progress::Failed(HandshakeError::Ours(why)) = Handshake::new(&server).unwrap().on_bytes(&hello) {
            prop_assert!(false, "{}", why);
        }
    }
}
