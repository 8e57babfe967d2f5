//! A client, a server and the bytes between them.

use std::sync::LazyLock;

use aead::AwsLc;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use tls::{ContentType, ExpandedKeys, Message, OpenError, Opener, Scratch, Sealer, Suite, Version};

use crate::*;

/// What is on disk at an operator's: PEM text.
pub(crate) struct Pem {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// A certificate authority and what it issued.
pub(crate) struct Authority {
    pub(crate) root: String,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "A root for tests");
    let root = params.self_signed(&key).unwrap().pem();
    Authority { root, issuer: Issuer::new(params, key) }
});

pub(crate) fn issue(names: &[&str]) -> Pem {
    issue_for(names, &KeyPair::generate().unwrap())
}

pub(crate) fn issue_for(names: &[&str], key: &KeyPair) -> Pem {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(key, &AUTHORITY.issuer).unwrap();
    Pem { chain: certificate.pem(), key: key.serialize_pem() }
}

pub(crate) fn certificate(names: &[&str]) -> Certificate {
    let Pem { chain, key } = issue(names);
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}

pub(crate) fn server_settings(options: ServerOptions) -> ServerSettings {
    let certificates = Certificates::new(certificate(&["localhost"]));
    ServerSettings::new(certificates, &Ticketing::new().unwrap(), options).unwrap()
}

pub(crate) fn client_settings(options: ClientOptions) -> ClientSettings {
    ClientSettings::new(Trust::Roots(AUTHORITY.root.as_bytes()), options).unwrap()
}

/// A server for everything and a client for just this.
pub(crate) fn settings(version: Version, suite: Suite) -> (ServerSettings, ClientSettings) {
    let options = ClientOptions { versions: vec![version], suites: vec![suite], ..ClientOptions::default() };
    (server_settings(ServerOptions::default()), client_settings(options))
}

/// Every version with every suite.
pub(crate) fn everything() -> impl Iterator<Item = (Version, Suite)> {
    [Version::Tls12, Version::Tls13].into_iter().flat_map(|version| Suite::ALL.map(|suite| (version, suite)))
}

/// One end after the handshake, with a worker's belongings.
pub(crate) struct End {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) cache: ExpandedKeys<AwsLc>,
    pub(crate) scratch: Scratch,
}

/// A message that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Data(Vec<u8>),
    Ticket(Vec<u8>),
    Other(String),
}

impl End {
    pub(crate) fn new(sealer: Sealer, opener: Opener) -> Self {
        Self { sealer, opener, cache: ExpandedKeys::new(8), scratch: Scratch::new() }
    }

    pub(crate) fn say(&mut self, data: &[u8]) -> Vec<u8> {
        tls::testing::seal_record(&mut self.sealer, &mut self.cache, ContentType::ApplicationData, data)
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, OpenError> {
        let mut input = bytes;
        let mut heard = Vec::new();
        while let Some(message) = self.opener.poll(&mut self.cache, &mut self.scratch, &mut input)? {
            if let Message::KeyUpdate(tls::KeyUpdateRequest::Requested) = message {
                self.sealer.on_key_update_requested();
            }
            heard.push(match message {
                Message::Data(data) => Heard::Data(data.into()),
                Message::NewSessionTicket(body) => Heard::Ticket(body.into()),
                other => Heard::Other(format!("{other:?}")),
            });
        }
        Ok(heard)
    }

    /// All data heard, in one piece.
    pub(crate) fn hear_data(&mut self, bytes: &[u8]) -> Vec<u8> {
        let data = |heard| if let Heard::Data(data) = heard { data } else { Vec::new() };
        self.hear(bytes).unwrap().into_iter().flat_map(data).collect()
    }
}

/// Both ends, established.
pub(crate) struct Met {
    pub(crate) client: Established,
    pub(crate) tickets: Tickets13,
    pub(crate) server: Established,
    /// What the server still sends behind the handshake that completed the client's.
    pub(crate) to_client: Vec<u8>,
}

impl Met {
    /// The two ends, after the client has heard its tickets.
    pub(crate) fn ends(self) -> (End, End) {
        let mut client = End::new(self.client.sealer, self.client.opener);
        let mut tickets = self.tickets;
        for bytes in [self.client.leftover, self.to_client] {
            for heard in client.hear(&bytes).unwrap() {
                if let Heard::Ticket(body) = heard {
                    tickets.on_new_session_ticket(&body).unwrap();
                }
            }
        }
        let mut server = End::new(self.server.sealer, self.server.opener);
        assert_eq!(server.hear(&self.server.leftover), Ok(vec![]));
        (client, server)
    }
}

/// Lets the two shake hands, in pieces of so many bytes.
pub(crate) fn meet(server: &ServerSettings, client: &ClientSettings, piece: usize) -> Met {
    try_to_meet(server, client, "localhost", piece).unwrap()
}

/// The same; or what either side says went wrong: the client's error, then the server's.
pub(crate) fn try_to_meet(
    server: &ServerSettings,
    client: &ClientSettings,
    name: &str,
    piece: usize,
) -> Result<Met, (Option<HandshakeError>, Option<HandshakeError>)> {
    let mut server_side = Handshake::new(server).unwrap();
    let mut client_side = ClientHandshake::new(client, name).unwrap();
    let (mut server_met, mut client_met) = (None, None);
    let (mut server_failed, mut client_failed) = (None, None);
    let mut to_client = Vec::new();
    loop {
        let to_server = client_side.take_output();
        for bytes in to_server.chunks(piece) {
            if server_met.is_some() || server_failed.is_some() {
                assert!(
                    client_met.is_some() || client_failed.is_some(),
                    "the server is done before the client"
                );
                continue;
            }
            match server_side.on_bytes(bytes) {
                Progress::Continue => {}
                Progress::Established(established) => server_met = Some(*established),
                Progress::Failed(error) => server_failed = Some(error),
            }
        }
        to_client.extend(server_side.take_output());
        let chunks: Vec<Vec<u8>> =
            core::mem::take(&mut to_client).chunks(piece).map(<[u8]>::to_vec).collect();
        for bytes in &chunks {
            if client_met.is_some() || client_failed.is_some() {
                to_client.extend(bytes);
                continue;
            }
            match client_side.on_bytes(bytes) {
                Progress::Continue => {}
                Progress::Established(established) => client_met = Some(*established),
                Progress::Failed(error) => client_failed = Some(error),
            }
        }
        if to_server.is_empty() && chunks.is_empty() {
            break;
        }
        if client_met.is_some() && server_met.is_some() {
            break;
        }
    }
    match (client_met, server_met) {
        (Some((client, tickets)), Some(server)) => Ok(Met { client, tickets, server, to_client }),
        _ => Err((client_failed, server_failed)),
    }
}
