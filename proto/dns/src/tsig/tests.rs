use super::*;
use alloc::vec;

const NOW: u64 = 1_700_000_000;
const QUERY: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\0\0\xfc\0\x01";

fn key() -> Key {
    Key { name: b"\x03key\0".to_vec(), secret: vec![7; 32] }
}

fn signed() -> (Transaction, Vec<u8>) {
    let mut message = QUERY.to_vec();
    let transaction = Transaction::request(key(), &mut message, NOW);
    (transaction, message)
}

#[test]
fn a_request_and_a_stream_of_answers_are_believed() {
    let (mut client, request) = signed();
    assert_eq!(request[11], 1);
    let mut server = Transaction::accept(&[key()], &request, QUERY.len(), NOW + 299).unwrap();
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
