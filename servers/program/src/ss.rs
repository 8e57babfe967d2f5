//! `ss`: the connections of a running server, as `ss -ti` would list them if the kernel knew of them.
//!
//! ```text
//! State      In-Flight   Unsent  Local Address:Port     Peer Address:Port
//! ESTAB          43440    16384  203.0.113.10:443       198.51.100.7:52096
//!          TLS1.3 AES-128-GCM rtt:20.1/2.4 minrtt:19.8 rto:220 mss:1448 cwnd:86880 sent:4.8M object:/film.mp4
//! ```

use clap::Args;
use control::Connection;
use core::fmt::{self, Write as _};
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use std::io::{self, BufWriter, Write as _};

use crate::look::{AdminArgs, LookError};

/// What `ss` takes.
#[derive(Args, Debug)]
pub struct SsArgs {
    /// The server
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Write one JSON array instead
    #[arg(long)]
    pub json: bool,
    /// One line for each connection
    #[arg(long, short = 'O')]
    pub oneline: bool,
    /// Only those: state ESTAB, src or dst ADDRESS or ADDRESS:PORT, sport or dport PORT, object PART; all of it must hold
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Which connections are listed: those for which all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    state: Option<String>,
    source: Option<End>,
    destination: Option<End>,
    sport: Option<u16>,
    dport: Option<u16>,
    object: Option<String>,
}

/// An address, with a port or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    ip: IpAddr,
    port: Option<u16>,
}

impl End {
    fn is(self, address: SocketAddr) -> bool {
        self.ip == address.ip().to_canonical() && self.port.is_none_or(|port| port == address.port())
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { ip: address.ip(), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let ip = bare.parse().map_err(|_| format!("'{text}' is not an address, with a port or without"))?;
        Ok(Self { ip, port: None })
    }
}

/// The states, in `ss`'s words.
const STATES: &[&str] = &[
    "SYN-SENT",
    "SYN-RECV",
    "ESTAB",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
    "CLOSED",
];

impl Filter {
    /// Reads `state ESTAB dst 192.0.2.7:443 and object /film`.
    fn parse(words: &[String]) -> Result<Self, String> {
        const KNOWN: &str = "state, src, dst, sport, dport, object";
        let mut filter = Self::default();
        let mut words = words.iter().flat_map(|word| word.split_whitespace()).peekable();
        while let Some(word) = words.next() {
            let Some(value) = words.next() else {
                return Err(format!(
                    "the filter ends after '{word}'; it is made of {KNOWN}, each with a value"
                ));
            };
            let port = || match value.parse::<u16>() {
                Ok(port) if port > 0 => Ok(port),
                _ => Err(format!("'{value}' is not a port")),
            };
            let is_again = match word {
                "state" => {
                    // `ss` takes long names and short ones.
                    let wanted = value.to_ascii_uppercase().replace('_', "-");
                    let wanted = match wanted.as_str() {
                        "ESTABLISHED" => "ESTAB".to_owned(),
                        "SYN-RECEIVED" => "SYN-RECV".to_owned(),
                        _ => wanted,
                    };
                    if !STATES.contains(&wanted.as_str()) {
                        return Err(format!("'{value}' is not a state: {}", STATES.join(", ")));
                    }
                    filter.state.replace(wanted).is_some()
                }
                "src" => filter.source.replace(value.parse()?).is_some(),
                "dst" => filter.destination.replace(value.parse()?).is_some(),
                "sport" => filter.sport.replace(port()?).is_some(),
                "dport" => filter.dport.replace(port()?).is_some(),
                "object" => filter.object.replace(value.to_owned()).is_some(),
                other => return Err(format!("'{other}' is not one of {KNOWN}")),
            };
            if is_again {
                return Err(format!("'{word}' is there twice"));
            }
            if words.peek() == Some(&"and") {
                words.next();
                if words.peek().is_none() {
                    return Err("the filter ends after 'and'".to_owned());
                }
            }
        }
        Ok(filter)
    }

    fn lets_through(&self, connection: &Connection) -> bool {
        let Self { state, source, destination, sport, dport, object } = self;
        state.as_ref().is_none_or(|state| *state == connection.state)
            && source.is_none_or(|end| end.is(connection.local))
            && destination.is_none_or(|end| end.is(connection.peer))
            && sport.is_none_or(|port| port == connection.local.port())
            && dport.is_none_or(|port| port == connection.peer.port())
            && object.as_ref().is_none_or(|part| {
                connection.object.as_ref().is_some_and(|object| object.contains(part.as_str()))
            })
    }
}

/// What went wrong.
#[derive(Debug)]
pub enum SsError {
    /// The filter means nothing.
    Filter(String),
    /// There is no server.
    Look(LookError),
    /// Standard output is gone: nobody reads on.
    Unread,
}

impl fmt::Display for SsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(line) => f.write_str(line),
            Self::Look(error) => error.fmt(f),
            Self::Unread => f.write_str("standard output is closed"),
        }
    }
}

/// Lists connections on standard output as they come.
///
/// # Errors
/// The filter means nothing, nobody answers, or nobody reads.
pub fn ss(arguments: &SsArgs, default_port: u16) -> Result<(), SsError> {
    let filter = Filter::parse(&arguments.filter).map_err(SsError::Filter)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut broken = false;
    let mut is_first = true;
    let mut on_page = |page: Vec<Connection>| {
        for connection in page.iter().filter(|connection| filter.lets_through(connection)) {
            let written = if arguments.json {
                let text = serde_json::to_string(connection).unwrap_or_default();
                write!(out, "{}{text}", if is_first { "[\n" } else { ",\n" })
            } else {
                let heading = if is_first { heading() } else { String::new() };
                write!(out, "{heading}{}", lines(connection, arguments.oneline))
            };
            is_first = false;
            broken |= written.is_err();
        }
    };
    arguments.admin.port(default_port).connections(&mut on_page).map_err(SsError::Look)?;
    let end = match (arguments.json, is_first) {
        (true, true) => "[]\n".to_owned(),
        (true, false) => "\n]\n".to_owned(),
        (false, true) => heading(),
        (false, false) => String::new(),
    };
    let ended = out.write_all(end.as_bytes()).and_then(|()| out.flush());
    if broken || ended.is_err() { Err(SsError::Unread) } else { Ok(()) }
}

fn row(state: &str, in_flight: &str, unsent: &str, local: &str, peer: &str) -> String {
    let row = format!("{state:<10} {in_flight:>9} {unsent:>8}  {local:<28} {peer}");
    row.trim_end().to_owned()
}

fn heading() -> String {
    row("State", "In-Flight", "Unsent", "Local Address:Port", "Peer Address:Port") + "\n"
}

/// A connection, for people.
fn lines(connection: &Connection, oneline: bool) -> String {
    let Connection { state, local, peer, in_flight, unsent, .. } = connection;
    let row = row(state, &in_flight.to_string(), &unsent.to_string(), &local.to_string(), &peer.to_string());
    let separator = if oneline { " " } else { "\n\t " };
    format!("{row}{separator}{}\n", details(connection))
}

/// As `ss -i` has them: times in milliseconds, everything else in bytes.
fn details(connection: &Connection) -> String {
    let Connection {
        local: _,
        peer: _,
        state: _,
        tls,
        cwnd,
        ssthresh,
        snd_wnd,
        mss,
        srtt_us,
        rttvar_us,
        rtt_min_us,
        rto_us,
        pacing_rate,
        in_flight: _,
        lost,
        unsent: _,
        sent_bytes,
        resent_bytes,
        retransmitted_segments,
        timeouts,
        received_bytes,
        reads,
        object,
        ending,
    } = connection;
    let mut text = tls.as_deref().unwrap_or("plain").to_owned();
    let mut add = |name: &str, value: &dyn fmt::Display| {
        let _ = write!(text, " {name}:{value}");
    };
    if let Some(srtt) = srtt_us {
        add("rtt", &format_args!("{}/{}", Millis(*srtt), Millis(*rttvar_us)));
    }
    if let Some(least) = rtt_min_us {
        add("minrtt", &Millis(*least));
    }
    add("rto", &Millis(*rto_us));
    add("mss", mss);
    add("cwnd", cwnd);
    if let Some(ssthresh) = ssthresh {
        add("ssthresh", ssthresh);
    }
    add("snd_wnd", snd_wnd);
    add("bytes_sent", sent_bytes);
    add("bytes_received", received_bytes);
    for (name, value) in [
        ("pacing_rate", *pacing_rate),
        ("lost", (*lost).into()),
        ("bytes_retrans", *resent_bytes),
        ("retrans", (*retransmitted_segments).into()),
        ("timeouts", (*timeouts).into()),
        ("reads", (*reads).into()),
    ] {
        if value > 0 {
            add(name, &value);
        }
    }
    if let Some(object) = object {
        add("object", object);
    }
    if let Some(ending) = ending {
        add("ending", ending);
    }
    text
}

/// Microseconds, shown as milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(micros) = *self;
        let text = format!("{}.{:03}", micros / 1_000, micros % 1_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn connection(peer: &str) -> Connection {
        Connection {
            local: "203.0.113.10:443".parse().unwrap(),
            peer: peer.parse().unwrap(),
            state: "ESTAB".into(),
            tls: Some("TLS1.3 AES-128-GCM".into()),
            cwnd: 86_880,
            ssthresh: None,
            snd_wnd: 1_048_576,
            mss: 1_448,
            srtt_us: Some(20_100),
            rttvar_us: 2_450,
            rtt_min_us: Some(19_000),
            rto_us: 220_000,
            pacing_rate: 0,
            in_flight: 43_440,
            lost: 0,
            unsent: 16_384,
            sent_bytes: 5_000_000,
            resent_bytes: 2_896,
            retransmitted_segments: 2,
            timeouts: 0,
            received_bytes: 700,
            reads: 1,
            object: Some("/films/a.mp4".to_owned()),
            ending: None,
        }
    }

    fn filter(text: &str) -> Result<Filter, String> {
        Filter::parse(&[text.to_owned()])
    }

    #[test]
    fn a_connection_is_two_lines_or_one() {
        let text = heading() + &lines(&connection("198.51.100.7:52096"), false);
        let expected = "\
State      In-Flight   Unsent  Local Address:Port           Peer Address:Port
ESTAB          43440    16384  203.0.113.10:443             198.51.100.7:52096
\t TLS1.3 AES-128-GCM rtt:20.1/2.45 minrtt:19 rto:220 mss:1448 cwnd:86880 snd_wnd:1048576 bytes_sent:5000000 \
            bytes_received:700 bytes_retrans:2896 retrans:2 reads:1 object:/films/a.mp4
";
        assert_eq!(text, expected);
        assert_eq!(lines(&connection("198.51.100.7:52096"), true).lines().count(), 1);
    }

    #[test]
    fn a_filter_lets_through_what_all_of_it_fits() {
        let connection = connection("[2001:db8::7]:52096");
        for text in [
            "",
            "state established",
            "state ESTAB and dst 2001:db8::7",
            "dst [2001:db8::7]:52096 sport 443",
            "src 203.0.113.10:443 and dport 52096",
            "object a.mp4",
        ] {
            assert!(filter(text).unwrap().lets_through(&connection), "{text}");
        }
        for text in ["state fin-wait-1", "dst 2001:db8::8", "dst [2001:db8::7]:1", "sport 80", "object b.mp4"]
        {
            assert!(!filter(text).unwrap().lets_through(&connection), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_in_one_line() {
        for (text, why) in [
            ("state", "ends after 'state'"),
            ("state open", "'open' is not a state"),
            ("port 80", "'port' is not one of"),
            ("sport 0", "'0' is not a port"),
            ("dst example.net", "'example.net' is not an address"),
            ("sport 80 and", "ends after 'and'"),
            ("sport 80 sport 81", "twice"),
        ] {
            let line = filter(text).unwrap_err();
            assert!(line.contains(why) && !line.contains('\n'), "{text}: {line}");
        }
    }

    #[test]
    fn times_are_milliseconds_as_short_as_they_can_be() {
        for (micros, text) in [(0, "0"), (220_000, "220"), (19_050, "19.05"), (7, "0.007")] {
            assert_eq!(Millis(micros).to_string(), text);
        }
    }
}
