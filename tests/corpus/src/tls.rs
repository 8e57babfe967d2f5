//! Records after a handshake, and the handshake itself.

use crate::{decision, pieces};
use handshake::{Certificate, Certificates, Handshake, Progress, ServerOptions, ServerSettings, Ticketing};
use std::sync::OnceLock;
use tls::testing::{ToyAead, client_to_server, seal_record};
use tls::{ContentType, ExpandedKeys, Message, OpenError, Scratch, Suite, Version};

/// What an opener may hold between two messages: the front of a record, and a fragment of a handshake message.
const OPENER_HEAP_BYTES_MAX: usize = 64 << 10;

/// What a handshake may hold in buffers while it has answered nothing.
const HANDSHAKE_BUFFER_BYTES_MAX: usize = 2 * handshake::HANDSHAKE_BYTES_MAX;

/// A script of records, some sealed as a client would, some raw, delivered in pieces.
///
/// ```text
/// | version, suite | size of pieces | then, again and again: | kind | length | bytes |
/// ```
///
/// # Panics
/// A law is broken: memory is bounded, data is never empty, an error is said again.
pub fn tls_records(bytes: &[u8]) {
    let (choice, rest) = decision(bytes);
    let (seed, mut script) = decision(rest);
    let version = if choice & 1 == 0 { Version::Tls13 } else { Version::Tls12 };
    let suite = Suite::ALL[usize::from(choice >> 1) % Suite::ALL.len()];
    let (mut sealer, mut opener) = client_to_server(version, suite);
    let mut keys = ExpandedKeys::<ToyAead>::new(8);
    let mut stream = Vec::new();
    while !script.is_empty() && stream.len() < 1 << 18 {
        let (kind, rest) = decision(script);
        let (length, rest) = decision(rest);
        let (body, behind) = rest.split_at(usize::from(length).min(rest.len()));
        script = behind;
        let content = match kind % 4 {
            0 => ContentType::ApplicationData,
            1 => ContentType::Handshake,
            2 => ContentType::Alert,
            _ => {
                stream.extend_from_slice(body);
                continue;
            }
        };
        stream.extend_from_slice(&seal_record(&mut sealer, &mut keys, content, body));
    }
    let mut scratch = Scratch::new();
    let mut failed: Option<OpenError> = None;
    for piece in pieces(seed, &stream) {
        let mut input = piece;
        loop {
            match opener.poll(&mut keys, &mut scratch, &mut input) {
                Ok(Some(message)) => {
                    assert_eq!(failed, None, "a message after an error");
                    assert!(!matches!(message, Message::Data([])), "data that is none");
                }
                Ok(None) => break assert!(input.is_empty(), "bytes left over"),
                Err(error) => {
                    let first = *failed.get_or_insert(error);
                    assert_eq!(first, error, "an error is said again");
                    break;
                }
            }
        }
        assert!(opener.heap_bytes() <= OPENER_HEAP_BYTES_MAX, "{} bytes held", opener.heap_bytes());
    }
}

/// What a client might open with, delivered in pieces.
///
/// # Panics
/// A law is broken: memory is bounded, and nobody gets in without knowing a key.
pub fn tls_handshake(bytes: &[u8]) {
    let (seed, stream) = decision(bytes);
    let mut server = Handshake::new(settings()).expect("our own settings");
    for piece in pieces(seed, stream) {
        match server.on_bytes(piece) {
            Progress::Continue => {}
            Progress::Established(_) => panic!("established without a key exchange of this process"),
            Progress::Failed(_) => {
                // Usually an alert; what is there to say is said.
                let _ = server.take_output();
                return;
            }
        }
        let _ = server.take_output();
        let held = server.buffered_bytes();
        assert!(held <= HANDSHAKE_BUFFER_BYTES_MAX, "{held} bytes held");
    }
}

fn settings() -> &'static ServerSettings {
    static SETTINGS: OnceLock<ServerSettings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let certificate =
            Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())
                .expect("a certificate of our own making");
        let ticketing = Ticketing::new().expect("randomness");
        ServerSettings::new(Certificates::new(certificate), &ticketing, ServerOptions::default())
            .expect("the default offers something")
    })
}
