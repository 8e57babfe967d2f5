//! What is counted and written down.

use super::*;

const GET: &str = "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nUser-Agent: u\r\n\r\n";

fn lines(world: &mut World) -> Vec<String> {
    let records = core::iter::from_fn(|| world.service.take_record());
    let line = |record: AccessRecord| {
        let mut line = Vec::new();
        record.write_to(web::LogFormat::Combined, &mut line);
        String::from_utf8(line).unwrap()
    };
    records.map(line).collect()
}

#[test]
fn an_answer_is_written_down_when_it_is_over() {
    let mut world = World::plain();
    world.slow_client = true;
    world.send(GET);
    assert!(lines(&mut world).is_empty());
    world.wait(Duration::from_millis(5));
    world.let_answers_end();
    let expected = r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /film.mp4 HTTP/1.1" 200 10 "-" "u""#;
    assert_eq!(lines(&mut world), [expected]);
}

#[test]
fn refusals_and_timeouts_are_written_down_too() {
    let mut world = World::plain();
    world.ask("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n");
    world.connect();
    world.send("GET");
    world.wait(Duration::from_secs(10));
    let lines = lines(&mut world);
    assert!(lines[0].contains(r#""BREW /pot HTTP/1.1" 501"#), "{lines:?}");
    assert!(lines[1].contains(r#""- - -" 408"#), "{lines:?}");
}

#[test]
fn an_answer_cut_short_says_how_far_it_came() {
    let mut world = World::plain();
    world.slow_client = true;
    world.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    let head_bytes = (world.output.len() - 100_000) as u64;
    world.close(End::PeerReset, head_bytes + 30_000);
    let record = world.service.take_record().unwrap();
    assert!(record.aborted);
    assert_eq!((record.content_bytes, record.status), (30_000, Status::Ok));
    assert_eq!(world.service.counters().aborted, 1);
    assert_eq!(world.service.counters().content_bytes, 30_000);
}

#[test]
fn a_later_answer_does_not_count_the_earlier_ones() {
    let mut world = World::plain();
    world.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = world.output.len() as u64;
    world.slow_client = true;
    world.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    world.close(End::Disk, first + 10);
    let contents: Vec<u64> =
        core::iter::from_fn(|| world.service.take_record()).map(|r| r.content_bytes).collect();
    assert_eq!(contents, [100_000, 0], "ten bytes of a head are no content");
}

#[test]
fn a_connection_lost_while_a_file_is_opened_is_written_down() {
    let mut world = World::plain();
    world.slow_disk = true;
    world.send(GET);
    world.close(End::TimedOut, 0);
    let record = world.service.take_record().unwrap();
    assert!(record.aborted && record.content_bytes == 0);
}

#[test]
fn nothing_is_written_down_when_nobody_wants_it() {
    let mut world = World::new(Settings { access_log: false, ..Settings::default() });
    world.send(GET);
    assert!(world.service.take_record().is_none());
    assert_eq!(world.service.counters().answers_total(), 1);
}

#[test]
fn every_answer_is_counted_by_its_status() {
    let mut world = World::plain();
    world.ask(GET);
    world.get("/missing");
    world.get("/missing");
    world.head_of("/film.mp4", "");
    let counters = world.service.counters();
    assert_eq!(counters.answers[Status::Ok.index()], 2);
    assert_eq!(counters.answers[Status::NotFound.index()], 2);
    assert_eq!((counters.connections, counters.connections_accepted), (1, 1));
    world.close(End::Finished, 0);
    assert_eq!(world.service.counters().connections, 0);
}

#[test]
fn all_counters_are_shown_under_names_of_their_own() {
    let mut names: Vec<String> = Vec::new();
    control::Figures::visit(&Counters::default(), &mut |figure| {
        names.push(format!("{}{:?}", figure.name, figure.label));
    });
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), count), (count, 11 + Status::ALL.len()));
}
