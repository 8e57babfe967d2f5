pub(crate) mod fixture;
mod refusals;
mod rustls_as_peer;

use std::sync::mpsc::{Sender, channel};

use fixture::*;
use tls::{Suite, Version};

use crate::*;

mod two_of_ours {
    use super::*;

    #[test]
    fn meet_in_every_version_and_suite_and_in_pieces_of_any_size() {
        for (version, suite) in everything() {
            let (server, client) = settings(version, suite);
            for piece in [1, 2, 3, 5, 6, 50, 1448, usize::MAX] {
                let met = meet(&server, &client, piece);
                for end in [&met.client, &met.server] {
                    assert_eq!((end.version, end.suite), (version, suite));
                    assert_eq!(end.alpn.as_deref(), Some(&b"http/1.1"[..]));
                }
                assert_eq!(met.server.server_name.as_deref(), Some("localhost"));
                let (mut client, mut server) = met.ends();
                for round in 0..3_u8 {
                    let request = client.say(&[round; 300]);
                    assert_eq!(server.hear(&request), Ok(vec![Heard::Data(vec![round; 300])]));
                    let response = server.say(&[!round; 16_384]);
                    assert_eq!(client.hear(&response), Ok(vec![Heard::Data(vec![!round; 16_384])]));
                }
            }
        }
    }

    #[test]
    fn update_their_keys_both_ways_from_the_secret_that_was_captured() {
        for suite in Suite::ALL {
            let (server, client) = settings(Version::Tls13, suite);
            let (mut client, mut server) = meet(&server, &client, 1448).ends();
            for round in 0..4_u8 {
                let (talker, listener) =
                    if round % 2 == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
                let request = tls::KeyUpdateRequest::NotRequested;
                let update = talker.sealer.seal_key_update(&mut talker.cache, request).unwrap();
                listener.hear(update.as_bytes()).unwrap();
                let data = talker.say(&[round; 40]);
                assert_eq!(listener.hear(&data), Ok(vec![Heard::Data(vec![round; 40])]));
            }
        }
    }

    #[test]
    fn resume_by_ticket_in_both_versions() {
        for (version, suite) in everything() {
            let (server, client) = settings(version, suite);
            let first = meet(&server, &client, 1448);
            assert!(!first.server.resumed && !first.client.resumed);
            let _ = first.ends();
            let second = meet(&server, &client, 1448);
            assert!(second.server.resumed && second.client.resumed, "{version:?} {suite:?}");
            assert_eq!(second.server.server_name.as_deref(), Some("localhost"));
            let (mut client, mut server) = second.ends();
            let request = client.say(b"again");
            assert_eq!(server.hear_data(&request), b"again");
        }
    }

    #[test]
    fn resume_after_the_certificate_was_replaced_as_long_as_the_ticket_keys_stay() {
        let ticketing = Ticketing::new().unwrap();
        let with = |ticketing: &Ticketing| {
            let certificates = Certificates::new(certificate(&["localhost"]));
            ServerSettings::new(certificates, ticketing, ServerOptions::default()).unwrap()
        };
        for version in [Version::Tls12, Version::Tls13] {
            let client =
                client_settings(ClientOptions { versions: vec![version], ..ClientOptions::default() });
            let _ = meet(&with(&ticketing), &client, 1448).ends();
            assert!(meet(&with(&ticketing), &client, 1448).server.resumed);
            let _ = meet(&with(&ticketing), &client, 1448).ends();
            assert!(!meet(&with(&Ticketing::new().unwrap()), &client, 1448).server.resumed);
        }
    }

    #[test]
    fn settings_may_change_under_a_handshake() {
        let (mut server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut server_side = Handshake::new(&server).unwrap();
        let mut client_side = ClientHandshake::new(&client, "localhost").unwrap();
        assert!(matches!(server_side.on_bytes(&client_side.take_output()), Progress::Continue));
        server = server_settings(ServerOptions::default());
        let Progress::Established(_) = client_side.on_bytes(&server_side.take_output()) else { panic!() };
        let Progress::Established(_) = server_side.on_bytes(&client_side.take_output()) else { panic!() };
        meet(&server, &client, 1448);
    }
}

mod established {
    use super::*;

    /// TLS 1.3, and TLS 1.2 when it resumes: the client is done first, and speaks at once.
    #[test]
    fn a_request_that_came_with_the_finished_message_is_left_over_wherever_it_is_cut() {
        for (version, suite) in everything() {
            let (server, client) = settings(version, suite);
            let _ = meet(&server, &client, usize::MAX).ends();
            for cut in [0, 1, 4, 5, 6, 20, 33] {
                let mut server_side = Handshake::new(&server).unwrap();
                let mut client_side = ClientHandshake::new(&client, "localhost").unwrap();
                assert!(matches!(server_side.on_bytes(&client_side.take_output()), Progress::Continue));
                let Progress::Established(met) = client_side.on_bytes(&server_side.take_output()) else {
                    panic!("{version:?}: the client is not done")
                };
                let (client, _) = *met;
                let mut client = End::new(client.sealer, client.opener);
                let request = client.say(b"GET / HTTP/1.1\r\n");
                let mut bytes = client_side.take_output();
                bytes.extend_from_slice(&request[..cut]);

                let Progress::Established(server) = server_side.on_bytes(&bytes) else {
                    panic!("{version:?}: the server is not done")
                };
                assert_eq!(server.leftover, request[..cut]);
                let mut heard = End::new(server.sealer, server.opener);
                let mut data = heard.hear_data(&server.leftover);
                data.extend(heard.hear_data(&request[cut..]));
                assert_eq!(data, b"GET / HTTP/1.1\r\n");
            }
        }
    }

    #[test]
    fn numbers_continue_behind_what_rustls_sealed() {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let met = meet(&server, &client, usize::MAX);
        assert_eq!(met.server.sealer.next_record().number(), 1, "two tickets in one record");
        assert_eq!(met.server.opener.next_number(), 0);
        let (server, client) = settings(Version::Tls12, Suite::Aes128Gcm);
        let met = meet(&server, &client, usize::MAX);
        assert_eq!(met.server.sealer.next_record().number(), 1, "the Finished message");
        assert_eq!(met.server.opener.next_number(), 1);
    }

    #[test]
    fn costs_under_450_bytes_and_no_heap() {
        assert!(size_of::<tls::Sealer>() + size_of::<tls::Opener>() <= 384);
        for (version, suite) in everything() {
            let (server, client) = settings(version, suite);
            let (_, mut server) = meet(&server, &client, usize::MAX).ends();
            server.say(b"a response");
            assert_eq!(server.sealer.heap_bytes() + server.opener.heap_bytes(), 0);
        }
    }

    #[test]
    fn a_handshake_has_nothing_more_to_give() {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut server_side = Handshake::new(&server).unwrap();
        let mut client_side = ClientHandshake::new(&client, "localhost").unwrap();
        let _ = server_side.on_bytes(&client_side.take_output());
        let _ = client_side.on_bytes(&server_side.take_output());
        assert!(matches!(server_side.on_bytes(&client_side.take_output()), Progress::Established(_)));
        assert!(server_side.has_output(), "tickets");
        assert!(matches!(server_side.on_bytes(b"more"), Progress::Failed(HandshakeError::Ours(_))));
    }

    #[test]
    fn buffers_stay_within_a_record_while_the_hello_trickles_in() {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut server_side = Handshake::new(&server).unwrap();
        let hello = ClientHandshake::new(&client, "localhost").unwrap().take_output();
        assert!(hello.len() > 1448, "a post-quantum hello does not fit into a segment: {}", hello.len());
        for byte in &hello[..hello.len() - 1] {
            assert!(matches!(server_side.on_bytes(&[*byte]), Progress::Continue));
            assert!(server_side.buffered_bytes() <= 2 * hello.len());
        }
    }
}

mod secrets {
    use super::*;

    #[derive(Debug)]
    struct Log(Sender<(String, Vec<u8>, Vec<u8>)>);

    impl SecretLog for Log {
        fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
            self.0.send((label.into(), client_random.into(), secret.into())).unwrap();
        }
    }

    #[test]
    fn are_logged_when_that_is_wanted_and_are_the_peers_too() {
        for (version, labels) in [
            (Version::Tls12, &["CLIENT_RANDOM"][..]),
            (
                Version::Tls13,
                &["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"],
            ),
        ] {
            let (server_log, at_server) = channel();
            let (client_log, at_client) = channel();
            let server = server_settings(ServerOptions {
                secret_log: Some(Box::new(Log(server_log))),
                ..ServerOptions::default()
            });
            let client = client_settings(ClientOptions {
                secret_log: Some(Box::new(Log(client_log))),
                versions: vec![version],
                ..ClientOptions::default()
            });
            meet(&server, &client, 1448);
            let (mut at_server, mut at_client): (Vec<_>, Vec<_>) =
                (at_server.try_iter().collect(), at_client.try_iter().collect());
            at_server.sort();
            at_client.sort();
            assert_eq!(at_server, at_client);
            for label in labels {
                assert!(at_server.iter().any(|(logged, ..)| logged == label), "{label}");
            }
        }
    }

    #[test]
    fn of_handshakes_that_run_side_by_side_are_not_mixed_up() {
        let (server, client) = settings(Version::Tls13, Suite::Aes128Gcm);
        let mut pairs: Vec<_> = (0..5)
            .map(|_| (Handshake::new(&server).unwrap(), ClientHandshake::new(&client, "localhost").unwrap()))
            .collect();
        for (server, client) in &mut pairs {
            assert!(matches!(server.on_bytes(&client.take_output()), Progress::Continue));
        }
        let clients: Vec<_> = pairs
            .iter_mut()
            .map(|(server, client)| match client.on_bytes(&server.take_output()) {
                Progress::Established(met) => *met,
                other => panic!("{other:?}"),
            })
            .collect();
        let servers: Vec<_> = pairs
            .iter_mut()
            .map(|(server, client)| match server.on_bytes(&client.take_output()) {
                Progress::Established(met) => *met,
                other => panic!("{other:?}"),
            })
            .collect();
        for ((client, _), server) in clients.into_iter().zip(servers) {
            let (mut client, mut server) =
                (End::new(client.sealer, client.opener), End::new(server.sealer, server.opener));
            let request = tls::KeyUpdateRequest::NotRequested;
            let update = client.sealer.seal_key_update(&mut client.cache, request).unwrap();
            server.hear(update.as_bytes()).unwrap();
            let data = client.say(b"under the second key");
            assert_eq!(server.hear_data(&data), b"under the second key");
        }
    }
}

mod names {
    use super::*;

    fn served(server: &ServerSettings, name: &str) -> bool {
        try_to_meet(server, &client_settings(ClientOptions::default()), name, 1448).is_ok()
    }

    /// The client verifies the name against what it got, so a meeting means the right certificate.
    #[test]
    fn choose_the_certificate_exactly_then_by_wildcard_then_the_first() {
        let certificates = Certificates::new(certificate(&["localhost", "default.example"]))
            .with(certificate(&["a.example.org"]))
            .with(certificate(&["*.example.org"]));
        let server =
            ServerSettings::new(certificates, &Ticketing::new().unwrap(), ServerOptions::default()).unwrap();
        for name in ["localhost", "default.example", "a.example.org", "b.example.org", "A.Example.ORG"] {
            assert!(served(&server, name), "{name}");
        }
        for name in ["example.org", "x.b.example.org", "example.net"] {
            assert!(!served(&server, name), "{name}");
        }
    }

    #[test]
    fn may_be_numbers_which_get_the_first_certificate() {
        let server = ServerSettings::new(
            Certificates::new(certificate(&["192.0.2.1", "localhost"])).with(certificate(&["a.example.org"])),
            &Ticketing::new().unwrap(),
            ServerOptions::default(),
        )
        .unwrap();
        let client = client_settings(ClientOptions::default());
        let met = try_to_meet(&server, &client, "192.0.2.1", 1448).unwrap();
        assert_eq!(met.server.server_name, None);
    }

    #[test]
    fn that_are_none_are_refused_before_anything_is_sent() {
        let client = client_settings(ClientOptions::default());
        assert!(matches!(ClientHandshake::new(&client, "not a name"), Err(HandshakeError::Ours(_))));
    }
}
