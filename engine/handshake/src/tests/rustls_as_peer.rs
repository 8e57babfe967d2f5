//! rustls's own connection as the peer: an independent opinion on every record of ours.

#![expect(clippy::disallowed_types, reason = "rustls wants its configuration in an Arc")]

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tls::{Alert, AlertDescription, BeforeData, KeyUpdateRequest, Suite, Version};

use super::fixture::*;
use crate::server::{cipher_suites, protocol_versions};
use crate::*;

fn client_config(version: Version, suite: Suite) -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = cipher_suites(&[suite]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&protocol_versions(&[version]))
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// rustls as a client, and the server of ours that it has met.
struct Conversation {
    peer: ClientConnection,
    us: End,
}

impl Conversation {
    fn new(version: Version, suite: Suite) -> Self {
        Self::with(&client_config(version, suite), &server_settings(ServerOptions::default()))
    }

    fn with(config: &Arc<ClientConfig>, server: &ServerSettings) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut peer = ClientConnection::new(config.clone(), name).unwrap();
        let mut handshake = Handshake::new(server).unwrap();
        loop {
            let progress = handshake.on_bytes(&from_peer(&mut peer));
            to_peer(&mut peer, &handshake.take_output());
            match progress {
                Progress::Continue => {}
                Progress::Established(met) => {
                    let us = End::new(met.sealer, met.opener);
                    return Self { peer, us };
                }
                Progress::Failed(error) => panic!("{error}"),
            }
        }
    }

    fn peer_hears(&mut self, record: &[u8]) -> Vec<u8> {
        to_peer(&mut self.peer, record);
        let mut data = Vec::new();
        let mut buffer = [0; 20_000];
        while let Ok(count @ 1..) = self.peer.reader().read(&mut buffer) {
            data.extend_from_slice(&buffer[..count]);
        }
        data
    }

    fn we_hear(&mut self) -> Vec<Heard> {
        self.us.hear(&from_peer(&mut self.peer)).unwrap()
    }

    /// A record of ours, and one of the peer's.
    fn talk(&mut self, about: u8) {
        let record = self.us.say(&[about; 16_384]);
        assert_eq!(self.peer_hears(&record), [about; 16_384]);
        self.peer.writer().write_all(&[about; 500]).unwrap();
        assert_eq!(self.we_hear(), [Heard::Data(vec![about; 500])]);
    }
}

fn from_peer(peer: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn to_peer(peer: &mut ClientConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets().unwrap();
    }
}

#[test]
fn opens_what_we_seal_and_seals_what_we_open() {
    for (version, suite) in everything() {
        let mut conversation = Conversation::new(version, suite);
        for about in 0..5 {
            conversation.talk(about);
        }
    }
}

#[test]
fn follows_our_key_updates_and_answers_those_that_ask() {
    for suite in Suite::ALL {
        let mut conversation = Conversation::new(Version::Tls13, suite);
        for about in 0..5 {
            let us = &mut conversation.us;
            let update = us.sealer.seal_key_update(&mut us.cache, KeyUpdateRequest::Requested).unwrap();
            conversation.peer_hears(update.as_bytes());
            let expected = Heard::Other("KeyUpdate(NotRequested)".into());
            conversation.peer.writer().write_all(b"x").unwrap();
            assert_eq!(conversation.we_hear(), [expected, Heard::Data(b"x".to_vec())]);
            conversation.us.sealer.on_acknowledged(conversation.us.sealer.next_record());
            conversation.talk(about);
        }
    }
}

#[test]
fn updates_its_own_keys_and_hears_our_answer() {
    for suite in Suite::ALL {
        let mut conversation = Conversation::new(Version::Tls13, suite);
        for about in 0..5 {
            conversation.peer.refresh_traffic_keys().unwrap();
            assert_eq!(conversation.we_hear(), [Heard::Other("KeyUpdate(Requested)".into())]);
            let us = &mut conversation.us;
            assert_eq!(us.sealer.before_data(), BeforeData::KeyUpdate);
            let update = us.sealer.seal_key_update(&mut us.cache, KeyUpdateRequest::NotRequested).unwrap();
            conversation.peer_hears(update.as_bytes());
            conversation.us.sealer.on_acknowledged(conversation.us.sealer.next_record());
            conversation.talk(about);
        }
    }
}

#[test]
fn resumes_by_our_tickets() {
    let server = server_settings(ServerOptions::default());
    for (version, suite) in everything() {
        let config = client_config(version, suite);
        let mut first = Conversation::with(&config, &server);
        assert_ne!(first.peer.handshake_kind(), Some(HandshakeKind::Resumed));
        first.talk(1);
        let mut second = Conversation::with(&config, &server);
        assert_eq!(second.peer.handshake_kind(), Some(HandshakeKind::Resumed));
        second.talk(2);
    }
}

#[test]
fn agrees_on_post_quantum_key_exchange() {
    let conversation = Conversation::new(Version::Tls13, Suite::Aes128Gcm);
    let group = conversation.peer.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn says_and_hears_goodbye() {
    for (version, suite) in everything() {
        let mut conversation = Conversation::new(version, suite);
        conversation.peer.send_close_notify();
        assert_eq!(conversation.we_hear(), [Heard::Other("CloseNotify".into())]);
        let us = &mut conversation.us;
        let goodbye = us.sealer.seal_alert(&mut us.cache, Alert::CLOSE_NOTIFY).unwrap();
        to_peer(&mut conversation.peer, goodbye.as_bytes());
        assert_eq!(conversation.peer.reader().read(&mut [0; 1]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn understands_our_alerts() {
    for (version, suite) in everything() {
        let mut conversation = Conversation::new(version, suite);
        let us = &mut conversation.us;
        let alert = Alert::fatal(AlertDescription::INTERNAL_ERROR);
        let alert = us.sealer.seal_alert(&mut us.cache, alert).unwrap();
        conversation.peer.read_tls(&mut alert.as_bytes()).unwrap();
        let error = conversation.peer.process_new_packets().unwrap_err();
        assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::InternalError));
    }
}

#[test]
fn does_not_notice_a_record_that_was_sealed_twice() {
    for (version, suite) in everything() {
        let mut conversation = Conversation::new(version, suite);
        let us = &mut conversation.us;
        let layout = us.sealer.layout();
        let payload = layout.head_bytes..layout.head_bytes + 100;
        let mut frame = vec![0; layout.sealed_bytes(100)];
        frame[payload.clone()].fill(9);
        let record = us.sealer.bind().unwrap();
        let kind = tls::ContentType::ApplicationData;
        let sent = us.sealer.seal(&mut us.cache, record, kind, &mut frame, payload.clone()).unwrap();
        // Lost; later records are sealed meanwhile; then it is read and sealed again.
        let later = us.say(b"later");
        frame[payload.clone()].fill(9);
        us.sealer.reseal(&mut us.cache, (sent.id, &sent.tag), kind, &mut frame, payload).unwrap();
        assert_eq!(conversation.peer_hears(&frame), [9; 100]);
        assert_eq!(conversation.peer_hears(&later), b"later");
    }
}
