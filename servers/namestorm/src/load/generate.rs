//! `$GENERATE`: lines by counting, as BIND's manual describes it; the parser never sees the directive.
//!
//! ```text
//! $GENERATE 1-3/2 host-${0,3,d} A 192.0.2.$     ─▶   host-001 A 192.0.2.1
//!                                                     host-003 A 192.0.2.3
//! ```

/// What is made at a time: the first line behind this many bytes ends it.
const TEXT_BYTES: usize = 256 << 10;

/// Lines that the directives of one zone may make in all. A typing error in a range is not to take the machine's memory:
/// larger ranges are for whoever writes the zone file.
pub(super) const LINES_MAX: u64 = 1 << 20;

/// Bytes that they may make in all.
pub(super) const BYTES_MAX: u64 = 256 << 20;

/// The lines that a directive still means.
#[derive(Clone, Debug)]
pub(super) struct Generate {
    next: Option<u32>,
    stop: u32,
    step: u32,
    template: Vec<u8>,
}

impl Generate {
    /// Reads what stands behind the directive: a range, then the line.
    pub(super) fn parse(words: &[&[u8]]) -> Result<Self, &'static str> {
        let [range, rest @ ..] = words else { return Err("wants a range such as 1-254, and a line") };
        if rest.len() < 3 {
            return Err("wants an owner, a type and data behind the range");
        }
        let range = core::str::from_utf8(range).map_err(|_| "wants a range such as 1-254 or 0-100/2")?;
        let (range, step) = range.split_once('/').unwrap_or((range, "1"));
        let bounds =
            range.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let (Some((start, stop)), Ok(step)) = (bounds, step.parse::<u32>()) else {
            return Err("wants a range such as 1-254 or 0-100/2");
        };
        if step == 0 || start > stop || stop > i32::MAX.unsigned_abs() {
            return Err("has a range that is empty, backwards or above 2147483647");
        }
        let generate = Self { next: Some(start), stop, step, template: rest.join(&b' ') };
        // What is wrong with the template is wrong with the first line already.
        generate.line(start, &mut Vec::new())?;
        generate.line(stop, &mut Vec::new())?;
        Ok(generate)
    }

    /// How many lines those are.
    pub(super) fn lines(&self) -> u64 {
        self.next.map_or(0, |next| u64::from((self.stop - next) / self.step) + 1)
    }

    /// The next lines; nothing when all were made.
    pub(super) fn next_text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < TEXT_BYTES {
            let Some(value) = self.next else { break };
            self.line(value, &mut text).ok()?;
            text.push(b'\n');
            self.next = value.checked_add(self.step).filter(|next| *next <= self.stop);
        }
        (!text.is_empty()).then_some(text)
    }

    fn line(&self, value: u32, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut rest = &self.template[..];
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            match (byte, behind) {
                (b'\\', [b'$', behind @ ..]) => {
                    out.push(b'$');
                    rest = behind;
                }
                (b'\\', [escaped, behind @ ..]) => {
                    out.extend_from_slice(&[b'\\', *escaped]);
                    rest = behind;
                }
                (b'$', [b'{', behind @ ..]) => {
                    let end = behind.iter().position(|byte| *byte == b'}').ok_or("has a ${ without its }")?;
                    modified(value, &behind[..end], out)?;
                    rest = &behind[end + 1..];
                }
                (b'$', _) => out.extend_from_slice(value.to_string().as_bytes()),
                _ => out.push(byte),
            }
        }
        Ok(())
    }
}

/// `${offset,width,base}`.
fn modified(value: u32, modifier: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    const WRONG: &str = "wants ${offset,width,base} with a base of d, o, x, X, n or N";
    let text = core::str::from_utf8(modifier).map_err(|_| WRONG)?;
    let mut parts = text.split(',');
    let offset: i64 = parts.next().unwrap_or("0").trim().parse().map_err(|_| WRONG)?;
    let width: usize = parts.next().unwrap_or("0").trim().parse().map_err(|_| WRONG)?;
    let base = parts.next().unwrap_or("d").trim();
    if parts.next().is_some() || width > 255 {
        return Err(WRONG);
    }
    let value = i64::from(value) + offset;
    let value = u64::try_from(value).map_err(|_| "counts below zero")?;
    let text = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        // Nibbles from the right, as in ip6.arpa; the dots count towards the width.
        "n" | "N" => {
            let digits = if base == "n" { format!("{value:x}") } else { format!("{value:X}") };
            let wanted = width.div_ceil(2).max(digits.len());
            let padded = format!("{digits:0>wanted$}");
            padded.chars().rev().map(String::from).collect::<Vec<_>>().join(".")
        }
        _ => return Err(WRONG),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
