//! The model's answers as tables: the dissertation's stacks beside what was measured, and ours by what is on its way.

#![expect(clippy::print_stdout, reason = "what it is for")]

use traffic::dissertation::{OURS_WINDOW_MAX, XEON, atlas_at_2000, atlas_saturated, netflix, ours};
use traffic::{Pipeline, Ratio, Recycling, Seal};

const SENT: u64 = 64 << 20;

fn row(name: &str, ratio: Ratio, measured: &str) {
    let (read, cpu, written) = (ratio.read(), ratio.cpu_read(), ratio.written());
    println!("| {name:<36} | {read:>5.2} | {cpu:>5.2} | {written:>5.2} | {measured:>8} |");
}

fn main() {
    println!("| stack                                | read  | (CPU) | write | measured |");
    println!("|---|---|---|---|---|");
    let stacks: [(&str, Pipeline, &str); 8] = [
        ("Atlas, 2,000 clients, plain", atlas_at_2000(Seal::Plain), "0.65"),
        ("Atlas, 2,000 clients, sealed", atlas_at_2000(Seal::InPlace), ""),
        ("Atlas, saturated, plain", atlas_saturated(Seal::Plain), "1.0"),
        ("Atlas, saturated, sealed", atlas_saturated(Seal::InPlace), "1.5"),
        ("Netflix, plain, 0 % cached", netflix(false, false), "1.5"),
        ("Netflix, plain, 100 % cached", netflix(false, true), "1.4"),
        ("Netflix, sealed, 0 % cached", netflix(true, false), "2.6"),
        ("Netflix, sealed, 100 % cached", netflix(true, true), "2.6"),
    ];
    for (name, pipeline, measured) in stacks {
        row(name, pipeline.measure(XEON, SENT), measured);
    }
    println!();
    println!("| ours, sealed in place                | read  | (CPU) | write |          |");
    println!("|---|---|---|---|---|");
    for window in [2 << 20, OURS_WINDOW_MAX / 2, OURS_WINDOW_MAX] {
        for queue in [0, 4 << 20, 16 << 20] {
            for (name, recycling) in [("LIFO", Recycling::Lifo), ("FIFO", Recycling::Fifo { frames: 12_288 })]
            {
                let name = format!("{:>2} MiB read, {:>2} MiB at the NIC, {name}", window >> 20, queue >> 20);
                row(&name, ours(window, queue, recycling).measure(XEON, SENT), "");
            }
        }
    }
}
