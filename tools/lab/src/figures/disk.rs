//! Figures 4.6, 4.8 and 4.9: what a disk gives by window and by the size of a read, by our disk and the conventional ways.

use core::time::Duration;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::contestant::{CLIENT_CORE, SERVER_CORE, version};
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::scratch::Scratch;
use super::{Figure, Ground, Problem, Run};

mod sys;
mod ways;

use ways::{Reads, Way};

const REPETITIONS: usize = 5;
const NAME: &str = "data.bin";
/// More than a virtual disk's host keeps at hand for us would be better, and takes minutes to make.
const FILE_BYTES: u64 = 1 << 30;
const QUICK_FILE_BYTES: u64 = 256 << 20;
const GROUND: &str = "The disk is a file of 1 GiB (quick: 256 MiB) on this machine's file system instead of four NVMe drives that \
    a process has to itself: the kernel's block layer and file system are on every way, and the disk, not the CPU, is the limit \
    of what is read past the page cache. Interrupts' share of the CPU is on nobody's account. diskmap's place is taken by our \
    disk through io_uring, with registered file and buffers; aio(4)'s by Linux's io_submit.";

pub(super) const WINDOW: Figure = Figure {
    id: "4.6",
    title: "Throughput and latency of 16 KiB reads by the I/O window",
    section: "§4.3",
    found: "A window of about 128 reads saturates a P3700, and a read still takes less than a millisecond.",
    seconds: (25, 90),
    ground: Ground::Namespaces,
    run: by_window,
};

pub(super) const SIZES: Figure = Figure {
    id: "4.8",
    title: "Read throughput by the size of a read: our disk, aio, pread",
    section: "§4.3.1.3",
    found: "diskmap is far ahead of aio below 64 KiB; 16 KiB comes close to the hardware's limit.",
    seconds: (40, 150),
    ground: Ground::Namespaces,
    run: by_size,
};

pub(super) const LATENCY: Figure = Figure {
    id: "4.9",
    title: "Latency of 512-byte reads, 128 at a time: our disk and aio",
    section: "§4.3.1.3",
    found: "diskmap's latency is very low despite requests so small that they stress the stack.",
    seconds: (15, 30),
    ground: Ground::Namespaces,
    run: latency,
};

/// The file, on a disk; gone when this is.
struct Data {
    scratch: Scratch,
    bytes: u64,
}

impl Data {
    fn make(run: &mut Run<'_>) -> Result<Self, Problem> {
        let bytes = run.either(QUICK_FILE_BYTES, FILE_BYTES);
        run.step(&format!("a file of {} MiB", bytes >> 20))?;
        let scratch = Scratch::new(run.out)?;
        let path = scratch.path().join(NAME);
        let failed = |error| Problem::File(path.clone(), error);
        let mut file = File::create(&path).map_err(failed)?;
        // No page like another: a disk that shares or squeezes them would be another disk.
        let mut block = vec![0_u8; 1 << 20];
        for number in 0..bytes >> 20 {
            for (page, bytes) in (0_u64..).zip(block.chunks_mut(4_096)) {
                bytes[..8].copy_from_slice(&(number << 8 | page).to_le_bytes());
            }
            file.write_all(&block).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        testbed::cpu::pin(SERVER_CORE);
        run.remark(GROUND);
        Ok(Self { scratch, bytes })
    }

    fn reads(&self, bytes: u32, window: u32, direct: bool, time: Duration) -> Reads<'_> {
        Reads {
            directory: self.scratch.path(),
            name: NAME,
            file_bytes: self.bytes,
            bytes,
            window,
            direct,
            time,
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        testbed::cpu::unpin();
    }
}

/// What is measured at a place of a figure.
#[derive(Clone, Copy, Debug)]
struct Score {
    megabytes_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: Option<f64>,
}

type What = fn(&Score) -> Option<f64>;

/// A curve: a way of ours or of the kernel's, or fio's io_uring.
#[derive(Clone, Copy, Debug)]
enum Line {
    Way(&'static str, Way, bool),
    Fio,
}

impl Line {
    const fn name(self) -> &'static str {
        match self {
            Self::Way(name, ..) => name,
            Self::Fio => "fio (io_uring)",
        }
    }

    fn measure(self, run: &mut Run<'_>, data: &Data, bytes: u32, window: u32) -> Result<Score, Problem> {
        let time = run.either(Duration::from_millis(200), Duration::from_millis(600));
        match self {
            Self::Way(name, way, direct) => {
                let result = data.reads(bytes, window, direct, time).measure(way);
                let result = result.map_err(|error| {
                    Problem::Experiment(format!("{name}, reads of {bytes} bytes: {error}"))
                })?;
                #[expect(clippy::cast_precision_loss, reason = "microseconds")]
                let at = |share| result.latency.quantile_us(share) as f64;
                Ok(Score {
                    megabytes_per_s: result.reads_per_s * f64::from(bytes) / 1e6,
                    p50_us: at(0.5),
                    p99_us: at(0.99),
                    cpu_us: Some(result.cpu_us),
                })
            }
            Self::Fio => fio(run, data, bytes, window, time),
        }
    }
}

/// fio with its best engine: registered file and buffers, as ours.
fn fio(run: &mut Run<'_>, data: &Data, bytes: u32, window: u32, time: Duration) -> Result<Score, Problem> {
    let options = format!(
        "--name=figure --readonly --rw=randread --bs={bytes} --iodepth={window} --ioengine=io_uring --fixedbufs \
         --registerfiles --direct=1 --time_based --runtime={}ms --cpus_allowed={SERVER_CORE} --output-format=json",
        time.as_millis()
    );
    let told = format!("fio --filename={NAME} {options}");
    if run.record.commands.iter().all(|known| !known.starts_with("fio ")) {
        run.record.commands.push(told);
    }
    let output = Command::new("fio")
        .args(options.split_whitespace())
        .arg(format!("--filename={}", data.scratch.path().join(NAME).display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Problem::Experiment(format!("fio: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    parse_fio(&said).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let why = errors.lines().next().unwrap_or("it said nothing that can be read").to_owned();
        Problem::Experiment(format!("fio: {why}"))
    })
}

/// Of its report; something may stand before it.
fn parse_fio(said: &str) -> Option<Score> {
    let report: serde_json::Value = serde_json::from_str(&said[said.find('{')?..]).ok()?;
    let read = report.get("jobs")?.get(0)?.get("read")?;
    let latency =
        |share: &str| read.get("clat_ns")?.get("percentile")?.get(share)?.as_f64().map(|ns| ns / 1e3);
    Some(Score {
        megabytes_per_s: read.get("bw_bytes")?.as_f64()? / 1e6,
        p50_us: latency("50.000000")?,
        p99_us: latency("99.000000")?,
        cpu_us: None,
    })
}

/// fio's line, if it is here.
fn beside(run: &mut Run<'_>) -> Option<Line> {
    let version = version("fio", "--version");
    match version {
        Some(version) => {
            run.record.versions.push(("fio".to_owned(), version));
            Some(Line::Fio)
        }
        None => {
            run.remark("Not run: fio, for it cannot be started: install the Debian package fio.");
            None
        }
    }
}

/// All lines at all places, in turn, so that whatever disturbs the disk disturbs all.
fn measure(
    run: &mut Run<'_>,
    data: &Data,
    lines: &[Line],
    places: &[(u32, u32)],
) -> Result<Vec<Vec<Vec<Score>>>, Problem> {
    let mut scores = vec![vec![Vec::new(); places.len()]; lines.len()];
    for repetition in 1..=REPETITIONS {
        for (at, &(bytes, window)) in places.iter().enumerate() {
            for (line, scores) in lines.iter().zip(&mut scores) {
                let name = line.name();
                run.step(&format!(
                    "{name}, {bytes} bytes, {window} at a time, {repetition} of {REPETITIONS}"
                ))?;
                scores[at].push(line.measure(run, data, bytes, window)?);
            }
        }
    }
    Ok(scores)
}

fn curves(lines: &[Line], scores: &[Vec<Vec<Score>>], places: &[u32], what: What) -> Vec<Curve> {
    let curve = |(line, scores): (&Line, &Vec<Vec<Score>>)| {
        let points = places.iter().zip(scores);
        let points = points.filter_map(|(place, scores)| {
            Point::of(f64::from(*place), &scores.iter().filter_map(what).collect::<Vec<_>>())
        });
        let points: Vec<Point> = points.collect();
        let name = line.name().to_owned();
        (!points.is_empty()).then_some(Curve {
            name,
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points,
        })
    };
    lines.iter().zip(scores).filter_map(curve).collect()
}

fn by_window(run: &mut Run<'_>) -> Result<(), Problem> {
    let windows: &[u32] = run.either(&[1, 16, 128], &[1, 2, 4, 8, 16, 32, 64, 128, 256]);
    let data = Data::make(run)?;
    let mut lines = vec![Line::Way("ours", Way::Ours, true), Line::Way("aio", Way::Aio, true)];
    lines.extend(beside(run));
    let places: Vec<_> = windows.iter().map(|window| (16_384, *window)).collect();
    let scores = measure(run, &data, &lines, &places)?;
    let panels: [(&str, &str, &str, What); 4] = [
        ("a", "Throughput, past the page cache", "MB/s", |score| Some(score.megabytes_per_s)),
        ("b", "Latency, median", "µs", |score| Some(score.p50_us)),
        ("c", "Latency, 99th percentile", "µs", |score| Some(score.p99_us)),
        ("d", "CPU of a read", "µs", |score| score.cpu_us),
    ];
    for (letter, title, unit, what) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log2("reads on their way"),
            y: Axis::linear(unit),
            curves: curves(&lines, &scores, windows, what),
        });
    }
    Ok(())
}

fn by_size(run: &mut Run<'_>) -> Result<(), Problem> {
    const WINDOW: u32 = 128;
    let sizes: &[u32] = run.either(
        &[4_096, 16_384, 131_072],
        &[512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072],
    );
    let data = Data::make(run)?;
    let mut direct = vec![
        Line::Way("ours", Way::Ours, true),
        Line::Way("aio", Way::Aio, true),
        Line::Way("pread", Way::Pread, true),
    ];
    direct.extend(beside(run));
    let places: Vec<_> = sizes.iter().map(|size| (*size, WINDOW)).collect();
    let past = measure(run, &data, &direct, &places)?;
    run.step("the file into the page cache")?;
    let mut file = File::open(data.scratch.path().join(NAME))
        .map_err(|error| Problem::File(data.scratch.path().join(NAME), error))?;
    std::io::copy(&mut file, &mut std::io::sink())
        .map_err(|error| Problem::File(data.scratch.path().join(NAME), error))?;
    let cached = [
        Line::Way("ours", Way::Ours, false),
        Line::Way("aio", Way::Aio, false),
        Line::Way("pread", Way::Pread, false),
    ];
    let from_cache = measure(run, &data, &cached, &places)?;
    let megabytes: What = |score| Some(score.megabytes_per_s);
    let panels = [
        ("a", "Throughput, past the page cache", "MB/s", curves(&direct, &past, sizes, megabytes)),
        (
            "b",
            "CPU of a read, past the page cache",
            "µs",
            curves(&direct, &past, sizes, |score| score.cpu_us),
        ),
        ("c", "Throughput, from the page cache", "MB/s", curves(&cached, &from_cache, sizes, megabytes)),
    ];
    for (letter, title, unit, curves) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log2("bytes of a read"),
            y: Axis::linear(unit),
            curves,
        });
    }
    run.remark(
        "128 reads at a time but for pread, which makes one after the other. Ours reads 128 KiB at most.",
    );
    Ok(())
}

fn latency(run: &mut Run<'_>) -> Result<(), Problem> {
    const SHARES: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];
    let data = Data::make(run)?;
    let time = run.either(Duration::from_millis(300), Duration::from_secs(2));
    let ways = [("ours", Way::Ours), ("aio", Way::Aio)];
    let mut values = vec![vec![Vec::new(); SHARES.len()]; ways.len()];
    for repetition in 1..=REPETITIONS {
        for ((name, way), values) in ways.iter().zip(&mut values) {
            run.step(&format!("{name}, {repetition} of {REPETITIONS}"))?;
            let result = data.reads(512, 128, true, time).measure(*way);
            let result = result.map_err(|error| Problem::Experiment(format!("{name}: {error}")))?;
            for (share, values) in SHARES.iter().zip(values) {
                #[expect(clippy::cast_precision_loss, reason = "microseconds")]
                values.push(result.latency.quantile_us(*share) as f64);
            }
        }
    }
    let curve = |((name, _), values): (&(&str, Way), &Vec<Vec<f64>>)| Curve {
        name: (*name).to_owned(),
        origin: Origin::Measured,
        drawn: Drawn::Line,
        colour: None,
        points: SHARES
            .iter()
            .zip(values)
            .filter_map(|(share, values)| Point::of(share * 100.0, values))
            .collect(),
    };
    run.panel(Panel {
        title: "Latency that a share of reads stays below; 512 bytes, 128 at a time".into(),
        x: Axis::linear("% of reads"),
        y: Axis::log10("µs"),
        curves: ways.iter().zip(&values).map(curve).collect(),
        ..Panel::default()
    });
    run.remark(&format!("The other core ({CLIENT_CORE}) is left to the disk's own work."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fio_says_is_read_behind_whatever_it_notes_first() {
        let said = "note: something\n{\"jobs\":[{\"read\":{\"bw_bytes\":2000000,\"clat_ns\":{\"percentile\":\
                    {\"50.000000\":1500,\"99.000000\":9000}}}}]}";
        let score = parse_fio(said).unwrap();
        assert_eq!((score.megabytes_per_s, score.p50_us, score.p99_us), (2.0, 1.5, 9.0));
        assert!(parse_fio("fio: no such file").is_none());
        assert!(parse_fio("{\"jobs\":[]}").is_none());
    }
}
