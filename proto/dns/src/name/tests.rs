use super::*;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use proptest::prelude::*;

fn read(message: &[u8], start: usize) -> Result<(Name, Span), NameError> {
    let mut name = Name::root();
    name.read(message, start).map(|span| (name, span))
}

#[test]
fn a_name_is_folded_and_its_labels_are_found() {
    let (name, span) = read(b"\x03wWw\x07eXample\x03cOm\x00rest", 0).unwrap();
    assert_eq!(name.wire(), b"\x03www\x07example\x03com\x00");
    assert_eq!(span, Span { end: 17, compressed: false });
    assert_eq!(name.labels(), 3);
    assert_eq!(name.suffix(1), b"\x07example\x03com\x00");
    assert_eq!(name.suffix(3), b"\x00");
    assert_eq!(name.to_string(), "www.example.com.");
}

#[test]
fn only_letters_are_folded() {
    let mut bytes: Vec<u8> = (0..=255).collect();
    for chunk in bytes.as_chunks_mut::<8>().0 {
        *chunk = fold(u64::from_le_bytes(*chunk)).to_le_bytes();
    }
    for (byte, folded) in (0..=255_u8).zip(bytes) {
        assert_eq!(folded, byte.to_ascii_lowercase());
    }
}

#[test]
fn a_name_of_255_bytes_is_one_and_of_256_is_none() {
    let mut wire = Vec::new();
    for _ in 0..3 {
        wire.push(63);
        wire.extend([b'A'; 63]);
    }
    let mut longest = wire.clone();
    longest.push(61);
    longest.extend([b'A'; 61]);
    longest.push(0);
    assert_eq!(longest.len(), 255);
    assert_eq!(read(&longest, 0).unwrap().0.len(), 255);
    wire.push(62);
    wire.extend([b'A'; 62]);
    wire.push(0);
    assert_eq!(read(&wire, 0).unwrap_err(), NameError::TooLong);
}

#[test]
fn a_name_of_127_labels_has_a_place_for_each() {
    let mut wire = [1, b'x'].repeat(127);
    wire.push(0);
    let (name, _) = read(&wire, 0).unwrap();
    assert_eq!(name.labels(), 127);
    assert_eq!(name.suffix(127), [0]);
    assert_eq!(read(&[1, b'x'].repeat(200), 0).unwrap_err(), NameError::TooLong);
}

#[test]
fn a_pointer_leads_backwards_or_nowhere() {
    let message = b"\x03com\x00\x07eXample\xc0\x00";
    let (name, span) = read(message, 5).unwrap();
    assert_eq!(name.wire(), b"\x07example\x03com\x00");
    assert_eq!(span, Span { end: 15, compressed: true });
    for looping in [&b"\xc0\x00"[..], b"\x01a\xc0\x00", b"\x01a\xc0\x04\xc0\x02", b"\xc0\x04\x01a\x00"] {
        assert_eq!(read(looping, 0).unwrap_err(), NameError::Pointer);
    }
}

#[test]
fn a_message_that_ends_within_a_name_holds_none() {
    for cut in [&b""[..], b"\x03", b"\x03ww", b"\x03www", b"\x03www\xc0"] {
        assert_eq!(read(cut, 0).unwrap_err(), NameError::Truncated);
    }
    assert_eq!(read(b"\x00", 1).unwrap_err(), NameError::Truncated);
    assert_eq!(read(b"\x00", 2).unwrap_err(), NameError::Truncated);
    assert_eq!(read(b"\x41a\x00", 0).unwrap_err(), NameError::LabelType);
}

#[test]
fn what_was_there_before_is_never_read() {
    let mut name = Name::root();
    name.read(b"\x07example\x03com\x00", 0).unwrap();
    assert_eq!(name.read(b"\x07exa", 0).unwrap_err(), NameError::Truncated);
}

/// RFC 4034 §6.1: the example.
#[test]
fn names_are_in_canonical_order() {
    let ordered = [
        "example.",
        "a.example.",
        "yljkjljk.a.example.",
        "Z.a.example.",
        "zABC.a.EXAMPLE.",
        "z.example.",
        "\\001.z.example.",
        "*.z.example.",
        "\\200.z.example.",
    ];
    let wires: Vec<_> = ordered.iter().map(|text| from_text(text.as_bytes()).unwrap()).collect();
    for (index, a) in wires.iter().enumerate() {
        for (other, b) in wires.iter().enumerate() {
            assert_eq!(canonical_order(a, b), index.cmp(&other), "{} {}", ordered[index], ordered[other]);
        }
    }
}

#[test]
fn text_with_escapes_is_read_and_written() {
    let wire = from_text(b"a\\.b\\\\\\007.\\x").unwrap();
    assert_eq!(wire, b"\x05a.b\\\x07\x01x\x00");
    assert_eq!(Presentation(&wire).to_string(), "a\\.b\\\\\\007.x.");
    assert_eq!(from_text(b"a..b"), Err(TextError::EmptyLabel));
    assert_eq!(from_text(b"a\\256"), Err(TextError::Escape));
    assert_eq!(from_text(b"a\\"), Err(TextError::Escape));
    assert_eq!(from_text(&[b'a'; 64]), Err(TextError::LabelTooLong));
    assert_eq!(from_text(b".").unwrap(), [0]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_name_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0_usize..20) {
        let mut plain = Vec::new();
        let slow = uncompress(&bytes, start, |label| plain.extend_from_slice(label));
        let fast = read(&bytes, start);
        // Both ways of reading agree, on what is a name and on what it says.
        match (slow, fast) {
            (Ok(end), Ok((name, span))) => {
                prop_assert_eq!(end, span.end);
                prop_assert_eq!(name.wire(), plain.to_ascii_lowercase());
            }
            (Err(_), Err(_)) => {}
            (slow, fast) => prop_assert!(false, "{slow:?} but {fast:?}"),
        }
        let _ = skip(&bytes, start);
    }

    #[test]
    fn text_and_wire_are_inverse(labels in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8)) {
        let mut wire = Vec::new();
        for label in &labels {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label);
        }
        wire.push(0);
        let text = Presentation(&wire).to_string();
        prop_assert_eq!(from_text(text.as_bytes()).unwrap(), wire);
    }
}
