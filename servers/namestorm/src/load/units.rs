//! Times as people write them: `1h30m`, which no RFC knows and every server reads.

/// The seconds that `text` means; nothing when it is no time of 31 bits (RFC 2181 §8).
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    let mut total = 0_u32;
    let mut number: Option<u32> = None;
    for &byte in text {
        if byte.is_ascii_digit() {
            let digit = u32::from(byte - b'0');
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    if text.is_empty() {
        return None;
    }
    let total = total.checked_add(number.unwrap_or(0))?;
    (total <= i32::MAX.unsigned_abs()).then_some(total)
}

/// `text` with every time that has units written as seconds, where a time may stand: before the type of an entry, and
/// in the data of a SOA. Nothing when there is none.
///
/// Asked only after the parser has refused the text. Line ends stay where they are.
pub(super) fn spelled_out(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut changed, mut quoted, mut depth) = (false, false, 0_i32);
    let mut words = 0;
    let mut state = State::BeforeType;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\n' if depth <= 0 => {
                (state, words, quoted) = (State::BeforeType, 0, false);
                out.push(byte);
                at += 1;
            }
            b';' if !quoted => {
                let end =
                    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |line| at + line);
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            b'"' | b'(' | b')' | b' ' | b'\t' | b'\r' | b'\n' => {
                match byte {
                    b'"' => quoted = !quoted,
                    b'(' if !quoted => depth += 1,
                    b')' if !quoted => depth -= 1,
                    // An entry that begins with a blank has no owner of its own.
                    _ if words == 0 && (out.is_empty() || out.last() == Some(&b'\n')) && depth <= 0 => {
                        words = 1
                    }
                    _ => {}
                }
                out.push(byte);
                at += 1;
            }
            _ => {
                let end = text[at..]
                    .iter()
                    .position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"'))
                    // A semicolon within a quote is a word of its own.
                    .map_or(text.len(), |word| at + word.max(1));
                let word = &text[at..end];
                at = end;
                words += 1;
                if quoted || words == 1 || state == State::Data {
                    out.extend_from_slice(word);
                    continue;
                }
                let has_units = !word.iter().all(u8::is_ascii_digit);
                if let Some(seconds) = seconds(word).filter(|_| has_units) {
                    out.extend_from_slice(seconds.to_string().as_bytes());
                    changed = true;
                    continue;
                }
                out.extend_from_slice(word);
                if state == State::BeforeType && !word.iter().all(u8::is_ascii_digit) {
                    let is = |class: &str| word.eq_ignore_ascii_case(class.as_bytes());
                    if is("SOA") {
                        state = State::Soa;
                    } else if !(is("IN") || is("CH") || is("HS")) {
                        state = State::Data;
                    }
                }
            }
        }
    }
    changed.then_some(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeType,
    Soa,
    Data,
}
