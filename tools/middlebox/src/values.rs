//! The values an option may have.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use middlebox::{Band, Bands, Burst, Police, Probability, Reorder};

/// A thousand million: numbers are read with nine digits behind the point.
const NANO: u128 = 1_000_000_000;

const TIMES: &[(&str, u128)] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", NANO)];
const RATES: &[(&str, u128)] = &[("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", NANO)];
const SIZES: &[(&str, u128)] = &[
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", NANO),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];
/// In parts of a thousand million.
const SHARES: &[(&str, u128)] = &[("%", 10_000_000)];

/// What a policer's bucket holds unless told otherwise.
const BURST_BYTES: u64 = 64_000;

/// Which directions the faults are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ways {
    /// Both directions
    Both,
    /// From client to server
    ToServer,
    /// From server to client
    ToClient,
}

/// A number with one of some units, in the smallest; the unit's case does not matter.
fn quantity(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    let unit_at = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.len() > 18 || part.len() > 9 {
        return None;
    }
    let part = part.parse::<u128>().ok()? * 10_u128.pow(9 - u32::try_from(part.len()).ok()?);
    Some((whole.parse::<u128>().ok()? * NANO + part) * scale / NANO)
}

fn units(units: &[(&str, u128)]) -> String {
    units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `10ms`, `1.5s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    quantity(text, TIMES)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("'{text}' is not a time: a number with one of {}", units(TIMES)))
}

/// `1gbit`: bits per second.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    quantity(text, RATES)
        .and_then(|bits| u64::try_from(bits).ok())
        .ok_or_else(|| format!("'{text}' is not a rate: a number with one of {}", units(RATES)))
}

/// `1MB`, `512KiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    quantity(text, SIZES)
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| format!("'{text}' is not a size: a number with one of {}", units(SIZES)))
}

/// `1%`, `0.01%`.
pub(crate) fn share(text: &str) -> Result<Probability, String> {
    quantity(text, SHARES)
        .and_then(|share| u32::try_from(share).ok())
        .and_then(Probability::new)
        .ok_or_else(|| format!("'{text}' is not a share: a number from 0% to 100%"))
}

/// `ENTER:LEAVE[:BAD[:GOOD]]`.
pub(crate) fn burst(text: &str) -> Result<Burst, String> {
    let shares = text.split(':').map(share).collect::<Result<Vec<_>, _>>()?;
    let (enter, leave, bad, good) = match *shares {
        [enter, leave] => (enter, leave, None, None),
        [enter, leave, bad] => (enter, leave, Some(bad), None),
        [enter, leave, bad, good] => (enter, leave, Some(bad), Some(good)),
        _ => return Err(format!("'{text}' is not ENTER:LEAVE, such as 0.1%:20%")),
    };
    let (loss_bad, loss_good) = (bad.unwrap_or(Probability::ALWAYS), good.unwrap_or(Probability::NEVER));
    Ok(Burst { enter, leave, loss_bad, loss_good })
}

/// `SHARE:TIME`.
pub(crate) fn reorder(text: &str) -> Result<Reorder, String> {
    let (of, by) =
        text.split_once(':').ok_or_else(|| format!("'{text}' is not SHARE:TIME, such as 1%:5ms"))?;
    Ok(Reorder { share: share(of)?, extra: time(by)? })
}

/// `RATE[:BURST]`.
pub(crate) fn police(text: &str) -> Result<Police, String> {
    let (at, burst) = text.split_once(':').map_or((text, None), |(at, burst)| (at, Some(burst)));
    let burst_bytes = burst.map_or(Ok(BURST_BYTES), size)?;
    Ok(Police { bits_per_second: rate(at)?, burst_bytes })
}

/// Delay bands as an operator writes them: `10ms..40ms`, `10ms,20ms*3,30ms..40ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BandList(pub(crate) Bands);

impl FromStr for BandList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bands = text.split(',').map(band).collect::<Result<_, _>>()?;
        Bands::new(bands).map(Self).map_err(|error| error.to_string())
    }
}

impl fmt::Display for BandList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Band { low, high, weight }) in self.0.as_slice().iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            write!(f, "{low:?}")?;
            if low != high {
                write!(f, "..{high:?}")?;
            }
            if *weight != 1 {
                write!(f, "*{weight}")?;
            }
        }
        Ok(())
    }
}

fn band(text: &str) -> Result<Band, String> {
    let (range, weight) = match text.split_once('*') {
        None => (text, 1),
        Some((range, weight)) => {
            (range, weight.parse().map_err(|_| format!("'{weight}' is not a weight: a whole number"))?)
        }
    };
    let (low, high) = range.split_once("..").unwrap_or((range, range));
    Ok(Band { low: time(low)?, high: time(high)?, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_a_unit_and_may_have_a_point() {
        assert_eq!(time("1.5ms"), Ok(Duration::from_micros(1_500)));
        assert_eq!(rate("2.5Gbit"), Ok(2_500_000_000));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(share("0.01%"), Ok(Probability::new(100_000).unwrap()));
        assert_eq!(share("100%"), Ok(Probability::ALWAYS));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "10", "ms", "-1ms", "1..2ms", ".ms", "1.ms", "1e3ms", "1 ms", "9999999999999999999s"]
        {
            assert!(time(text).is_err(), "{text}");
        }
        for text in ["101%", "1", "100.1%", "999999999999999999%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bands_are_read_and_written() {
        for text in ["10ms..40ms", "10ms", "10ms,20ms*3,30ms..40ms", "1.5s*2"] {
            assert_eq!(text.parse::<BandList>().unwrap().to_string(), text);
        }
        for text in ["", "10ms,", "40ms..10ms", "10ms*x", "10ms*0"] {
            assert!(text.parse::<BandList>().is_err(), "{text}");
        }
    }

    #[test]
    fn faults_are_read_with_what_they_leave_out() {
        let read = burst("0.1%:20%").unwrap();
        assert_eq!((read.loss_bad, read.loss_good), (Probability::ALWAYS, Probability::NEVER));
        assert_eq!(burst("1%:2%:3%:4%").unwrap().loss_good, share("4%").unwrap());
        assert_eq!(reorder("1%:5ms").unwrap().extra, Duration::from_millis(5));
        assert_eq!(police("1gbit").unwrap().burst_bytes, BURST_BYTES);
        assert_eq!(police("1gbit:2KB").unwrap().burst_bytes, 2_000);
        for text in ["1%", "1%:1%:1%:1%:1%", ""] {
            assert!(burst(text).is_err(), "{text}");
        }
        assert!(reorder("1%").is_err() && police("1").is_err());
    }
}
