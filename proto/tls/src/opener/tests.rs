use std::borrow::ToOwned;

use proptest::prelude::*;

use super::*;
use crate::sealer::Sealer;
use crate::testing::{ToyAead, client_to_server, keys, seal_record};

type Cache = ExpandedKeys<ToyAead>;

const DATA: ContentType = ContentType::ApplicationData;
const HANDSHAKE: ContentType = ContentType::Handshake;

/// A message that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Data(Vec<u8>),
    KeyUpdate(KeyUpdateRequest),
    RenegotiationRefused,
    Ticket(Vec<u8>),
    CloseNotify,
}

impl From<Message<'_>> for Heard {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Data(data) => Self::Data(data.to_owned()),
            Message::KeyUpdate(request) => Self::KeyUpdate(request),
            Message::RenegotiationRefused => Self::RenegotiationRefused,
            Message::NewSessionTicket(body) => Self::Ticket(body.to_owned()),
            Message::CloseNotify => Self::CloseNotify,
        }
    }
}

/// A peer that seals what it likes, and us.
struct Pair {
    peer: Sealer,
    us: Opener,
    cache: Cache,
    scratch: Scratch,
}

impl Pair {
    fn new(version: Version) -> Self {
        Self::with(version, Suite::Aes128Gcm)
    }

    fn with(version: Version, suite: Suite) -> Self {
        let (peer, us) = client_to_server(version, suite);
        Self { peer, us, cache: Cache::new(8), scratch: Scratch::new() }
    }

    fn as_client(version: Version) -> Self {
        let mut pair = Self::new(version);
        pair.us.role = Role::Client;
        pair
    }

    fn seal(&mut self, content: ContentType, plaintext: &[u8]) -> Vec<u8> {
        seal_record(&mut self.peer, &mut self.cache, content, plaintext)
    }

    /// TLS 1.3, with the inner plaintext as given: type and padding are the caller's.
    fn seal_inner(&mut self, inner: &[u8]) -> Vec<u8> {
        let id = self.peer.bind().unwrap().id();
        let mut keys = keys(Version::Tls13, self.us.suite(), 1);
        let nonce = record::nonce(keys.iv(), u64::from(id.number()));
        let mut whole = record::head(23, inner.len() + TAG_BYTES).to_vec();
        let aad = whole.clone();
        whole.extend_from_slice(inner);
        whole.extend_from_slice(&[0; TAG_BYTES]);
        let (body, tag) = whole[RECORD_HEAD_BYTES..].split_at_mut(inner.len());
        ToyAead::seal(self.cache.expanded(&mut keys), &nonce, &aad, body, &[], tag);
        whole
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, OpenError> {
        let mut input = bytes;
        let mut heard = Vec::new();
        while let Some(message) = self.us.poll(&mut self.cache, &mut self.scratch, &mut input)? {
            heard.push(message.into());
        }
        assert!(input.is_empty(), "no message means no more input");
        Ok(heard)
    }
}

mod open {
    use super::*;

    #[test]
    fn a_record_that_was_passed_over_unseen_is_not_missed() {
        for version in [Version::Tls12, Version::Tls13] {
            let mut pair = Pair::new(version);
            let (first, _unseen, third) =
                (pair.seal(DATA, b"first"), pair.seal(DATA, b"unseen"), pair.seal(DATA, b"third"));
            assert_eq!(pair.hear(&first).unwrap(), [Heard::Data(b"first".to_vec())]);
            pair.us.pass_over();
            assert_eq!(pair.hear(&third).unwrap(), [Heard::Data(b"third".to_vec())]);
        }
    }

    #[test]
    fn data_comes_out_in_order_whatever_pieces_it_comes_in() {
        for version in [Version::Tls12, Version::Tls13] {
            for suite in Suite::ALL {
                for piece in 1..=80 {
                    let mut pair = Pair::with(version, suite);
                    let stream: Vec<u8> = [&b"GET / HTTP/1.1"[..], b"x", b"Host: a"]
                        .iter()
                        .flat_map(|data| pair.seal(DATA, data))
                        .collect();
                    let heard: Vec<Heard> =
                        stream.chunks(piece).flat_map(|bytes| pair.hear(bytes).unwrap()).collect();
                    let said =
                        [&b"GET / HTTP/1.1"[..], b"x", b"Host: a"].map(|data| Heard::Data(data.to_vec()));
                    assert_eq!(heard, said, "{version:?} {suite:?} in pieces of {piece}");
                    assert_eq!(pair.us.heap_bytes(), 0);
                }
            }
        }
    }

    #[test]
    fn a_full_record_is_opened_and_its_buffer_is_given_back() {
        for version in [Version::Tls12, Version::Tls13] {
            let mut pair = Pair::new(version);
            let record = pair.seal(DATA, &[7; PLAINTEXT_BYTES_MAX]);
            assert_eq!(pair.hear(&record[..9000]).unwrap(), []);
            assert!(!pair.us.at_record_boundary());
            assert!(pair.us.heap_bytes() <= record.len());
            assert_eq!(pair.hear(&record[9000..]).unwrap(), [Heard::Data([7; PLAINTEXT_BYTES_MAX].to_vec())]);
            assert!(pair.us.at_record_boundary());
            assert_eq!(pair.us.heap_bytes(), 0);
        }
    }

    #[test]
    fn the_buffer_never_exceeds_the_record_even_byte_by_byte() {
        let mut pair = Pair::new(Version::Tls13);
        let record = pair.seal(DATA, &[7; PLAINTEXT_BYTES_MAX]);
        for byte in &record[..record.len() - 1] {
            assert_eq!(pair.hear(&[*byte]).unwrap(), []);
            assert!(pair.us.heap_bytes() <= record.len());
        }
    }

    #[test]
    fn a_record_that_is_promised_but_not_sent_costs_what_was_sent() {
        let mut pair = Pair::new(Version::Tls13);
        pair.hear(&record::head(23, CIPHERTEXT_BYTES_MAX)).unwrap();
        assert!(pair.us.heap_bytes() <= 16);
    }

    #[test]
    fn padding_is_taken_off() {
        let mut pair = Pair::new(Version::Tls13);
        let padded = pair.seal_inner(b"padded\x17\0\0\0\0\0");
        assert_eq!(pair.hear(&padded).unwrap(), [Heard::Data(b"padded".to_vec())]);
        let zeroes_of_data = pair.seal_inner(b"data\0\0\x17\0");
        assert_eq!(pair.hear(&zeroes_of_data).unwrap(), [Heard::Data(b"data\0\0".to_vec())]);
    }

    #[test]
    fn tls13_does_not_mind_the_version_in_a_head_but_authenticates_it() {
        let mut pair = Pair::new(Version::Tls13);
        let mut record = pair.seal(DATA, b"data");
        record[2] = 1;
        assert_eq!(pair.hear(&record), Err(OpenError::BadRecord));
    }

    #[test]
    fn an_idle_opener_is_small() {
        assert!(size_of::<Opener>() <= 192, "{}", size_of::<Opener>());
    }
}

mod a_broken_record {
    use super::*;

    #[test]
    fn with_any_bit_changed_does_not_open() {
        for version in [Version::Tls12, Version::Tls13] {
            for suite in Suite::ALL {
                let record = Pair::with(version, suite).seal(DATA, b"data");
                for bit in 0..record.len() * 8 {
                    let mut broken = record.clone();
                    broken[bit / 8] ^= 1 << (bit % 8);
                    // A longer length waits for the rest, which then does not authenticate.
                    broken.extend_from_slice(&[0; 1 << 8]);
                    let mut pair = Pair::with(version, suite);
                    let heard = pair.hear(&broken);
                    let waits = !pair.us.at_record_boundary();
                    assert!(
                        heard.is_err() || (waits && heard == Ok(vec![])),
                        "{version:?} bit {bit}: {heard:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn that_was_cut_does_not_open() {
        for version in [Version::Tls12, Version::Tls13] {
            let mut pair = Pair::new(version);
            let mut record = pair.seal(DATA, b"data");
            record.pop();
            record[4] -= 1;
            assert_eq!(pair.hear(&record), Err(OpenError::BadRecord));
        }
    }

    #[test]
    fn that_comes_twice_does_not_open() {
        let mut pair = Pair::new(Version::Tls12);
        let record = pair.seal(DATA, b"data");
        pair.hear(&record).unwrap();
        assert_eq!(pair.hear(&record), Err(OpenError::BadRecord));
    }

    #[test]
    fn longer_than_allowed_is_refused_by_its_head() {
        let mut pair = Pair::new(Version::Tls13);
        assert_eq!(pair.hear(&record::head(23, CIPHERTEXT_BYTES_MAX)), Ok(vec![]));
        let mut pair = Pair::new(Version::Tls13);
        assert_eq!(pair.hear(&[23, 3, 3, 0x41, 0x01]), Err(OpenError::RecordOverflow));
        let mut pair = Pair::new(Version::Tls12);
        assert_eq!(pair.hear(&[23, 3, 3, 0x40, 0x19]), Err(OpenError::RecordOverflow));
        assert_eq!(pair.us.heap_bytes(), 0);
    }

    #[test]
    fn too_short_for_a_tag_is_refused_by_its_head() {
        for (version, length) in [(Version::Tls13, 16), (Version::Tls12, 23)] {
            assert_eq!(Pair::new(version).hear(&[23, 3, 3, 0, length]), Err(OpenError::BadRecord));
        }
    }

    #[test]
    fn with_more_plaintext_than_allowed_overflows() {
        let mut pair = Pair::new(Version::Tls13);
        let mut inner = vec![9; PLAINTEXT_BYTES_MAX + 1];
        inner.push(23);
        let record = pair.seal_inner(&inner);
        assert_eq!(pair.hear(&record), Err(OpenError::RecordOverflow));
        // All of it counts, padding too.
        let mut pair = Pair::new(Version::Tls13);
        let mut inner = vec![0; PLAINTEXT_BYTES_MAX + 2];
        inner[0] = 23;
        let record = pair.seal_inner(&inner);
        assert_eq!(pair.hear(&record), Err(OpenError::RecordOverflow));
    }

    #[test]
    fn of_nothing_but_padding_has_no_type() {
        let mut pair = Pair::new(Version::Tls13);
        let record = pair.seal_inner(&[0; 40]);
        assert_eq!(pair.hear(&record), Err(OpenError::NoContentType));
    }

    #[test]
    fn of_an_unknown_or_outdated_type_is_unexpected() {
        for inner_type in [20, 24, 99] {
            let mut pair = Pair::new(Version::Tls13);
            let record = pair.seal_inner(&[1, 2, inner_type]);
            assert_eq!(pair.hear(&record), Err(OpenError::UnexpectedRecord(inner_type)));
        }
        for outer_type in [0, 20, 21, 22, 24, b'G'] {
            let heard = Pair::new(Version::Tls13).hear(&[outer_type, 3, 3, 0, 30]);
            assert_eq!(heard, Err(OpenError::UnexpectedRecord(outer_type)));
        }
        assert_eq!(Pair::new(Version::Tls12).hear(&[20, 3, 3, 0, 1]), Err(OpenError::UnexpectedRecord(20)));
        assert_eq!(Pair::new(Version::Tls12).hear(&[23, 3, 1, 0, 30]), Err(OpenError::WrongVersion));
    }

    #[test]
    fn ends_it_and_is_said_again() {
        let mut pair = Pair::new(Version::Tls13);
        assert_eq!(pair.hear(b"GET / HTTP/1.1"), Err(OpenError::UnexpectedRecord(b'G')));
        let good = pair.seal(DATA, b"data");
        assert_eq!(pair.hear(&good), Err(OpenError::UnexpectedRecord(b'G')));
    }

    #[test]
    fn knows_its_alert() {
        let alert = |error: OpenError| error.alert().unwrap().description;
        assert_eq!(alert(OpenError::BadRecord), AlertDescription::BAD_RECORD_MAC);
        assert_eq!(alert(OpenError::RecordOverflow), AlertDescription::RECORD_OVERFLOW);
        assert_eq!(alert(OpenError::UnexpectedRecord(20)), AlertDescription::UNEXPECTED_MESSAGE);
        assert_eq!(alert(OpenError::IllegalKeyUpdate), AlertDescription::ILLEGAL_PARAMETER);
        assert_eq!(alert(OpenError::MalformedAlert), AlertDescription::DECODE_ERROR);
        assert_eq!(alert(OpenError::WrongVersion), AlertDescription::PROTOCOL_VERSION);
    }
}

mod key_updates {
    use super::*;

    fn update(pair: &mut Pair, request: KeyUpdateRequest) -> Vec<u8> {
        let record = pair.peer.seal_key_update(&mut pair.cache, request).unwrap();
        pair.peer.on_acknowledged(pair.peer.next_record());
        record.as_bytes().to_vec()
    }

    #[test]
    fn change_the_keys_of_what_follows_in_the_same_segment() {
        let mut pair = Pair::new(Version::Tls13);
        let mut stream = pair.seal(DATA, b"before");
        stream.extend(update(&mut pair, KeyUpdateRequest::Requested));
        stream.extend(pair.seal(DATA, b"after"));
        assert_eq!(
            pair.hear(&stream).unwrap(),
            [
                Heard::Data(b"before".to_vec()),
                Heard::KeyUpdate(KeyUpdateRequest::Requested),
                Heard::Data(b"after".to_vec())
            ]
        );
        assert_eq!(pair.us.next_number(), 1);
    }

    #[test]
    fn may_be_cut_across_records() {
        for cut in 1..5 {
            let mut pair = Pair::new(Version::Tls13);
            let message = [24, 0, 0, 1, 0];
            let front = pair.seal(HANDSHAKE, &message[..cut]);
            let back = pair.seal(HANDSHAKE, &message[cut..]);
            assert_eq!(pair.hear(&front).unwrap(), []);
            assert_eq!(pair.hear(&back).unwrap(), [Heard::KeyUpdate(KeyUpdateRequest::NotRequested)]);
            assert_eq!(pair.us.heap_bytes(), 0);
        }
    }

    #[test]
    fn are_not_interrupted() {
        for (content, plaintext) in [(DATA, &b"data"[..]), (ContentType::Alert, &[1, 0])] {
            let mut pair = Pair::new(Version::Tls13);
            let mut stream = pair.seal(HANDSHAKE, &[24, 0, 0]);
            stream.extend(pair.seal(content, plaintext));
            assert_eq!(pair.hear(&stream), Err(OpenError::InterleavedHandshake));
        }
    }

    #[test]
    fn end_their_record() {
        let mut pair = Pair::new(Version::Tls13);
        let record = pair.seal(HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]);
        assert_eq!(pair.hear(&record), Err(OpenError::InterleavedHandshake));
    }

    #[test]
    fn that_do_not_parse_are_told_apart() {
        for (message, error) in [
            (&[24, 0, 0, 1, 2][..], OpenError::IllegalKeyUpdate),
            (&[24, 0, 0, 2, 0, 0], OpenError::MalformedHandshake),
            (&[24, 0, 0, 0], OpenError::MalformedHandshake),
            (&[24, 0xff, 0xff, 0xff], OpenError::MalformedHandshake),
            (&[], OpenError::UnexpectedRecord(22)),
        ] {
            let mut pair = Pair::new(Version::Tls13);
            let record = pair.seal(HANDSHAKE, message);
            assert_eq!(pair.hear(&record), Err(error), "{message:?}");
        }
    }

    #[test]
    fn alone_are_a_flood_but_with_data_they_go_on() {
        let mut pair = Pair::new(Version::Tls13);
        for _ in 0..KEY_UPDATES_ON_ACCOUNT {
            let record = update(&mut pair, KeyUpdateRequest::NotRequested);
            pair.hear(&record).unwrap();
        }
        let record = update(&mut pair, KeyUpdateRequest::NotRequested);
        assert_eq!(pair.hear(&record), Err(OpenError::TooManyKeyUpdates));

        let mut pair = Pair::new(Version::Tls13);
        for _ in 0..200 {
            let mut stream = update(&mut pair, KeyUpdateRequest::NotRequested);
            stream.extend(pair.seal(DATA, b"data"));
            assert_eq!(pair.hear(&stream).unwrap().len(), 2);
        }
    }
}

mod what_does_not_belong_here {
    use super::*;

    #[test]
    fn a_servers_peer_sends_no_other_handshake_message() {
        for kind in [0, 1, 2, 4, 5, 8, 11, 13, 15, 20, 25, 254] {
            let mut pair = Pair::new(Version::Tls13);
            let record = pair.seal(HANDSHAKE, &[kind]);
            assert_eq!(pair.hear(&record), Err(OpenError::UnexpectedHandshake(kind)), "by its first byte");
        }
    }

    #[test]
    fn tls12_refuses_to_renegotiate_once_and_then_ends() {
        let mut pair = Pair::new(Version::Tls12);
        let client_hello = pair.seal(HANDSHAKE, &[1, 0, 0, 2, 3, 3]);
        assert_eq!(pair.hear(&client_hello).unwrap(), [Heard::RenegotiationRefused]);
        let data = pair.seal(DATA, b"data");
        assert_eq!(pair.hear(&data).unwrap(), [Heard::Data(b"data".to_vec())]);
        let client_hello = pair.seal(HANDSHAKE, &[1, 0, 0, 2, 3, 3]);
        assert_eq!(pair.hear(&client_hello), Err(OpenError::Renegotiation));
    }

    #[test]
    fn empty_records_are_let_pass_until_they_are_a_flood() {
        for version in [Version::Tls12, Version::Tls13] {
            let mut pair = Pair::new(version);
            for _ in 0..3 {
                for _ in 0..EMPTY_RECORDS_MAX {
                    let record = pair.seal(DATA, b"");
                    assert_eq!(pair.hear(&record).unwrap(), []);
                }
                let record = pair.seal(DATA, b"data");
                assert_eq!(pair.hear(&record).unwrap().len(), 1);
            }
            let flood: Vec<u8> = (0..=EMPTY_RECORDS_MAX).flat_map(|_| pair.seal(DATA, b"")).collect();
            assert_eq!(pair.hear(&flood), Err(OpenError::TooManyEmptyRecords));
        }
    }

    #[test]
    fn warnings_are_let_pass_until_they_are_a_flood() {
        for (version, warning) in [(Version::Tls13, [1, 90]), (Version::Tls12, [1, 100])] {
            let mut pair = Pair::new(version);
            for _ in 0..WARNINGS_MAX {
                let record = pair.seal(ContentType::Alert, &warning);
                assert_eq!(pair.hear(&record).unwrap(), []);
            }
            let record = pair.seal(ContentType::Alert, &warning);
            assert_eq!(pair.hear(&record), Err(OpenError::TooManyWarnings));
        }
    }
}

mod alerts {
    use super::*;

    #[test]
    fn close_notify_ends_the_stream_and_what_follows_is_ignored() {
        for version in [Version::Tls12, Version::Tls13] {
            let mut pair = Pair::new(version);
            let mut stream = pair.seal(DATA, b"data");
            stream.extend(pair.seal(ContentType::Alert, &[1, 0]));
            stream.extend_from_slice(b"anything at all");
            assert_eq!(pair.hear(&stream).unwrap(), [Heard::Data(b"data".to_vec()), Heard::CloseNotify]);
            assert!(pair.us.is_closed());
            assert_eq!(pair.hear(b"and more").unwrap(), []);
        }
    }

    #[test]
    fn an_error_alert_ends_the_connection_and_is_owed_no_answer() {
        // RFC 8446 §6.2: in TLS 1.3 whatever its level says.
        for (version, alert) in
            [(Version::Tls13, [1, 42]), (Version::Tls13, [2, 42]), (Version::Tls12, [2, 42])]
        {
            let mut pair = Pair::new(version);
            let record = pair.seal(ContentType::Alert, &alert);
            let error = pair.hear(&record).unwrap_err();
            assert_eq!(error, OpenError::AlertReceived(AlertDescription::BAD_CERTIFICATE));
            assert_eq!(error.alert(), None);
        }
    }

    #[test]
    fn that_are_not_two_bytes_of_known_level_are_malformed() {
        for content in [&[][..], &[2], &[2, 0, 0], &[3, 0], &[1, 0, 1, 0]] {
            let mut pair = Pair::new(Version::Tls13);
            let record = pair.seal(ContentType::Alert, content);
            assert_eq!(pair.hear(&record), Err(OpenError::MalformedAlert));
        }
    }
}

mod a_client {
    use super::*;

    fn ticket(body: &[u8]) -> Vec<u8> {
        let mut message = vec![4, 0];
        message.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn is_given_tickets_several_to_a_record_and_across_records() {
        let mut pair = Pair::as_client(Version::Tls13);
        let mut messages = ticket(&[1; 200]);
        messages.extend(ticket(&[2; 300]));
        let mut stream = pair.seal(HANDSHAKE, &messages[..250]);
        stream.extend(pair.seal(HANDSHAKE, &messages[250..]));
        stream.extend(pair.seal(DATA, b"data"));
        let said = [Heard::Ticket(vec![1; 200]), Heard::Ticket(vec![2; 300]), Heard::Data(b"data".to_vec())];
        assert_eq!(pair.hear(&stream).unwrap(), said);
        assert_eq!(pair.us.heap_bytes(), 0);
    }

    #[test]
    fn takes_no_ticket_longer_than_a_record() {
        let mut pair = Pair::as_client(Version::Tls13);
        let largest = ticket(&[1; PLAINTEXT_BYTES_MAX]);
        let mut stream = pair.seal(HANDSHAKE, &largest[..9000]);
        stream.extend(pair.seal(HANDSHAKE, &largest[9000..]));
        assert_eq!(pair.hear(&stream).unwrap().len(), 1);
        let record = pair.seal(HANDSHAKE, &[4, 0, 0x40, 1]);
        assert_eq!(pair.hear(&record), Err(OpenError::MalformedHandshake));
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_waits_and_holds_no_more_than_a_record(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        tls13: bool,
        like_tls: bool,
    ) {
        let mut pair = Pair::new(if tls13 { Version::Tls13 } else { Version::Tls12 });
        let mut bytes = bytes;
        if like_tls && bytes.len() >= 5 {
            bytes[..4].copy_from_slice(&[23, 3, 3, 0]);
        }
        match pair.hear(&bytes) {
            Ok(heard) => prop_assert_eq!(heard, vec![]),
            Err(_) => prop_assert_eq!(pair.us.heap_bytes(), 0),
        }
        prop_assert!(pair.us.heap_bytes() <= SCRATCH_BYTES);
    }

    /// Authenticated, but nonsense: what a hostile client can really make us parse.
    #[test]
    fn nonsense_under_the_right_key_never_panics(
        records in prop::collection::vec((
            prop::sample::select(vec![0_u8, 20, 21, 22, 23, 24]),
            prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 4, 24, 90, 255]), 0..12),
        ), 0..20),
        client: bool,
    ) {
        let mut pair = if client { Pair::as_client(Version::Tls13) } else { Pair::new(Version::Tls13) };
        for (kind, mut inner) in records {
            inner.push(kind);
            let record = pair.seal_inner(&inner);
            if pair.hear(&record).is_err() || pair.us.next_number() == 0 {
                break;
            }
        }
        prop_assert!(pair.us.heap_bytes() <= 2 * SCRATCH_BYTES);
    }
}
