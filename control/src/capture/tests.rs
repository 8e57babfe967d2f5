use super::pcapng::tests::{Block, blocks, options, u32_at};
use super::*;
use std::os::unix::fs::PermissionsExt as _;

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("atlas-capture-{}-{name}", std::process::id()))
}

fn plan(name: &str, workers: usize) -> CapturePlan {
    CapturePlan {
        file: file(name),
        bytes_max: CAPTURE_BYTES_MIN,
        snap: 128,
        filter: CaptureFilter::default(),
        at_start: true,
        program: "atlas test".to_owned(),
        links: vec!["atlas0".to_owned(); workers],
    }
}

fn read(path: &Path) -> Vec<Block> {
    blocks(&std::fs::read(path).unwrap())
}

fn kinds(blocks: &[Block]) -> Vec<u32> {
    blocks.iter().map(|block| block.kind).collect()
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(second(path)).unwrap();
}

#[test]
fn what_two_workers_see_is_in_one_file_with_an_interface_for_each() {
    let mut capture = Capture::open(plan("two", 2), || Ok(())).unwrap();
    let path = capture.plan().file.clone();
    let mut sinks = capture.start(CaptureFilter::default(), 128);
    assert!(capture.is_active());
    sinks[0].offer(1, false, 200, &[1; 200], core::iter::empty());
    sinks[1].offer(2, true, 60, &[2; 60], core::iter::empty());
    sinks[1].offer(3, true, 60, &[3; 60], core::iter::empty());
    capture.stop();
    drop(sinks);
    assert!(!capture.is_active());
    let figures = capture.figures().map(|figure| figure.name);
    assert_eq!(figures[1], "capture_packets");
    drop(capture);
    let read = read(&path);
    assert_eq!(kinds(&read), [SECTION, INTERFACE, INTERFACE, PACKET, PACKET, PACKET, STATISTICS, STATISTICS]);
    let packets: Vec<_> = read[3..6]
        .iter()
        .map(|block| (u32_at(&block.body, 0), u32_at(&block.body, 12), u32_at(&block.body, 16)))
        .collect();
    assert_eq!(packets, [(0, 128, 200), (1, 60, 60), (1, 60, 60)]);
    // Times are of today, not of the monotonic clock.
    let seconds =
        (u64::from(u32_at(&read[3].body, 4)) << 32 | u64::from(u32_at(&read[3].body, 8))) / 1_000_000_000;
    assert!(seconds > 1_700_000_000 || wall_clock_offset().as_secs() < 1_700_000_000, "{seconds}");
    let counted: Vec<_> = options(&read[7].body, 12).into_iter().filter(|(code, _)| *code == 4).collect();
    assert_eq!(counted, [(4, vec![2, 0, 0, 0, 0, 0, 0, 0])]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    remove(&path);
}

#[test]
fn a_full_file_makes_room_in_the_other_and_the_newest_packets_are_kept() {
    let mut plan = plan("full", 1);
    plan.snap = 1_024;
    let mut capture = Capture::open(plan, || Ok(())).unwrap();
    let path = capture.plan().file.clone();
    let mut sinks = capture.start(CaptureFilter::default(), 1_024);
    let count = 5_000_u64;
    for nanos in 0..count {
        // Not faster than they are written: none is to be dropped here.
        while nanos > capture.totals.packets.load(Ordering::Relaxed) + 1_000 {
            thread::yield_now();
        }
        sinks[0].offer(nanos, true, 1_000, &[0; 1_000], core::iter::empty());
    }
    drop(sinks);
    let totals = Arc::clone(&capture.totals);
    drop(capture);
    assert_eq!(totals.packets.load(Ordering::Relaxed), count);
    let mut times = Vec::new();
    for path in [&path, &second(&path)] {
        assert!(std::fs::metadata(path).unwrap().len() <= CAPTURE_BYTES_MIN / 2, "{}", path.display());
        let blocks = read(path);
        assert_eq!(kinds(&blocks)[..2], [SECTION, INTERFACE]);
        assert_eq!(blocks.last().unwrap().kind, STATISTICS, "a file ends with what was counted");
        let at = |block: &Block| u64::from(u32_at(&block.body, 4)) << 32 | u64::from(u32_at(&block.body, 8));
        times.extend(blocks.iter().filter(|block| block.kind == PACKET).map(at));
    }
    times.sort_unstable();
    assert!(times.len() > 800, "{}", times.len());
    assert_eq!(times[times.len() - 1] - times[0], times.len() as u64 - 1, "a gap");
    let bytes = totals.bytes.load(Ordering::Relaxed);
    assert!(bytes > 5_000_000, "{bytes}");
    remove(&path);
}

#[test]
fn a_second_capture_begins_a_file_of_its_own_with_its_own_filter() {
    let mut capture = Capture::open(plan("again", 1), || Ok(())).unwrap();
    let path = capture.plan().file.clone();
    let mut sinks = capture.start(CaptureFilter::default(), 128);
    sinks[0].offer(1, true, 60, &[0; 60], core::iter::empty());
    sinks = capture.start("port 443".parse().unwrap(), 128);
    sinks[0].offer(1, true, 60, &[0; 60], core::iter::empty());
    assert_eq!(capture.status()["filter"], "port 443");
    drop(sinks);
    drop(capture);
    let (first, again) = (read(&path), read(&second(&path)));
    assert_eq!(kinds(&first), [SECTION, INTERFACE, PACKET, STATISTICS]);
    assert_eq!(kinds(&again), [SECTION, INTERFACE, STATISTICS]);
    assert!(options(&again[1].body, 8).iter().any(|(code, value)| *code == 11 && value == b"\0port 443"));
    remove(&path);
}

#[test]
fn a_link_or_a_directory_in_the_files_place_is_refused_with_a_remedy() {
    let link = file("link");
    std::os::unix::fs::symlink("/nonexistent/elsewhere", &link).unwrap();
    let line = Capture::open(CapturePlan { file: link.clone(), ..plan("link", 1) }, || Ok(()))
        .unwrap_err()
        .to_string();
    assert!(line.contains("link") && line.contains("--pcap"), "{line}");
    std::fs::remove_file(link).unwrap();
    for path in [std::env::temp_dir(), "/dev/null".into()] {
        let line =
            Capture::open(CapturePlan { file: path, ..plan("dir", 1) }, || Ok(())).unwrap_err().to_string();
        assert!(line.contains("--pcap") && !line.contains('\n'), "{line}");
    }
}
