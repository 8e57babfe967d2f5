//! Scripts as values.

use core::fmt;
use core::ops::Range;
use core::time::Duration;
use tcp::{Flags, SackBlocks, SeqNum};

/// A line of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Where it stands, counted from 1.
    pub number: usize,
    /// How long after the line before.
    pub after: Duration,
    /// What happens.
    pub step: Step,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Settings, before everything else.
    Config(Vec<(String, String)>),
    /// We open.
    Connect,
    /// A segment arrives.
    Receive(Segment),
    /// A segment leaves.
    Expect(Segment),
    /// Nothing more leaves.
    ExpectNothing,
    /// The owner has more bytes.
    Write(u64),
    /// The owner has no more bytes.
    Finish,
    /// The owner has had enough.
    Abort,
    /// The owner takes bytes, or does not.
    Read(bool),
    /// The connection is in this state.
    State(String),
    /// The owner was given so many bytes.
    Delivered(u64),
}

/// A segment as it is written: numbers are relative to the SYN of the side they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Without PSH, which says nothing about TCP.
    pub flags: Flags,
    /// From the first number of the payload to the one behind it.
    pub range: Range<u32>,
    /// The acknowledgement, if it is written.
    pub ack: Option<u32>,
    /// The window as on the wire, if it is written.
    pub window: Option<u16>,
    /// The options, if they are written.
    pub options: Options,
}

/// Options as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// Selective acknowledgements permitted.
    pub sack_permitted: bool,
    /// Selective acknowledgements; of the side that is acknowledged.
    pub sack: Vec<(u32, u32)>,
    /// Timestamps: value and echo.
    pub timestamps: Option<(u32, u32)>,
}

impl Options {
    /// The blocks with `base` as their zero.
    #[must_use]
    pub fn sack_blocks(&self, base: SeqNum) -> SackBlocks {
        let mut blocks = SackBlocks::EMPTY;
        for (left, right) in &self.sack {
            assert!(blocks.push(base + *left, base + *right), "more blocks than an option takes");
        }
        blocks
    }
}

/// A line that is none: the author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelt {
    /// Where it stands.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Misspelt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl core::error::Error for Misspelt {}

/// Reads a script.
///
/// # Errors
/// The first line that is none.
pub fn parse(text: &str) -> Result<Vec<Line>, Misspelt> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        lines.push(parse_line(number, line).map_err(|why| Misspelt { line: number, why })?);
    }
    Ok(lines)
}

fn parse_line(number: usize, line: &str) -> Result<Line, String> {
    let (after, rest) = match line.strip_prefix('+') {
        Some(rest) => {
            let (seconds, rest) = rest.split_once(char::is_whitespace).ok_or("a time and nothing else")?;
            let seconds: f64 = number_of(seconds)?;
            (Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?, rest.trim())
        }
        None => (Duration::ZERO, line),
    };
    let (verb, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    let step = match verb {
        "config" => Step::Config(
            arguments
                .split_whitespace()
                .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
                .collect::<Option<_>>()
                .ok_or("a setting is KEY=VALUE")?,
        ),
        "connect" => Step::Connect,
        "<" => Step::Receive(parse_segment(arguments)?),
        ">" if arguments == "nothing" => Step::ExpectNothing,
        ">" => Step::Expect(parse_segment(arguments)?),
        "write" => Step::Write(number_of(arguments)?),
        "finish" => Step::Finish,
        "abort" => Step::Abort,
        "read" => Step::Read(arguments == "on"),
        "state" => Step::State(arguments.to_ascii_lowercase()),
        "delivered" => Step::Delivered(number_of(arguments)?),
        other => return Err(format!("nothing is called {other}")),
    };
    Ok(Line { number, after, step })
}

fn parse_segment(text: &str) -> Result<Segment, String> {
    let (text, options) = match text.split_once('<') {
        Some((text, rest)) => (text, parse_options(rest.strip_suffix('>').ok_or("options without an end")?)?),
        None => (text, Options::default()),
    };
    let mut words = text.split_whitespace();
    let mut flags = Flags::empty();
    for letter in words.next().ok_or("a segment without flags")?.chars() {
        flags |= match letter {
            'S' => Flags::SYN,
            'F' => Flags::FIN,
            'R' => Flags::RST,
            '.' => Flags::ACK,
            'P' => Flags::empty(),
            other => return Err(format!("no flag is called {other}")),
        };
    }
    let range = words.next().and_then(|word| word.split_once(':')).ok_or("a segment without FROM:TO")?;
    let range = number_of(range.0)?..number_of(range.1)?;
    let mut segment = Segment { flags, range, ack: None, window: None, options };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} without a value"))?;
        match word {
            "ack" => segment.ack = Some(number_of(value)?),
            "win" => segment.window = Some(number_of(value)?),
            other => return Err(format!("a segment has no {other}")),
        }
    }
    Ok(segment)
}

fn parse_options(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    for option in text.split(',').map(str::trim) {
        let mut words = option.split_whitespace();
        let kind = words.next().ok_or("an empty option")?;
        let mut value = || words.next().ok_or_else(|| format!("{kind} without a value"));
        match kind {
            "mss" => options.mss = Some(number_of(value()?)?),
            "wscale" => options.window_scale = Some(number_of(value()?)?),
            "sackOK" => options.sack_permitted = true,
            "ts" => options.timestamps = Some((number_of(value()?)?, number_of(value()?)?)),
            "sack" => {
                for block in words {
                    let (left, right) = block.split_once(':').ok_or("a block is FROM:TO")?;
                    options.sack.push((number_of(left)?, number_of(right)?));
                }
            }
            other => return Err(format!("no option is called {other}")),
        }
    }
    Ok(options)
}

fn number_of<N: core::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
