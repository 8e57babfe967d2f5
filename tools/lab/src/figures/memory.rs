//! Figures of memory traffic, by the model of the last-level cache: fed the dissertation's machine, and ours on it.

use traffic::dissertation::{self, OURS_WINDOW_MAX, XEON};
use traffic::{Geometry, Index, Pipeline, Ratio, Recycling, Seal};

use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::{Figure, Ground, Problem, Run};

/// Sent while it is counted: the model is deterministic, more only smooths.
const SENT: u64 = 32 << 20;
const NO_COUNTERS: &str = "Memory traffic is computed, not measured: a replay of what devices and the processor touch through \
    a model of the dissertation's last-level cache (docs/design/traffic.md says what it was held to).";

pub(super) const BUFFERS: Figure = Figure {
    id: "2.3",
    title: "Memory traffic by working set and by the state of the cache",
    section: "§2.2.2",
    found: "A thousand buffers in a warm cache need no memory; more of them, or a cold cache, write each byte once.",
    seconds: (5, 5),
    ground: Ground::Nothing,
    run: buffers,
};

fn buffers(run: &mut Run<'_>) -> Result<(), Problem> {
    let variants = [(1_000, true), (16_000, true), (1_000, false), (16_000, false)];
    let mut ratios = Vec::new();
    for (frames, warmed) in variants {
        run.step(&format!("{frames} buffers of 8 KiB, {}", if warmed { "warm" } else { "cold" }))?;
        let recycling = Recycling::Fifo { frames };
        let pipeline =
            Pipeline { record_bytes: 8_192, window_bytes: 128 << 10, warmed, recycling, ..Pipeline::PROMPT };
        // The buffers are contiguous.
        ratios.push(pipeline.measure(Geometry { index: Index::Modulo, ..XEON }, SENT));
    }
    let names = ["1K buffers, warm", "16K, warm", "1K, cold", "16K, cold"];
    run.panel(Panel {
        title: "Memory traffic per byte sent, 8 KiB reads from one drive".into(),
        x: Axis::names("DMA buffers, and the last-level cache before", names),
        y: Axis::linear("bytes per byte sent"),
        curves: vec![
            curve("read", Origin::Model, ratios.iter().map(Ratio::read)),
            curve("written", Origin::Model, ratios.iter().map(Ratio::written)),
            curve("written", Origin::Dissertation, [0.0, 1.0, 1.0, 1.0]),
        ],
        ..Panel::default()
    });
    run.remark(NO_COUNTERS);
    Ok(())
}

pub(super) const QUEUES: Figure = Figure {
    id: "2.4",
    title: "Memory traffic by how long completed reads wait",
    section: "§2.2.2",
    found: "Deeper queues between disk and network cost more memory traffic in both directions.",
    seconds: (10, 20),
    ground: Ground::Nothing,
    run: queues,
};

fn queues(run: &mut Run<'_>) -> Result<(), Problem> {
    let depths: &[u64] =
        run.either(&[0, 64, 256, 1_024], &[0, 16, 32, 64, 128, 192, 256, 384, 512, 1_024, 2_048]);
    let mut traffic = ByPlace::default();
    for &depth in depths {
        run.step(&format!("{depth} reads wait"))?;
        let recycling = Recycling::Fifo { frames: 4_096 };
        let pipeline =
            Pipeline { record_bytes: 8_192, backlog_bytes: depth * 8_192, recycling, ..Pipeline::PROMPT };
        let ratio = pipeline.measure(XEON, SENT);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let x = depth as f64;
        traffic.push(x, &ratio);
    }
    run.panel(Panel {
        title: "Memory traffic per byte sent, 8 KiB reads, 4,096 buffers in turn".into(),
        x: Axis::linear("completed reads that wait"),
        y: Axis::linear("bytes per byte sent"),
        curves: traffic.curves(),
        ..Panel::default()
    });
    run.remark(NO_COUNTERS);
    Ok(())
}

pub(super) const SEALED: Figure = Figure {
    id: "2.6",
    title: "Memory traffic of reading, sealing and sending with a controlled working set",
    section: "§2.2.3",
    found: "A synchronous pipeline with few buffers encrypts and sends from the cache without detours to memory.",
    seconds: (10, 20),
    ground: Ground::Nothing,
    run: sealed,
};

fn sealed(run: &mut Run<'_>) -> Result<(), Problem> {
    let windows: &[u64] = run.either(&[1, 4, 16], &[1, 2, 4, 8, 12, 16, 24, 32]);
    let mut traffic = ByPlace::default();
    for &mib in windows {
        run.step(&format!("{mib} MiB being read"))?;
        let window_bytes = mib << 20;
        let pipeline =
            Pipeline { record_bytes: 8_192, window_bytes, seal: Seal::InPlace, ..Pipeline::PROMPT };
        let ratio = pipeline.measure(XEON, SENT);
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let x = mib as f64;
        traffic.push(x, &ratio);
    }
    run.panel(Panel {
        title: "Memory traffic per byte sent, 8 KiB reads sealed in place, last-in first-out".into(),
        x: Axis::log2("MiB being read at a time"),
        y: Axis::linear("bytes per byte sent"),
        curves: traffic.curves(),
        ..Panel::default()
    });
    run.remark(NO_COUNTERS);
    run.remark("Throughput by cores needs four NVMe drives and two 40 Gb/s NICs, and was not run.");
    Ok(())
}

pub(super) const CONVENTIONAL: Figure = Figure {
    id: "4.3",
    title: "Memory traffic of the conventional stack",
    section: "§4.2.2",
    found: "Encrypted, memory is read 2.6 times for each byte sent, whether it comes from disk or from the buffer cache.",
    seconds: (10, 10),
    ground: Ground::Nothing,
    run: conventional,
};

fn conventional(run: &mut Run<'_>) -> Result<(), Problem> {
    let mut ratios = Vec::new();
    for (sealed, cached) in [(false, false), (false, true), (true, false), (true, true)] {
        run.step("the Netflix stack")?;
        ratios.push(dissertation::netflix(sealed, cached).measure(XEON, SENT));
    }
    run.panel(Panel {
        title: "Netflix stack: memory traffic per byte sent".into(),
        x: Axis::names("", ["plain, disk", "plain, cached", "TLS, disk", "TLS, cached"]),
        y: Axis::linear("bytes per byte sent"),
        curves: vec![
            curve("read", Origin::Model, ratios.iter().map(Ratio::read)),
            curve("written", Origin::Model, ratios.iter().map(Ratio::written)),
            curve("read", Origin::Dissertation, [1.5, 1.4, 2.6, 2.6]),
        ],
        ..Panel::default()
    });
    run.remark(NO_COUNTERS);
    Ok(())
}

pub(super) const STACKS: Figure = Figure {
    id: "4.12e",
    title: "Memory read for each byte sent: Netflix, Atlas, and this Atlas",
    section: "§4.4.1, §4.4.2, figures 4.12e and 4.14e",
    found: "Atlas reads 0.65 bytes for each byte sent to 2,000 clients and 1.0 saturated, 1.5 encrypted; Netflix 1.5 and 2.6.",
    seconds: (30, 30),
    ground: Ground::Nothing,
    run: stacks,
};

fn stacks(run: &mut Run<'_>) -> Result<(), Problem> {
    use dissertation::{atlas_at_2000, atlas_saturated, netflix, ours};
    let lifo = |queue| ours(OURS_WINDOW_MAX / 2, queue, Recycling::Lifo);
    let rows: [(&str, Pipeline, Option<f64>); 9] = [
        ("Netflix", netflix(false, false), Some(1.5)),
        ("Netflix TLS", netflix(true, false), Some(2.6)),
        ("Atlas 2,000", atlas_at_2000(Seal::Plain), Some(0.65)),
        ("Atlas", atlas_saturated(Seal::Plain), Some(1.0)),
        ("Atlas TLS", atlas_saturated(Seal::InPlace), Some(1.5)),
        ("ours TLS", lifo(0), None),
        ("ours +4 MiB", lifo(4 << 20), None),
        ("ours +16 MiB", lifo(16 << 20), None),
        ("ours FIFO", ours(OURS_WINDOW_MAX / 2, 4 << 20, Recycling::Fifo { frames: 12_288 }), None),
    ];
    let mut read = Vec::new();
    for (name, pipeline, _) in rows {
        run.step(name)?;
        read.push(pipeline.measure(XEON, SENT).read());
    }
    let mut measured = curve("read", Origin::Dissertation, rows.iter().map(|row| row.2.unwrap_or(f64::NAN)));
    measured.points.retain(|point| !point.y.is_nan());
    run.panel(Panel {
        title: "Memory read for each byte sent, on the dissertation's machine".into(),
        x: Axis::names("stack; ours with so much waiting at the NIC", rows.map(|row| row.0)),
        y: Axis::linear("bytes read per byte sent"),
        curves: vec![curve("read", Origin::Model, read), measured],
        ..Panel::default()
    });
    run.remark(NO_COUNTERS);
    run.remark(
        "By connections, from 400 to 16,000, the production engine itself was run against the model; that table is in \
         docs/design/traffic.md with its command.",
    );
    Ok(())
}

/// Traffic as something grows.
#[derive(Default)]
struct ByPlace {
    read: Vec<Point>,
    written: Vec<Point>,
}

impl ByPlace {
    fn push(&mut self, x: f64, ratio: &Ratio) {
        self.read.push(Point::exact(x, ratio.read()));
        self.written.push(Point::exact(x, ratio.written()));
    }

    fn curves(self) -> Vec<Curve> {
        let curve = |name: &str, points| Curve {
            name: name.to_owned(),
            origin: Origin::Model,
            drawn: Drawn::Line,
            colour: None,
            points,
        };
        vec![curve("read", self.read), curve("written", self.written)]
    }
}

/// A curve over names.
fn curve(name: &str, origin: Origin, values: impl IntoIterator<Item = f64>) -> Curve {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let points = values.into_iter().enumerate().map(|(at, value)| Point::exact(at as f64, value)).collect();
    Curve { name: name.to_owned(), origin, drawn: Drawn::Line, colour: None, points }
}
