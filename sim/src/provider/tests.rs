use super::*;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use std::io::{Read as _, Write as _};

/// What crossed the wire, each way in order, of two connections with the same client configuration: the second one
/// resumes the first.
fn conversation(seed: u64, suite: CipherSuite) -> (Vec<Vec<u8>>, [HandshakeKind; 2]) {
    let clock = SimClock::new();
    let identity = Identity::new();
    let server = Arc::new(server_config(Seed(seed), clock.clone(), &identity));
    let client = Arc::new(client_config(Seed(seed).dice("client", 0), clock.clone(), &identity, suite));
    let mut wire = Vec::new();
    let kinds = [(); 2].map(|()| {
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut client = ClientConnection::new(Arc::clone(&client), SERVER_NAME.try_into().unwrap()).unwrap();
        client.writer().write_all(b"ping").unwrap();
        server.writer().write_all(b"pong").unwrap();
        while client.wants_write() || server.wants_write() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            let mut input = &flight[..];
            while !input.is_empty() {
                server.read_tls(&mut input).unwrap();
                server.process_new_packets().unwrap();
            }
            wire.push(flight);
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            let mut input = &flight[..];
            while !input.is_empty() {
                client.read_tls(&mut input).unwrap();
                client.process_new_packets().unwrap();
            }
            wire.push(flight);
        }
        let mut received = [0; 4];
        server.reader().read_exact(&mut received).unwrap();
        assert_eq!(&received, b"ping");
        client.reader().read_exact(&mut received).unwrap();
        assert_eq!(&received, b"pong");
        assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), suite);
        clock.advance(clock.instant() + core::time::Duration::from_secs(1));
        client.handshake_kind().unwrap()
    });
    (wire, kinds)
}

fn every_suite() -> impl Iterator<Item = CipherSuite> {
    SUITES_13.into_iter().chain(SUITES_12)
}

#[test]
fn two_handshakes_with_equal_seeds_are_byte_identical() {
    for suite in every_suite() {
        let (wire, _) = conversation(1, suite);
        assert_eq!(wire, conversation(1, suite).0, "{suite:?}");
        assert!(wire.iter().map(Vec::len).sum::<usize>() > 1_000);
    }
}

#[test]
fn two_handshakes_with_different_seeds_differ() {
    for suite in every_suite() {
        assert_ne!(conversation(1, suite).0, conversation(2, suite).0, "{suite:?}");
    }
}

#[test]
fn the_second_connection_resumes_the_first() {
    for suite in every_suite() {
        assert_eq!(conversation(3, suite).1, [HandshakeKind::Full, HandshakeKind::Resumed], "{suite:?}");
    }
}

#[test]
fn the_certificate_is_the_same_in_every_world() {
    assert_eq!(Identity::new().certificate, Identity::new().certificate);
}
