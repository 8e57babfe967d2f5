//! What holds for any touches, and a second cache, written as simply as can be, that must agree.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is one")]

use proptest::prelude::*;
use traffic::{Cache, Geometry, Index, Traffic};

const LINE: u64 = 64;

#[derive(Clone, Copy, Debug)]
enum Does {
    CpuRead,
    CpuWrite,
    Stream,
    DmaWrite,
    DmaRead,
}

fn touches() -> impl Strategy<Value = Vec<(Does, u64, u64)>> {
    let does = prop_oneof![
        Just(Does::CpuRead),
        Just(Does::CpuWrite),
        Just(Does::Stream),
        Just(Does::DmaWrite),
        Just(Does::DmaRead)
    ];
    prop::collection::vec((does, 0..96_u64, 1..9_u64), 1..300)
}

fn geometry() -> impl Strategy<Value = Geometry> {
    (1..9_u64, 1..9_u32).prop_flat_map(|(sets, ways)| {
        (0..=ways).prop_map(move |dma_ways| Geometry {
            bytes: sets * u64::from(ways) * LINE,
            ways,
            line_bytes: 64,
            dma_ways,
            index: Index::Modulo,
        })
    })
}

fn apply(cache: &mut Cache, does: Does, first: u64, lines: u64) {
    let range = first * LINE..(first + lines) * LINE;
    match does {
        Does::CpuRead => cache.cpu_read(range),
        Does::CpuWrite => cache.cpu_write(range),
        Does::Stream => cache.stream_write(range),
        Does::DmaWrite => cache.dma_write(range),
        Does::DmaRead => cache.dma_read(range),
    }
}

/// One set as a list, the line used last at the end.
#[derive(Clone, Debug)]
struct Held {
    line: u64,
    way: u32,
    dirty: bool,
}

#[derive(Debug)]
struct Simple {
    geometry: Geometry,
    sets: Vec<Vec<Held>>,
    traffic: Traffic,
}

impl Simple {
    fn new(geometry: Geometry) -> Self {
        let sets = (0..geometry.sets()).map(|_| Vec::new()).collect();
        Self { geometry, sets, traffic: Traffic::default() }
    }

    fn touch(&mut self, does: Does, line: u64) {
        let ddio = self.geometry.dma_ways > 0;
        let index = usize::try_from(line % self.geometry.sets()).expect("small");
        let set = &mut self.sets[index];
        let found = set.iter().position(|held| held.line == line);
        let (ways, writes, reads) = match does {
            Does::CpuRead => (self.geometry.ways, false, true),
            Does::CpuWrite => (self.geometry.ways, true, true),
            Does::DmaWrite if ddio => (self.geometry.dma_ways, true, false),
            Does::DmaWrite | Does::Stream => {
                if let Some(at) = found {
                    set.remove(at);
                }
                self.traffic.written += LINE;
                return;
            }
            Does::DmaRead => {
                self.traffic.dma_read += if found.is_none() { LINE } else { 0 };
                return;
            }
        };
        if let Some(at) = found {
            let mut held = set.remove(at);
            held.dirty |= writes;
            set.push(held);
            return;
        }
        self.traffic.cpu_read += if reads { LINE } else { 0 };
        let empty = (0..ways).find(|way| set.iter().all(|held| held.way != *way));
        let way = empty.unwrap_or_else(|| {
            let at = set.iter().position(|held| held.way < ways).expect("a full set");
            let gone = set.remove(at);
            self.traffic.written += if gone.dirty { LINE } else { 0 };
            gone.way
        });
        set.push(Held { line, way, dirty: writes });
    }
}

proptest! {
    #[test]
    fn the_cache_agrees_with_a_simple_one(geometry in geometry(), touches in touches()) {
        let mut cache = Cache::new(geometry);
        let mut simple = Simple::new(geometry);
        for (does, first, lines) in touches {
            apply(&mut cache, does, first, lines);
            (first..first + lines).for_each(|line| simple.touch(does, line));
            prop_assert_eq!(cache.traffic(), simple.traffic);
        }
        let dirty = simple.sets.iter().flatten().filter(|held| held.dirty).count() as u64 * LINE;
        prop_assert_eq!(cache.dirty_bytes(), dirty);
    }

    #[test]
    fn a_line_is_written_at_most_once_for_each_time_it_was_dirtied(
        geometry in geometry(),
        hashed in any::<bool>(),
        touches in touches(),
    ) {
        let index = if hashed { Index::Hashed } else { Index::Modulo };
        let mut cache = Cache::new(Geometry { index, ..geometry });
        let (mut dirtied, mut touched_by_cpu, mut sent) = (0, 0, 0);
        for (does, first, lines) in touches {
            let bytes = lines * LINE;
            match does {
                Does::CpuRead => touched_by_cpu += bytes,
                Does::CpuWrite => { touched_by_cpu += bytes; dirtied += bytes; }
                Does::Stream | Does::DmaWrite => dirtied += bytes,
                Does::DmaRead => sent += bytes,
            }
            apply(&mut cache, does, first, lines);
        }
        let traffic = cache.traffic();
        // What is dirty will be written: together with what was, no more than was dirtied.
        prop_assert!(traffic.written + cache.dirty_bytes() <= dirtied);
        prop_assert!(traffic.cpu_read <= touched_by_cpu);
        prop_assert!(traffic.dma_read <= sent);
        prop_assert!(cache.dirty_bytes() <= geometry.bytes);
    }

    #[test]
    fn a_cache_that_holds_everything_reads_each_line_once(touches in touches()) {
        // Without streaming stores, that is: they push lines out.
        let all = Geometry { bytes: 128 * LINE, ways: 128, line_bytes: 64, dma_ways: 128, index: Index::Modulo };
        let mut cache = Cache::new(all);
        for (does, first, lines) in touches {
            if !matches!(does, Does::Stream | Does::DmaRead) {
                apply(&mut cache, does, first, lines);
            }
        }
        prop_assert_eq!(cache.traffic().written, 0);
        prop_assert!(cache.traffic().cpu_read <= 104 * LINE);
    }
}
