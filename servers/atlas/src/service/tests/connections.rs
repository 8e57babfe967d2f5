//! What a connection lives through.

use super::*;

const GET: &str = "GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn pipelined_requests_are_answered_in_order_cut_anywhere() {
    let requests = "GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n\
                    OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET /a%20b.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 0..requests.len() {
        let mut world = World::plain();
        world.send(&requests[..cut]);
        world.send(&requests[cut..]);
        let answers: Vec<u16> = world.answers().iter().map(|reply| reply.status).collect();
        assert_eq!(answers, [200, 404, 204, 200], "{cut}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut world = World::plain();
    for byte in GET.as_bytes() {
        world.send([*byte]);
    }
    assert_eq!(world.answers()[0].status, 200);
}

/// RFC 9112 §9.3, §9.6.
#[test]
fn the_client_says_whether_the_connection_persists() {
    for (request, connection, finished) in [
        ("GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n", None, false),
        ("GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close"), true),
        ("GET /film.mp4 HTTP/1.0\r\n\r\n", Some("close"), true),
        ("GET /film.mp4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive"), false),
    ] {
        let mut world = World::plain();
        let reply = world.ask(request);
        assert_eq!((reply.field("connection"), world.finished), (connection, finished), "{request}");
        assert_eq!(reply.content, b"0123456789");
    }
}

#[test]
fn the_last_allowed_request_is_told_so() {
    let mut world = World::new(Settings { requests_per_connection_max: 2, ..Settings::default() });
    assert_eq!(world.ask(GET).field("connection"), None);
    assert_eq!(world.ask(GET).field("connection"), Some("close"));
    assert!(world.finished);
}

#[test]
fn the_object_that_is_being_sent_is_named_without_its_query() {
    let mut world = World::plain();
    let object = |world: &World| {
        let name = world.service.object(world.session.as_ref().unwrap());
        name.map(|name| String::from_utf8(name.to_vec()).unwrap())
    };
    assert_eq!(object(&world), None);
    world.slow_disk = true;
    world.send("GET /a%20b.txt?token=secret HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(object(&world).as_deref(), Some("/a%20b.txt"));
    world.slow_client = true;
    world.let_files_open();
    assert_eq!(object(&world).as_deref(), Some("/a%20b.txt"));
    world.let_answers_end();
    assert_eq!(object(&world), None);
    world.slow_disk = true;
    world.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1_000)));
    assert_eq!(object(&world).map(|name| name.len()), Some(OBJECT_BYTES_MAX));
}

#[test]
fn plain_http_at_the_tls_port_gets_a_whole_response_with_one_readable_line() {
    let mut world = World::plain();
    let text = String::from_utf8(world.service.plain_to_tls(world.now)).unwrap();
    let (head, line) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("\r\ncontent-length: {}", line.len())), "{head}");
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert!(line.contains("https://") && line.lines().count() == 1, "{line}");
}

#[test]
fn one_connection_too_many_is_told_to_come_back() {
    let mut world = World::new(Settings { connections_max: 1, retry_after_s: 7, ..Settings::default() });
    let first = world.session.take();
    world.connect();
    let reply = world.ask(GET);
    assert_eq!((reply.status, reply.field("retry-after")), (503, Some("7")));
    assert!(world.finished);
    world.close(End::Finished, 0);
    world.session = first;
    world.finished = false;
    assert_eq!(world.ask(GET).status, 200);
}

mod time_passes {
    use super::*;

    #[test]
    fn and_a_silent_connection_is_closed_without_a_word() {
        let mut world = World::plain();
        world.wait(Duration::from_millis(59_999));
        assert!(!world.finished);
        world.wait(Duration::from_millis(1));
        assert!(world.finished && world.output.is_empty());
        assert_eq!(world.service.counters().idle_timeouts, 1);
    }

    #[test]
    fn and_a_slow_head_is_408() {
        let mut world = World::plain();
        world.wait(Duration::from_secs(50));
        world.send("GET / HTTP/1.1\r\n");
        for _ in 0..9 {
            world.wait(Duration::from_secs(1));
            world.send("X: y\r\n");
            assert!(!world.finished);
        }
        world.wait(Duration::from_secs(1));
        let reply = &world.answers()[0];
        assert_eq!((reply.status, reply.field("connection")), (408, Some("close")));
        assert!(world.finished);
        assert_eq!(world.service.counters().header_timeouts, 1);
    }

    #[test]
    fn and_idleness_is_counted_from_the_last_answer() {
        let mut world = World::plain();
        for _ in 0..3 {
            world.wait(Duration::from_secs(59));
            assert_eq!(world.ask(GET).status, 200);
        }
        world.wait(Duration::from_secs(60));
        assert!(world.finished);
    }

    #[test]
    fn and_a_slow_disk_or_client_is_not_ours_to_judge() {
        let mut world = World::plain();
        world.slow_disk = true;
        world.slow_client = true;
        world.send(GET);
        world.wait(Duration::from_secs(1_000));
        world.let_files_open();
        world.wait(Duration::from_secs(1_000));
        assert!(!world.finished);
        world.let_answers_end();
        assert_eq!(world.answers()[0].status, 200);
        world.wait(Duration::from_secs(60));
        assert!(world.finished, "but afterwards the connection is idle again");
    }
}

mod draining {
    use super::*;

    #[test]
    fn closes_an_idle_connection_at_once() {
        let mut world = World::plain();
        world.drain();
        assert!(world.finished && world.output.is_empty());
    }

    #[test]
    fn lets_a_request_that_is_arriving_arrive() {
        let mut world = World::plain();
        world.send("GET /film.mp4 HT");
        world.drain();
        assert!(!world.finished);
        world.send("TP/1.1\r\nHost: a\r\n\r\n");
        let reply = &world.answers()[0];
        assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
        assert!(world.finished);
    }

    #[test]
    fn tells_a_client_whose_file_is_being_opened() {
        let mut world = World::plain();
        world.slow_disk = true;
        world.send(GET);
        world.drain();
        world.let_files_open();
        let reply = &world.answers()[0];
        assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
        assert!(world.finished);
    }

    #[test]
    fn answers_one_more_request_to_a_client_that_was_promised_so() {
        let mut world = World::plain();
        world.slow_client = true;
        world.send(GET);
        world.drain();
        world.let_answers_end();
        assert_eq!(world.answers()[0].field("connection"), None);
        assert!(!world.finished);
        assert_eq!(world.ask(GET).field("connection"), Some("close"));
        assert!(world.finished);
    }

    #[test]
    fn waits_only_a_moment_for_that_request() {
        let mut world = World::plain();
        world.slow_client = true;
        world.send(GET);
        world.drain();
        world.let_answers_end();
        assert!(!world.finished);
        world.wait(DRAIN_GRACE);
        assert!(world.finished);
    }

    #[test]
    fn is_no_longer_healthy() {
        let mut world = World::plain();
        assert_eq!(world.get("/healthz").status, 200);
        world.send("GET /healthz HTT");
        world.drain();
        let reply = world.ask("P/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((reply.status, reply.content.as_slice()), (503, b"draining\n".as_slice()));
    }
}

#[test]
fn a_client_that_stops_sending_is_closed() {
    let mut world = World::plain();
    world.call(|service, now, session, actions| service.on_peer_finished(now, session, actions));
    assert!(world.finished);
}

#[test]
fn a_new_snapshot_counts_from_the_next_request_on() {
    let mut world = World::plain();
    world.slow_disk = true;
    world.send(GET);
    let settings = Settings { server: "other".to_owned(), page: Some(false), ..Settings::default() };
    let site = Site::new(settings, RootId(3), &Catalogue::default()).unwrap();
    world.service.on_snapshot(world.now, Arc::new(site));
    world.let_files_open();
    assert_eq!(world.answers()[0].content, b"0123456789", "a request on its way is not disturbed");
    assert_eq!(world.ask(GET).field("server"), Some("other"));
}
