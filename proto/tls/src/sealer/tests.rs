use std::vec;

use proptest::prelude::*;

use super::*;
use crate::alert::AlertDescription;
use crate::opener::{Message, Scratch};
use crate::testing::{ToyAead, client_to_server, keys, seal_record};

type Cache = ExpandedKeys<ToyAead>;

fn sealer(version: Version) -> (Sealer, Cache) {
    (Sealer::new(keys(version, Suite::Aes128Gcm, 1), 0).unwrap(), Cache::new(8))
}

/// A frame with this payload in it, and where.
fn frame(layout: RecordLayout, payload: &[u8]) -> (Vec<u8>, Range<usize>) {
    let range = 32..32 + payload.len();
    let mut frame = vec![0xee; range.end + layout.tail_bytes + 8];
    frame[range.clone()].copy_from_slice(payload);
    (frame, range)
}

fn send(sealer: &mut Sealer, cache: &mut Cache, payload: &[u8]) -> (Vec<u8>, SealedRecord) {
    let (mut frame, range) = frame(sealer.layout(), payload);
    let record = sealer.bind().unwrap();
    let sealed = sealer.seal(cache, record, ContentType::ApplicationData, &mut frame, range).unwrap();
    (frame[sealed.range.clone()].to_vec(), sealed)
}

fn send_again(
    sealer: &mut Sealer,
    cache: &mut Cache,
    sent: &SealedRecord,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (mut frame, range) = frame(sealer.layout(), payload);
    let again =
        sealer.reseal(cache, (sent.id, &sent.tag), ContentType::ApplicationData, &mut frame, range)?;
    Ok(frame[again.range].to_vec())
}

mod established {
    use super::*;

    #[test]
    fn sealing_touches_only_head_payload_and_tail() {
        for version in [Version::Tls12, Version::Tls13] {
            for suite in Suite::ALL {
                let mut sealer = Sealer::new(keys(version, suite, 1), 0).unwrap();
                let layout = sealer.layout();
                let (mut frame, range) = frame(layout, b"payload");
                let record = sealer.bind().unwrap();
                let sealed = sealer
                    .seal(&mut Cache::new(8), record, ContentType::ApplicationData, &mut frame, range.clone())
                    .unwrap();
                assert_eq!(sealed.range, range.start - layout.head_bytes..range.end + layout.tail_bytes);
                assert!(frame[..sealed.range.start].iter().all(|&byte| byte == 0xee));
                assert!(frame[sealed.range.end..].iter().all(|&byte| byte == 0xee));
                assert_eq!(record::peek_record_bytes(&frame[sealed.range.clone()]), Some(sealed.range.len()));
                assert_eq!(frame[sealed.range.end - 16..sealed.range.end], sealed.tag.0);
            }
        }
    }

    #[test]
    fn a_record_sealed_again_is_the_same_bytes() {
        for version in [Version::Tls12, Version::Tls13] {
            let (mut sealer, mut cache) = sealer(version);
            let (first, sent) = send(&mut sealer, &mut cache, b"the object's bytes");
            send(&mut sealer, &mut cache, b"later bytes");
            assert_eq!(send_again(&mut sealer, &mut cache, &sent, b"the object's bytes"), Ok(first));
        }
    }

    #[test]
    fn a_record_sealed_elsewhere_is_the_same_bytes_and_leaves_its_plaintext() {
        for version in [Version::Tls12, Version::Tls13] {
            for suite in Suite::ALL {
                let content = ContentType::ApplicationData;
                let mut sealer = Sealer::new(keys(version, suite, 1), 0).unwrap();
                let mut cache = Cache::new(8);
                let record = sealer.bind().unwrap();
                let mut out = vec![0xee; sealer.layout().sealed_bytes(7) + 1];
                let sealed = sealer.seal_into(&mut cache, record, content, b"payload", &mut out).unwrap();
                assert_eq!((sealed.range.clone(), out[sealed.range.end]), (0..out.len() - 1, 0xee));
                let in_place = send_again(&mut sealer, &mut cache, &sealed, b"payload");
                assert_eq!(in_place.as_deref(), Ok(&out[sealed.range.clone()]));

                let first = out.clone();
                out.fill(0xee);
                let reference = (sealed.id, &sealed.tag);
                sealer.reseal_into(&mut cache, reference, content, b"payload", &mut out).unwrap();
                assert_eq!(out, first);
                let changed = sealer.reseal_into(&mut cache, reference, content, b"Payload", &mut out);
                assert_eq!(changed, Err(SealError::PlaintextChanged));
                assert!(out[sealed.range].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn a_record_does_not_go_where_there_is_no_room_for_it() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let record = sealer.bind().unwrap();
        let mut out = vec![0xee; sealer.layout().sealed_bytes(7) - 1];
        let refused =
            sealer.seal_into(&mut cache, record, ContentType::ApplicationData, b"payload", &mut out);
        assert_eq!(refused, Err(SealError::Layout));
        assert!(out.iter().all(|&byte| byte == 0xee));
    }

    #[test]
    fn a_changed_object_is_refused_and_its_ciphertext_is_gone() {
        for version in [Version::Tls12, Version::Tls13] {
            let (mut sealer, mut cache) = sealer(version);
            let (_, sent) = send(&mut sealer, &mut cache, b"the object's bytes");
            let (mut frame, range) = frame(sealer.layout(), b"the object's Bytes");
            let reference = (sent.id, &sent.tag);
            let refused =
                sealer.reseal(&mut cache, reference, ContentType::ApplicationData, &mut frame, range.clone());
            assert_eq!(refused, Err(SealError::PlaintextChanged));
            assert!(frame[range].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn an_object_that_became_shorter_is_refused() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let (_, sent) = send(&mut sealer, &mut cache, b"the object's bytes");
        let refused = send_again(&mut sealer, &mut cache, &sent, b"the object's byte");
        assert_eq!(refused, Err(SealError::PlaintextChanged));
    }

    #[test]
    fn another_content_type_is_refused_too() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let (_, sent) = send(&mut sealer, &mut cache, b"bytes");
        let (mut frame, range) = frame(sealer.layout(), b"bytes");
        let refused = sealer.reseal(&mut cache, (sent.id, &sent.tag), ContentType::Alert, &mut frame, range);
        assert_eq!(refused, Err(SealError::PlaintextChanged));
    }

    #[test]
    fn a_record_that_was_never_bound_cannot_be_sealed_again() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let (_, mut sent) = send(&mut sealer, &mut cache, b"bytes");
        sent.id.number += 1;
        assert_eq!(send_again(&mut sealer, &mut cache, &sent, b"bytes"), Err(SealError::NotBound));
    }

    #[test]
    fn numbers_go_on_where_the_handshake_stopped() {
        let mut sealer = Sealer::new(keys(Version::Tls13, Suite::Aes128Gcm, 1), 2).unwrap();
        assert_eq!(sealer.bind().unwrap().id().number(), 2);
        assert_eq!(sealer.bind().unwrap().id().number(), 3);
    }

    #[test]
    fn a_payload_without_room_or_of_more_than_a_record_is_our_fault() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let mut buffer = vec![0; PLAINTEXT_BYTES_MAX + 64];
        for payload in [4..10, 5..PLAINTEXT_BYTES_MAX + 64, 32..33 + PLAINTEXT_BYTES_MAX] {
            let record = sealer.bind().unwrap();
            let refused = sealer.seal(&mut cache, record, ContentType::ApplicationData, &mut buffer, payload);
            assert_eq!(refused, Err(SealError::Layout));
        }
    }

    #[test]
    fn an_alert_is_a_record_of_its_own() {
        let mut cache = Cache::new(8);
        let (mut sealer, mut opener) = client_to_server(Version::Tls13, Suite::Chacha20Poly1305);
        let alert = sealer.seal_alert(&mut cache, Alert::CLOSE_NOTIFY).unwrap();
        let mut scratch = Scratch::new();
        assert_eq!(
            opener.poll(&mut cache, &mut scratch, &mut alert.as_bytes()),
            Ok(Some(Message::CloseNotify))
        );

        let (mut sealer, mut opener) = client_to_server(Version::Tls12, Suite::Aes256Gcm);
        let alert = Alert::fatal(AlertDescription::INTERNAL_ERROR);
        let alert = sealer.seal_alert(&mut cache, alert).unwrap();
        let error = opener.poll(&mut cache, &mut scratch, &mut alert.as_bytes()).unwrap_err();
        assert_eq!(error, crate::OpenError::AlertReceived(AlertDescription::INTERNAL_ERROR));
        assert_eq!(error.alert(), None);
    }

    #[test]
    fn an_idle_sealer_is_small_and_holds_no_heap() {
        assert!(size_of::<Sealer>() <= 192, "{}", size_of::<Sealer>());
        assert_eq!(sealer(Version::Tls13).0.heap_bytes(), 0);
    }
}

mod updating_keys {
    use super::*;

    #[test]
    fn is_due_when_the_key_has_sealed_enough_and_starts_the_numbers_again() {
        let (sealer, mut cache) = sealer(Version::Tls13);
        let mut sealer = sealer.with_key_update_after(3);
        for _ in 0..3 {
            assert_eq!(sealer.before_data(), BeforeData::Nothing);
            send(&mut sealer, &mut cache, b"data");
        }
        assert_eq!(sealer.before_data(), BeforeData::KeyUpdate);
        sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        assert_eq!(sealer.before_data(), BeforeData::Nothing);
        assert_eq!(sealer.next_record(), RecordId { epoch: 1, number: 0 });
    }

    #[test]
    fn many_requests_are_answered_once() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        for _ in 0..5 {
            sealer.on_key_update_requested();
        }
        assert_eq!(sealer.before_data(), BeforeData::KeyUpdate);
        sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        assert_eq!(sealer.before_data(), BeforeData::Nothing);
    }

    #[test]
    fn old_records_are_sealed_again_under_the_old_key_until_they_are_acknowledged() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let (first, sent) = send(&mut sealer, &mut cache, b"old epoch");
        sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        let (second, new) = send(&mut sealer, &mut cache, b"old epoch");
        assert_ne!(first, second);
        assert_eq!(send_again(&mut sealer, &mut cache, &sent, b"old epoch").unwrap(), first);

        sealer.on_acknowledged(sent.id);
        assert_eq!(sealer.epochs_retired(), 1, "the record itself is not acknowledged");
        sealer.on_acknowledged(new.id);
        assert_eq!(sealer.epochs_retired(), 0);
        assert_eq!(sealer.heap_bytes(), 0);
        let refused = send_again(&mut sealer, &mut cache, &sent, b"old epoch");
        assert_eq!(refused, Err(SealError::UnknownEpoch));
        assert_eq!(send_again(&mut sealer, &mut cache, &new, b"old epoch").unwrap(), second);
    }

    #[test]
    fn keeps_no_keys_of_an_epoch_without_unacknowledged_data() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        for _ in 0..100 {
            sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        }
        assert_eq!(sealer.epochs_retired(), 0);
        send(&mut sealer, &mut cache, b"data");
        sealer.on_acknowledged(sealer.next_record());
        sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        assert_eq!(sealer.epochs_retired(), 0);
    }

    #[test]
    fn waits_for_a_peer_that_asks_and_asks_but_never_acknowledges() {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        for _ in 0..EPOCHS_RETIRED_MAX {
            send(&mut sealer, &mut cache, b"data");
            sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        }
        let (_, last) = send(&mut sealer, &mut cache, b"data");
        sealer.on_key_update_requested();
        assert_eq!(sealer.before_data(), BeforeData::Acknowledgement);
        let refused = sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested);
        assert_eq!(refused, Err(SealError::NoKeyUpdate));
        sealer.on_acknowledged(last.id);
        assert_eq!(sealer.before_data(), BeforeData::KeyUpdate);
    }

    #[test]
    fn keeps_both_sides_together_for_ever() {
        let mut cache = Cache::new(16);
        let mut scratch = Scratch::new();
        for suite in Suite::ALL {
            let (mut sealer, mut opener) = client_to_server(Version::Tls13, suite);
            for round in 0..40_u8 {
                let data = seal_record(&mut sealer, &mut cache, ContentType::ApplicationData, &[round; 9]);
                let request =
                    if round % 2 == 0 { KeyUpdateRequest::Requested } else { KeyUpdateRequest::NotRequested };
                let update = sealer.seal_key_update(&mut cache, request).unwrap();
                sealer.on_acknowledged(sealer.next_record());
                let heard = opener.poll(&mut cache, &mut scratch, &mut data.as_slice());
                assert_eq!(heard, Ok(Some(Message::Data(&[round; 9]))));
                let heard = opener.poll(&mut cache, &mut scratch, &mut update.as_bytes());
                assert_eq!(heard, Ok(Some(Message::KeyUpdate(request))));
            }
        }
    }

    #[test]
    fn is_impossible_in_tls12_which_finishes_instead() {
        let (sealer, mut cache) = sealer(Version::Tls12);
        let mut sealer = sealer.with_key_update_after(1);
        sealer.on_key_update_requested();
        assert_eq!(sealer.before_data(), BeforeData::Nothing);
        send(&mut sealer, &mut cache, b"data");
        assert_eq!(sealer.before_data(), BeforeData::Finish);
        let refused = sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested);
        assert_eq!(refused, Err(SealError::NoKeyUpdate));
        assert_eq!(sealer.next_record().number(), 1, "a refused update takes no number");
    }
}

mod exhausted {
    use super::*;

    fn nearly(version: Version) -> (Sealer, Cache) {
        let number = u64::from(RECORDS_PER_KEY_MAX - RESERVED_FOR_CONTROL - 1);
        (Sealer::new(keys(version, Suite::Aes128Gcm, 1), number).unwrap(), Cache::new(8))
    }

    #[test]
    fn data_stops_before_the_limit_and_a_key_update_still_fits() {
        let (mut sealer, mut cache) = nearly(Version::Tls13);
        send(&mut sealer, &mut cache, b"the last");
        assert_eq!(sealer.bind(), Err(SealError::KeyExhausted));
        sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested).unwrap();
        assert!(sealer.bind().is_ok());
    }

    #[test]
    fn tls12_can_still_say_goodbye_and_then_nothing() {
        let (mut sealer, mut cache) = nearly(Version::Tls12);
        assert_eq!(sealer.before_data(), BeforeData::Finish);
        for _ in 0..=RESERVED_FOR_CONTROL {
            sealer.seal_alert(&mut cache, Alert::CLOSE_NOTIFY).unwrap();
        }
        assert_eq!(sealer.seal_alert(&mut cache, Alert::CLOSE_NOTIFY), Err(SealError::KeyExhausted));
    }

    #[test]
    fn a_handshake_that_used_every_number_gives_no_sealer() {
        for number in [u64::from(RECORDS_PER_KEY_MAX), u64::MAX] {
            let sealer = Sealer::new(keys(Version::Tls12, Suite::Aes128Gcm, 1), number);
            assert_eq!(sealer.unwrap_err(), SealError::KeyExhausted);
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Send(u8),
    Again(prop::sample::Index),
    AgainChanged(prop::sample::Index),
    Update,
    Acknowledge(prop::sample::Index),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (0..5, any::<u8>(), any::<prop::sample::Index>()).prop_map(|(act, byte, index)| match act {
        0 => Act::Send(byte),
        1 => Act::Again(index),
        2 => Act::AgainChanged(index),
        3 => Act::Update,
        _ => Act::Acknowledge(index),
    });
    prop::collection::vec(act, 1..60)
}

proptest! {
    /// The law of the room, against a model that remembers every ciphertext that could have met the wire.
    #[test]
    fn a_record_number_never_meets_two_plaintexts(acts in acts()) {
        let (mut sealer, mut cache) = sealer(Version::Tls13);
        let mut sent: Vec<(SealedRecord, u8, Vec<u8>)> = Vec::new();
        for act in acts {
            match act {
                Act::Send(byte) => {
                    let (bytes, sealed) = send(&mut sealer, &mut cache, &[byte; 20]);
                    prop_assert!(sent.iter().all(|(other, ..)| other.id < sealed.id));
                    sent.push((sealed, byte, bytes));
                }
                Act::Again(index) if !sent.is_empty() => {
                    let (sealed, byte, bytes) = index.get(&sent);
                    prop_assert_eq!(&send_again(&mut sealer, &mut cache, sealed, &[*byte; 20]).unwrap(), bytes);
                }
                Act::AgainChanged(index) if !sent.is_empty() => {
                    let (sealed, byte, _) = index.get(&sent);
                    let refused = send_again(&mut sealer, &mut cache, sealed, &[byte ^ 1; 20]);
                    prop_assert_eq!(refused, Err(SealError::PlaintextChanged));
                }
                Act::Update => match sealer.seal_key_update(&mut cache, KeyUpdateRequest::NotRequested) {
                    Ok(_) => {}
                    Err(error) => {
                        prop_assert_eq!(error, SealError::NoKeyUpdate);
                        prop_assert_eq!(sealer.epochs_retired(), EPOCHS_RETIRED_MAX);
                    }
                },
                Act::Acknowledge(index) if !sent.is_empty() => {
                    sent.drain(..index.index(sent.len()));
                    sealer.on_acknowledged(sent[0].0.id);
                }
                Act::Again(_) | Act::AgainChanged(_) | Act::Acknowledge(_) => {}
            }
        }
    }
}
