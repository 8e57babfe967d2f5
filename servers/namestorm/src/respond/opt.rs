//! The OPT record of an answer (RFC 6891 §6), with the options that the query asked for.

use super::{Request, Settings, Transport};
use dns::edns::{self, Edns, OPT_BYTES, code};

/// Room for the record: NSID of up to 128 bytes, a cookie, a client subnet, an error, a timeout.
const ROOM_BYTES: usize = OPT_BYTES + 4 + NSID_BYTES_MAX + 28 + 24 + 6 + 6;
const NSID_BYTES_MAX: usize = 128;

/// Where an OPT record is written; kept from query to query, since most have no options.
pub(super) type Room = [u8; ROOM_BYTES];

/// Room that nothing is written in.
pub(super) const EMPTY: Room = [0; ROOM_BYTES];

/// An OPT record that is being written into a [`Room`].
#[derive(Clone, Copy)]
pub(super) struct Opt {
    len: usize,
    udp_bytes: u16,
    dnssec: bool,
    trusted: bool,
    /// Where SCOPE PREFIX-LENGTH stands in the room; 0 when there is none.
    scope_at: u16,
}

impl Opt {
    #[inline]
    pub(super) fn new(settings: &Settings, edns: &Edns, request: &Request, room: &mut Room) -> Self {
        let mut opt = Self {
            len: OPT_BYTES,
            udp_bytes: settings.udp_bytes_max,
            dnssec: edns.dnssec,
            trusted: false,
            scope_at: 0,
        };
        if edns.nsid || edns.keepalive || edns.cookie.is_some() || edns.ecs.is_some() {
            opt.answer_options(settings, edns, request, room);
        }
        opt
    }

    fn answer_options(&mut self, settings: &Settings, edns: &Edns, request: &Request, room: &mut Room) {
        if edns.version != 0 {
            return;
        }
        if let (true, Some(identity)) = (edns.nsid, &settings.identity) {
            self.option(code::NSID, &[&identity[..identity.len().min(NSID_BYTES_MAX)]], room);
        }
        if let (Some(cookie), Some(secret)) = (edns.cookie, settings.cookie_secret) {
            // Ours have sixteen bytes, and no others count.
            let sent = if cookie.server_bytes == 16 { &cookie.server[..] } else { &[] };
            let server;
            (server, self.trusted) = secret.answer(cookie.client, sent, request.source, request.unix);
            self.option(code::COOKIE, &[&cookie.client, &server], room);
        }
        if let Some(ecs) = edns.ecs {
            // RFC 7871 §7.2.1: scope 0 unless the answer depends on the network.
            if let Some(bytes) = ecs.emit(0, &mut room[self.len..]) {
                self.scope_at = u16::try_from(self.len + 7).expect("a few hundred at most");
                self.len += bytes;
            }
        }
        if edns.keepalive && request.transport == Transport::Tcp {
            self.option(code::KEEPALIVE, &[&settings.keepalive.to_be_bytes()], room);
        }
    }

    fn option(&mut self, code: u16, parts: &[&[u8]], room: &mut Room) {
        if let Some(bytes) = edns::emit_option(code, parts, &mut room[self.len..]) {
            self.len += bytes;
        }
    }

    /// The answer depends on so much of the client's network (RFC 7871 §7.2.1).
    pub(super) fn set_scope(&self, scope: u8, room: &mut Room) {
        if self.scope_at > 0 {
            room[usize::from(self.scope_at)] = scope;
        }
    }

    /// How many bytes it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.len
    }

    /// It came with a cookie of ours: its sender is who it says it is.
    pub(super) const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Adds an extended error (RFC 8914), if so many bytes are left.
    pub(super) fn explain(&mut self, info_code: Option<u16>, left: usize, room: &mut Room) {
        if let Some(info_code) = info_code.filter(|_| left >= 6) {
            self.option(code::EDE, &[&info_code.to_be_bytes()], room);
        }
    }

    /// The same without options.
    pub(super) fn bare(mut self) -> Self {
        self.len = OPT_BYTES;
        self.scope_at = 0;
        self
    }

    /// The record.
    #[inline]
    pub(super) fn emit<'r>(&self, rcode_high: u8, room: &'r mut Room) -> &'r [u8] {
        let options = u16::try_from(self.len - OPT_BYTES).expect("at most a few hundred");
        let fixed = edns::emit_opt(self.udp_bytes, rcode_high, self.dnssec, options);
        room[..OPT_BYTES].copy_from_slice(&fixed);
        &room[..self.len]
    }
}
