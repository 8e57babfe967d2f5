//! Quantities as people write them: `10s`, `64k`, `5mbit`, `1%`, `198.18.1.1-198.18.1.9`.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use crate::load::catalogue::Part;
use crate::load::choice::Mix;

/// A number and what stands behind it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..at].parse().map_err(|_| format!("{text} does not begin with a number"))?;
    Ok((number, text[at..].trim()))
}

/// `10s`, `500ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(format!("{text}: a time is in us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{text}: {error}"))
}

/// `65536`, `64k`, `1M`, `300KB`: k is 1,024, KB is 1,000.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "kb" => 1e3,
        "m" | "mib" => 1024.0 * 1024.0,
        "mb" => 1e6,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "gb" => 1e9,
        _ => return Err(format!("{text}: a size is in k, KB, M, MB, G or GB")),
    };
    whole(number * factor).filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text} is no size"))
}

/// `5mbit`, `800kbit`, `1gbit`, per second.
pub fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(format!("{text}: a rate is in bit, kbit, mbit or gbit per second")),
    };
    whole(number * factor).filter(|rate| *rate > 0).ok_or_else(|| format!("{text} is no rate"))
}

/// `1%` or `0.01`.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let share = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(format!("{text}: a share is a percentage, or between 0 and 1")),
    };
    (0.0..=1.0).contains(&share).then_some(share).ok_or_else(|| format!("{text} is not between 0 and 100%"))
}

/// `sequential`, `uniform`, `zipf`, `zipf:0.8`, `cdn`.
pub fn mix(text: &str) -> Result<Mix, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("sequential", "") => Ok(Mix::Sequential),
        ("uniform", "") => Ok(Mix::Uniform),
        ("zipf", "") => Ok(Mix::Zipf(1.0)),
        ("cdn", "") => Ok(Mix::Cdn),
        ("zipf", exponent) => {
            let exponent: f64 = exponent.parse().map_err(|_| format!("{text}: the exponent is no number"))?;
            (exponent > 0.0 && exponent < 10.0)
                .then_some(Mix::Zipf(exponent))
                .ok_or_else(|| format!("{text}: an exponent is above 0 and below 10"))
        }
        _ => Err(format!("{text}: a mix is sequential, uniform, zipf[:S] or cdn")),
    }
}

/// `whole`, `0-65535`, `random:64k`, `sequential:1M`.
pub fn part(text: &str) -> Result<Part, String> {
    if text == "whole" {
        return Ok(Part::Whole);
    }
    if let Some(size) = text.strip_prefix("random:") {
        return Ok(Part::Random { bytes: bytes(size)? });
    }
    if let Some(size) = text.strip_prefix("sequential:") {
        return Ok(Part::Sequential { bytes: bytes(size)? });
    }
    let number = |text: &str| text.parse::<u64>().ok();
    match text.split_once('-').map(|(first, last)| (number(first), number(last))) {
        Some((Some(first), Some(last))) if first <= last && last < u64::MAX => {
            Ok(Part::Fixed { first, last })
        }
        _ => Err(format!("{text}: a part is whole, FIRST-LAST, random:BYTES or sequential:BYTES")),
    }
}

/// `192.0.2.1`, or `192.0.2.1-192.0.2.99`.
pub fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(one) = text.parse::<IpAddr>() {
        return Ok(vec![one]);
    }
    let ends = text.split_once('-').map(|(from, to)| (from.parse::<Ipv4Addr>(), to.parse::<Ipv4Addr>()));
    let Some((Ok(from), Ok(to))) = ends else {
        return Err(format!("{text}: sources are an address, or two of IPv4 with a - between them"));
    };
    let (from, to) = (u32::from(from), u32::from(to));
    if to < from || to - from > 65_535 {
        return Err(format!("{text}: a range of sources goes up, and has at most 65536 addresses"));
    }
    Ok((from..=to).map(|address| IpAddr::V4(address.into())).collect())
}

/// `192.0.2.1`, `192.0.2.1:5300`, `2001:db8::1`, `[2001:db8::1]:5300`; the port is 53 if there is none.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| bare())
        .map_err(|_| format!("{text}: a server is ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT"))
}

/// `0,2,4-7`.
pub fn cores(text: &str) -> Result<Cores, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) if from <= to && to < 1_024 => cores.extend(from..=to),
            _ => return Err(format!("{text}: cores are numbers and ranges below 1024, such as 0,2,4-7")),
        }
    }
    Ok(Cores(cores))
}

/// A list of cores, for clap: a bare `Vec` would mean that the option is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

/// The nearest whole number below; `None` where there is none of 53 bits.
fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 53 bits, and not negative"
    )]
    (0.0..9e15).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_s_words_are_quantities() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(bytes("64k"), Ok(65_536));
        assert_eq!(bytes("300KB"), Ok(300_000));
        assert_eq!(rate("2.5mbit"), Ok(2_500_000));
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(mix("zipf:0.8"), Ok(Mix::Zipf(0.8)));
        assert_eq!(part("0-99"), Ok(Part::Fixed { first: 0, last: 99 }));
        assert_eq!(part("random:64k"), Ok(Part::Random { bytes: 65_536 }));
        assert_eq!(addresses("192.0.2.9-192.0.2.11").unwrap().len(), 3);
        assert_eq!(server("192.0.2.1"), Ok("192.0.2.1:53".parse().unwrap()));
        assert_eq!(server("[2001:db8::1]:5300").unwrap().port(), 5_300);
        assert_eq!(cores("0,2-3"), Ok(Cores(vec![0, 2, 3])));
    }

    #[test]
    fn other_words_are_refused_with_what_would_do() {
        for (refused, hint) in [
            (duration("5 parsecs").unwrap_err(), "us, ms, s, m or h"),
            (duration("").unwrap_err(), "number"),
            (bytes("0").unwrap_err(), "no size"),
            (rate("5").unwrap_err(), "mbit"),
            (share("101%").unwrap_err(), "between"),
            (mix("pareto").unwrap_err(), "zipf"),
            (part("9-1").unwrap_err(), "FIRST-LAST"),
            (addresses("192.0.2.9-192.0.2.1").unwrap_err(), "goes up"),
            (cores("x").unwrap_err(), "0,2,4-7"),
        ] {
            assert!(refused.contains(hint), "{refused}");
        }
    }
}
