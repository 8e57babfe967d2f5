//! A zone as text, as its operator would write it: for zones that came from other servers, to be read again at the next
//! start.
//!
//! Types whose text is plain are written so; all others as RFC 3597 §5 writes any type, which loses nothing.

use super::contents::{Cursor, Item};
use super::{Zone, name_bytes};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::ControlFlow;
use dns::Rtype;
use dns::name::Presentation;
use std::io::{self, Write};

impl Zone {
    /// Writes all of it.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "$ORIGIN {}", Presentation(self.apex()))?;
        let mut failed = None;
        let mut owner = Vec::new();
        let mut line = |item: &Item<'_>, out: &mut dyn Write| {
            owner.clear();
            owner.extend_from_slice(item.owner);
            owner.extend_from_slice(self.apex());
            record(&owner, item, out)
        };
        let soa = self.soa();
        line(&Item { owner: &[], rtype: Rtype::SOA, ttl: soa.ttl, rdata: &soa.rdata }, out)?;
        let _ = self.visit(Cursor::default(), |item| {
            if item.rtype == Rtype::SOA && item.owner.is_empty() {
                return ControlFlow::Continue(());
            }
            match line(item, out) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

fn record(owner: &[u8], item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Item { rtype, ttl, rdata, .. } = *item;
    write!(out, "{} {ttl} IN {rtype} ", Presentation(owner))?;
    match (rtype, rdata) {
        (Rtype::A, [a, b, c, d]) => writeln!(out, "{}", Ipv4Addr::new(*a, *b, *c, *d)),
        (Rtype::AAAA, octets) if octets.len() == 16 => {
            let octets: [u8; 16] = octets.try_into().expect("sixteen");
            writeln!(out, "{}", Ipv6Addr::from(octets))
        }
        (Rtype::NS | Rtype::CNAME | Rtype::DNAME | Rtype::PTR, name) => {
            writeln!(out, "{}", Presentation(name))
        }
        (Rtype::MX, [p0, p1, name @ ..]) => {
            writeln!(out, "{} {}", u16::from_be_bytes([*p0, *p1]), Presentation(name))
        }
        (Rtype::SRV, [p0, p1, w0, w1, q0, q1, name @ ..]) => {
            let [priority, weight, port] = [[*p0, *p1], [*w0, *w1], [*q0, *q1]].map(u16::from_be_bytes);
            writeln!(out, "{priority} {weight} {port} {}", Presentation(name))
        }
        (Rtype::SOA, rdata) => {
            let (mname, rest) = rdata.split_at(name_bytes(rdata));
            let (rname, numbers) = rest.split_at(name_bytes(rest));
            write!(out, "{} {}", Presentation(mname), Presentation(rname))?;
            for number in numbers.as_chunks::<4>().0 {
                write!(out, " {}", u32::from_be_bytes(*number))?;
            }
            writeln!(out)
        }
        (Rtype::TXT, rdata) if is_text(rdata) => {
            let mut rest = rdata;
            let mut blank = "";
            while let Some((&bytes, behind)) = rest.split_first() {
                let (text, behind) = behind.split_at(usize::from(bytes));
                rest = behind;
                write!(out, "{blank}\"")?;
                blank = " ";
                for byte in text {
                    match byte {
                        b'"' | b'\\' => write!(out, "\\{}", char::from(*byte))?,
                        0x20..=0x7e => out.write_all(&[*byte])?,
                        _ => write!(out, "\\{byte:03}")?,
                    }
                }
                write!(out, "\"")?;
            }
            writeln!(out)
        }
        (_, rdata) => {
            write!(out, "\\# {}", rdata.len())?;
            if !rdata.is_empty() {
                write!(out, " ")?;
            }
            for byte in rdata {
                write!(out, "{byte:02x}")?;
            }
            writeln!(out)
        }
    }
}

/// Whether it is character strings, one behind the other, and at least one.
fn is_text(rdata: &[u8]) -> bool {
    let mut at = 0;
    while let Some(bytes) = rdata.get(at) {
        at += 1 + usize::from(*bytes);
    }
    at == rdata.len() && at > 0
}
