//! What it costs to answer by who asks: beside the same questions, answered from the zone, in the same run.
//!
//! ```text
//!   question for          name's own records      longest of the networks, bucket, body
//!   without a subnet      ordinary                steered
//!   with one              ordinary, subnet        steered, subnet
//! ```

use core::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use namestorm::catalogue::Catalogue;
use namestorm::hash::Form;
use namestorm::steer::Steerer;
use namestorm::steer::table::Table;
use namestorm::{load, zone};
use serde_json::json;

use super::{APEX, FRAMES, Loop, World, frame, key, text};
use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread, round};

const NAMES: usize = 10_000;
const NETWORKS: [usize; 2] = [1_000, 1_000_000];
/// The first so many names are steered.
const STEERED: usize = 1_000;
const BATCH: usize = 32;

/// Nanoseconds of a query by what its answer depends on, and what it takes to make the table and another state of it.
pub(crate) fn steered(effort: Effort, report: &Report) -> Result<(), Complaint> {
    NETWORKS.into_iter().try_for_each(|networks| beside_ordinary(effort, report, networks))
}

fn beside_ordinary(effort: Effort, report: &Report, wanted: usize) -> Result<(), Complaint> {
    let loaded = load::read_text("bench".as_ref(), text(NAMES).as_bytes(), APEX)?;
    let zone = Arc::new(zone::build(APEX, loaded, key(), Form::Wire)?.zone);
    let zones = Catalogue::new(key(), Form::Wire, vec![zone]);
    let mut dice = Dice(0x5eed);
    let networks = networks(&mut dice, wanted);
    let begin = Instant::now();
    let table = Table::read("table".as_ref(), &|path, _| {
        Ok(if path.ends_with("networks") { networks.clone() } else { table() }.into_bytes())
    })?;
    let read_seconds = begin.elapsed().as_secs_f64();
    let (networks_count, bytes) = table
        .maps
        .iter()
        .flat_map(|map| &map.prefixes)
        .fold((0, 0), |all, prefixes| (all.0 + prefixes.networks(), all.1 + prefixes.bytes()));
    let mut steerer = Steerer::new(table);
    let (steering, problems) = steerer.steering(&zones);
    assert!(problems.is_empty(), "every name is steered: {problems:?}");
    let catalogue = zones.steered(Some(Arc::new(steering)));
    // What a target that dies costs control: the answers of its pool, and a catalogue.
    let mut changes = Vec::new();
    for turn in 0..20 {
        let begin = Instant::now();
        let state = if turn % 2 == 0 { "down" } else { "up" };
        steerer.set("t0-0", Some(state.parse()?), None)?;
        let (steering, _) = steerer.steering(&zones);
        drop(zones.steered(Some(Arc::new(steering))));
        changes.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let kinds = [
        ("ordinary", false, false),
        ("steered", true, false),
        ("ordinary, subnet", false, true),
        ("steered, subnet", true, true),
    ];
    let mut worlds = kinds.map(|(_, steered, subnet)| {
        let frames = (0..FRAMES).map(|_| {
            let index = dice.below(STEERED) + if steered { 0 } else { STEERED };
            let [a, b, c, d] = dice.address();
            let option = [0, 8, 0, 7, 0, 1, 24, 0, a, b, c];
            let option = if subnet { &option[..] } else { &[] };
            frame(&format!("host{index}.example"), [a, b, c, d], option)
        });
        World::of(catalogue.clone(), frames.collect(), 0).expect("a pool of one frame")
    });
    let mut spent = kinds.map(|_| Vec::new());
    let mut bare = Vec::new();
    // By turns, so that what else the machine does falls on all of them.
    for _ in 0..effort.runs.max(5) {
        for (world, spent) in worlds.iter_mut().zip(&mut spent) {
            spent.push(world.nanoseconds(BATCH, effort.seconds / 8.0, Loop::Answer));
        }
        bare.push(worlds[0].nanoseconds(BATCH, effort.seconds / 8.0, Loop::Bare));
    }
    let bare = Spread::of(bare);
    let [ordinary, steered, ordinary_subnet, steered_subnet] = spent.map(Spread::of);
    let detail = json!({
        "ns": {
            "bare loop": bare.json(), "ordinary": ordinary.json(), "steered": steered.json(),
            "ordinary with subnet": ordinary_subnet.json(), "steered with subnet": steered_subnet.json(),
        },
        "with subnet, times ordinary": round(steered_subnet.median / ordinary_subnet.median),
        "networks": networks_count, "bytes_per_network": round(bytes as f64 / networks_count as f64),
        "table_seconds": round(read_seconds), "change_ms": Spread::of(changes).json(),
    });
    report.result(
        &format!("namestorm-steered {wanted}"),
        steered.median / ordinary.median,
        "times an ordinary query",
        &detail,
    );
    Ok(())
}

/// Eight pools of four targets.
fn table() -> String {
    let mut table = String::from("ecs = \"any\"\nttl = 20\n");
    for pool in 0..8 {
        for target in 0..4 {
            let _ = write!(
                table,
                "[target.t{pool}-{target}]\naddresses = [\"198.51.{pool}.{target}\"]\nweight = {}\n",
                target + 1
            );
        }
    }
    table.push_str("[pool]\n");
    for pool in 0..8 {
        let _ = writeln!(table, "p{pool} = [\"t{pool}-0\", \"t{pool}-1\", \"t{pool}-2\", \"t{pool}-3\"]");
    }
    table.push_str("[map.all]\ndefault = [\"p0\"]\nnetworks = \"networks\"\n");
    for name in 0..STEERED {
        let _ = write!(table, "[name.\"host{name}.example\"]\nmap = \"all\"\n");
    }
    table
}

/// Networks of 12 to 28 bits, most of them of 24, as the Internet's are.
fn networks(dice: &mut Dice, wanted: usize) -> String {
    let mut text = String::new();
    for _ in 0..wanted {
        let bits = match dice.below(10) {
            0 => 12 + dice.below(8),
            1..=2 => 20 + dice.below(4),
            9 => 25 + dice.below(4),
            _ => 24,
        };
        let address = u32::from_be_bytes(dice.address()) & (u32::MAX << (32 - bits));
        let [a, b, c, d] = address.to_be_bytes();
        let (first, second) = (dice.below(8), dice.below(8));
        let _ = writeln!(text, "{a}.{b}.{c}.{d}/{bits} p{first} p{second}");
    }
    text
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    /// An address that is somebody's: below the loopback's, which nobody answers.
    fn address(&mut self) -> [u8; 4] {
        let [_, b, c, d] = u32::try_from(self.below(1 << 24)).unwrap_or(0).to_be_bytes();
        [1 + u8::try_from(self.below(126)).unwrap_or(0), b, c, d]
    }
}
