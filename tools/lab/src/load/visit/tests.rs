use super::super::catalogue::{Catalogue, Part};
use super::super::choice::{Chooser, Mix};
use super::super::plan::Demand;
use super::super::truth::testing::Constant;
use super::super::viewer::Habit;
use super::*;
use handshake::{ClientOptions, ClientSettings, Trust};

const CONTENT: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn plan(demand: Demand, part: Part) -> Plan {
    let mut catalogue = Catalogue::default();
    catalogue.add("http://127.0.0.1/a", None).unwrap();
    Plan {
        chooser: Chooser::new(Mix::Sequential, &[0]).unwrap(),
        catalogue,
        part,
        demand,
        connections: 1,
        ramp: Duration::ZERO,
        timeout: Duration::from_secs(10),
        sources: Vec::new(),
        truth: Some(Arc::new(Constant(CONTENT.to_vec()))),
        tls: ClientSettings::new(Trust::Anyone, ClientOptions::default()).unwrap(),
        seed: 1,
    }
}

/// A client, its desk, and the other side as a pen.
struct Table {
    desk: Desk,
    client: Client,
}

impl Table {
    fn new(plan: Plan, budget: Option<u64>) -> Self {
        let budget = budget.map(|requests| Arc::new(AtomicU64::new(requests)));
        let mut desk = Desk::new(Arc::new(plan), 1, 0, budget);
        desk.set_verify(1.0);
        let client = Client::new(&mut desk, 0, at(0));
        Self { desk, client }
    }

    fn poll(&mut self, now: Instant) -> Action {
        self.client.poll(now, &mut self.desk)
    }

    /// Opens the connection, and returns the first request.
    fn connect(&mut self, now: Instant) -> String {
        assert_eq!(self.poll(now), Action::Open { server: 0 });
        self.client.on_opening(now, &mut self.desk);
        assert_eq!(self.client.output(), b"", "nothing is sent before the connection is there");
        self.client.on_connected(now, &mut self.desk);
        assert_eq!(self.poll(now), Action::Rest);
        self.sent()
    }

    fn sent(&mut self) -> String {
        let sent = String::from_utf8(self.client.output().to_vec()).unwrap();
        self.client.on_sent(sent.len());
        sent
    }

    fn answer(&mut self, now: Instant, status: &str, fields: &str, body: &[u8]) -> Action {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
        self.client.on_bytes(now, &mut self.desk, head.as_bytes());
        self.client.on_bytes(now, &mut self.desk, body);
        self.poll(now)
    }

    fn failures(&mut self) -> Vec<String> {
        self.desk.tally().failures.iter().filter_map(|failures| failures.first.clone()).collect()
    }
}

mod a_client_in_a_closed_loop {
    use super::*;

    #[test]
    fn asks_again_at_once_on_the_same_connection() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Whole), None);
        assert_eq!(table.connect(at(1)), "GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert_eq!(table.answer(at(3), "200 OK", "", CONTENT), Action::Rest);
        assert!(table.sent().starts_with("GET /a "));
        let tally = table.desk.tally();
        assert_eq!((tally.requests, tally.verified, tally.total.quantile_us(1.0) / 10), (1, 1, 200));
        assert_eq!(tally.failed(), 0);
    }

    #[test]
    fn thinks_before_it_asks_again() {
        let demand = Demand { think: Duration::from_millis(50), ..Demand::CLOSED_LOOP };
        let mut table = Table::new(plan(demand, Part::Whole), None);
        table.connect(at(0));
        table.answer(at(10), "200 OK", "", CONTENT);
        assert_eq!((table.sent(), table.client.wakes_at(table.desk.plan())), (String::new(), at(60)));
        assert_eq!(table.poll(at(60)), Action::Rest);
        assert!(table.sent().starts_with("GET "));
    }

    #[test]
    fn that_got_another_byte_says_so_and_goes_on() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Whole), None);
        table.connect(at(0));
        let mut wrong = CONTENT.to_vec();
        wrong[7] ^= 1;
        assert_eq!(table.answer(at(1), "200 OK", "", &wrong), Action::Rest);
        assert_eq!(table.failures(), ["/a: byte 7 is not the file's"]);
        assert_eq!(table.desk.tally().requests, 0);
        // Not at once: whoever fails is not hammered.
        assert_eq!(table.sent(), "");
        assert_eq!(table.poll(at(500)), Action::Rest);
        assert!(table.sent().starts_with("GET "));
    }

    #[test]
    fn names_the_status_that_nobody_wanted() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Whole), None);
        table.connect(at(0));
        table.answer(at(1), "503 Busy", "", b"");
        assert_eq!(table.failures(), ["status 503 for /a"]);
    }

    #[test]
    fn waits_for_a_response_no_longer_than_it_may() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Whole), None);
        table.connect(at(0));
        assert_eq!(table.poll(at(9_999)), Action::Rest);
        assert_eq!(table.poll(at(10_000)), Action::Abort);
        assert_eq!(table.failures(), ["timed out after 10 s: the response"]);
        assert_eq!(table.poll(at(10_050)), Action::Rest, "it does not come back at once");
        assert_eq!(table.poll(at(10_100)), Action::Open { server: 0 });
    }

    #[test]
    fn whose_idle_connection_ends_makes_another_and_blames_nobody() {
        let demand = Demand { think: Duration::from_secs(5), ..Demand::CLOSED_LOOP };
        let mut table = Table::new(plan(demand, Part::Whole), None);
        table.connect(at(0));
        table.answer(at(1), "200 OK", "", CONTENT);
        table.client.on_end(at(2), &mut table.desk);
        assert_eq!(table.poll(at(2)), Action::Close);
        assert_eq!(table.poll(at(2)), Action::Open { server: 0 });
        assert_eq!(table.desk.tally().failed(), 0);
    }

    #[test]
    fn retires_when_nothing_more_is_to_be_asked() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Whole), Some(1));
        table.connect(at(0));
        assert_eq!(table.answer(at(1), "200 OK", "", CONTENT), Action::Close);
        assert!(table.client.is_retired());
        assert_eq!(table.desk.tally().requests, 1);
    }
}

mod a_client_of_short_connections {
    use super::*;

    #[test]
    fn asks_the_server_to_close_and_lets_it_go_first() {
        let demand = Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP };
        let mut table = Table::new(plan(demand, Part::Whole), None);
        assert!(table.connect(at(0)).ends_with("Connection: close\r\n\r\n"));
        assert_eq!(table.answer(at(1), "200 OK", "Connection: close\r\n", CONTENT), Action::Rest);
        table.client.on_end(at(2), &mut table.desk);
        assert_eq!(table.poll(at(2)), Action::Close);
        assert_eq!(table.poll(at(2)), Action::Open { server: 0 });
    }

    #[test]
    fn closes_itself_when_the_server_does_not() {
        let demand = Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP };
        let mut table = Table::new(plan(demand, Part::Whole), None);
        table.connect(at(0));
        table.answer(at(1), "200 OK", "", CONTENT);
        assert_eq!(table.poll(at(1_000)), Action::Rest);
        assert_eq!(table.poll(at(1_001)), Action::Close);
    }
}

mod a_client_of_ranges {
    use super::*;

    #[test]
    fn goes_from_chunk_to_chunk_and_begins_again() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Sequential { bytes: 10 }), None);
        let mut request = table.connect(at(0));
        for (first, last) in [(0, 9), (10, 19), (20, 25), (0, 9)] {
            assert!(request.contains("Range: bytes="), "{request}");
            let fields = format!("Content-Range: bytes {first}-{last}/26\r\n");
            assert_eq!(
                table.answer(at(1), "206 Partial Content", &fields, &CONTENT[first..=last]),
                Action::Rest
            );
            request = table.sent();
        }
        assert_eq!((table.failures(), table.desk.tally().verified), (Vec::new(), 4));
    }

    #[test]
    fn is_not_content_with_the_whole() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Fixed { first: 1, last: 3 }), None);
        assert!(table.connect(at(0)).contains("Range: bytes=1-3\r\n"));
        table.answer(at(1), "200 OK", "", CONTENT);
        assert_eq!(table.failures(), ["status 200 for /a"]);
    }

    #[test]
    fn is_not_content_with_less() {
        let mut table = Table::new(plan(Demand::CLOSED_LOOP, Part::Fixed { first: 0, last: 9 }), None);
        table.connect(at(0));
        table.answer(at(1), "206 Partial Content", "Content-Range: bytes 0-4/26\r\n", &CONTENT[..5]);
        assert_eq!(table.failures(), ["/a: 5 bytes instead of 10"]);
    }
}

mod a_viewer {
    use super::*;

    #[test]
    fn asks_when_its_buffer_has_room() {
        // 26 bytes last 26 ms; two segments fit.
        let habit =
            Habit { bits_per_s: 8_000, buffer: Duration::from_millis(60), start: Duration::from_millis(20) };
        let demand = Demand { habit: Some(habit), ..Demand::CLOSED_LOOP };
        let mut table = Table::new(plan(demand, Part::Whole), None);
        table.connect(at(0));
        table.answer(at(1), "200 OK", "", CONTENT);
        assert!(table.sent().starts_with("GET "), "the second fits");
        table.answer(at(1), "200 OK", "", CONTENT);
        assert_eq!(table.sent(), "", "the third does not");
        assert_eq!(table.client.wakes_at(table.desk.plan()), at(19));
        let mut tally = Tally::new();
        table.client.report(at(60), &mut tally);
        assert_eq!((tally.audience.started, tally.audience.stalls), (1, 1));
        assert_eq!(tally.audience.stalled, Duration::from_millis(7));
    }
}
