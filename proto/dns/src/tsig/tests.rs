use super::*;
use alloc::vec;

const NOW: u64 = 1_700_000_000;
const QUERY: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\0\0\xfc\0\x01";

fn key() -> Key {
    key_of(Algorithm::Sha256)
}

fn key_of(algorithm: Algorithm) -> Key {
    Key { name: b"\x03key\0".to_vec(), algorithm, secret: vec![7; 32] }
}

fn signed() -> (Transaction, Vec<u8>) {
    signed_with(key())
}

fn signed_with(key: Key) -> (Transaction, Vec<u8>) {
    let mut message = QUERY.to_vec();
    let transaction = Transaction::request(key, &mut message, NOW);
    (transaction, message)
}

/// The signed request with `change` done to its record, its MAC not made anew.
fn changed(change: impl FnOnce(&mut Tsig)) -> Vec<u8> {
    let (_, request) = signed();
    let mut tsig = Tsig::parse(&request, QUERY.len()).unwrap();
    change(&mut tsig);
    let mut message = QUERY.to_vec();
    tsig.append(&mut message);
    message
}

#[test]
fn with_every_algorithm_a_request_and_a_stream_of_answers_are_believed() {
    for algorithm in Algorithm::ALL {
        stream_is_believed(&key_of(algorithm));
    }
}

fn stream_is_believed(key: &Key) {
    let (mut client, request) = signed_with(key.clone());
    assert_eq!(request[11], 1);
    let mut server =
        Transaction::accept(core::slice::from_ref(key), &request, QUERY.len(), NOW + 299).unwrap();
    for round in 0..4 {
        let mut answer = QUERY.to_vec();
        // The second is not signed; the third signs for it.
        let tsig = (round != 1).then_some(answer.len());
        if tsig.is_some() {
            server.sign(&mut answer, NOW);
            assert!(answer.len() <= QUERY.len() + server.record_bytes());
        } else {
            server.defer(&answer);
        }
        client.verify(&answer, tsig, NOW).unwrap();
        assert_eq!(client.is_signed(), round != 1);
    }
}

#[test]
fn a_byte_changed_anywhere_is_noticed() {
    let (_, request) = signed();
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        let accepted = Transaction::accept(&[key()], &changed, QUERY.len(), NOW);
        // The id may be rewritten by a forwarder: the original one is what was signed (RFC 8945 §5.3.1).
        assert_eq!(accepted.is_ok(), at < 2, "byte {at}");
    }
}

#[test]
fn a_clock_that_is_off_is_noticed_after_the_signature() {
    let (_, request) = signed();
    assert_eq!(
        Transaction::accept(&[key()], &request, QUERY.len(), NOW + 301).unwrap_err(),
        TsigError::BadTime
    );
}

#[test]
fn an_unknown_key_is_told_so_without_a_signature() {
    let (_, request) = signed();
    let tsig = Tsig::parse(&request, QUERY.len()).unwrap();
    assert_eq!(Transaction::accept(&[], &request, QUERY.len(), NOW).unwrap_err(), TsigError::BadKey);
    let mut answer = QUERY.to_vec();
    refuse(&mut answer, &tsig, &[], TsigError::BadKey, NOW);
    let said = Tsig::parse(&answer, QUERY.len()).unwrap();
    assert_eq!((said.error, said.mac.len()), (17, 0));
}

#[test]
fn an_unsigned_first_answer_is_not_believed() {
    let (mut client, _) = signed();
    assert_eq!(client.verify(QUERY, None, NOW), Err(TsigError::BadSig));
}

#[test]
fn what_is_cut_is_malformed() {
    let (_, request) = signed();
    for cut in QUERY.len()..request.len() {
        assert_eq!(Tsig::parse(&request[..cut], QUERY.len()).unwrap_err(), TsigError::Malformed);
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithm_alone() {
    let (_, request) = signed_with(key_of(Algorithm::Sha1));
    let accepted = Transaction::accept(&[key()], &request, QUERY.len(), NOW);
    assert_eq!(accepted.unwrap_err(), TsigError::BadKey);
}

/// RFC 8945 §5.2.2.1: what is too long, or shorter than ten bytes or half of it, is malformed; what is merely shorter than
/// we want is told so when it is right as far as it goes.
#[test]
fn a_mac_of_another_length_is_malformed_wrong_or_too_short_in_this_order() {
    for (bytes, wrong, expected) in [
        (0, false, TsigError::Malformed),
        (9, false, TsigError::Malformed),
        (15, false, TsigError::Malformed),
        (33, false, TsigError::Malformed),
        (16, false, TsigError::BadTrunc),
        (31, false, TsigError::BadTrunc),
        (16, true, TsigError::BadSig),
    ] {
        let message = changed(|tsig| {
            tsig.mac.resize(bytes, 0);
            if wrong {
                tsig.mac[0] ^= 1;
            }
        });
        let accepted = Transaction::accept(&[key()], &message, QUERY.len(), NOW);
        assert_eq!(accepted.unwrap_err(), expected, "{bytes} bytes");
    }
}

/// RFC 8945 §5.2: the MAC is looked at before the time, and the time before the length of the MAC.
#[test]
fn of_several_things_that_are_wrong_the_first_is_told() {
    let (_, request) = signed();
    let late = |message: &[u8]| Transaction::accept(&[key()], message, QUERY.len(), NOW + 301).unwrap_err();
    assert_eq!(late(&request), TsigError::BadTime);
    assert_eq!(late(&changed(|tsig| tsig.mac.truncate(16))), TsigError::BadTime);
    assert_eq!(late(&changed(|tsig| tsig.mac[3] ^= 1)), TsigError::BadSig);
}

#[test]
fn a_cut_mac_and_a_wrong_clock_are_told_with_a_signature() {
    for error in [TsigError::BadTrunc, TsigError::BadTime] {
        let (mut client, request) = signed();
        let tsig = Tsig::parse(&request, QUERY.len()).unwrap();
        let mut answer = QUERY.to_vec();
        refuse(&mut answer, &tsig, &[key()], error, NOW + 9);
        assert_eq!(Tsig::parse(&answer, QUERY.len()).unwrap().error, error.code());
        client.verify(&answer, Some(QUERY.len()), NOW).unwrap();
    }
}

#[test]
fn of_a_stream_99_messages_may_wait_for_a_signature_however_long_they_are() {
    let long = [QUERY, &[0; 16 << 10]].concat();
    for (unsigned, believed) in [(99, true), (100, false)] {
        let (mut client, request) = signed();
        let mut server = Transaction::accept(&[key()], &request, QUERY.len(), NOW).unwrap();
        let mut first = QUERY.to_vec();
        server.sign(&mut first, NOW);
        client.verify(&first, Some(QUERY.len()), NOW).unwrap();
        let taken = (0..unsigned).all(|_| {
            server.defer(&long);
            client.verify(&long, None, NOW).is_ok()
        });
        let mut last = long.clone();
        server.sign(&mut last, NOW);
        assert_eq!(taken && client.verify(&last, Some(long.len()), NOW).is_ok(), believed, "{unsigned}");
    }
}
