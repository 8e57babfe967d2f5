use super::request::{HEAD_BYTES_MAX, Parsed, parse};
use super::*;
use proptest::prelude::*;

fn get(path: &str) -> Parsed {
    Parsed::Request(Request { method: Method::Get, path: path.to_owned(), query: String::new() })
}

fn refused(bytes: &[u8]) -> u16 {
    match parse(bytes) {
        Parsed::Refused(response) => response.status,
        other => panic!("{other:?}"),
    }
}

mod requests {
    use super::*;

    #[test]
    fn every_beginning_of_a_request_is_partial() {
        let whole = b"POST /drain?now HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc";
        (0..whole.len()).for_each(|end| assert_eq!(parse(&whole[..end]), Parsed::Partial, "{end}"));
        let Parsed::Request(request) = parse(whole) else { panic!() };
        assert_eq!((request.method, request.path.as_str()), (Method::Post, "/drain"));
    }

    #[test]
    fn a_query_is_taken_apart_and_decoded() {
        let Parsed::Request(request) =
            parse(b"POST /x?host=2001%3adb8::7&a&b=1+2%zz&host=no&= HTTP/1.1\r\n\r\n")
        else {
            panic!()
        };
        assert_eq!(request.parameter("host").as_deref(), Some("2001:db8::7"));
        assert_eq!(request.parameter("b").as_deref(), Some("1 2%zz"));
        assert_eq!((request.parameter("a"), request.parameter("c")), (None, None));
        assert_eq!(request.unknown_parameter(&["host", "a"]), Some("b"));
        assert_eq!(request.unknown_parameter(&["host", "a", "b"]), None);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_status() {
        assert_eq!(refused(b"\x16\x03\x01\x02\x00\x01"), 400);
        assert_eq!(refused(b"DELETE / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(refused(b"POST /drain HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"), 400);
        assert_eq!(refused(b"POST /drain HTTP/1.1\r\nContent-Length: 9000\r\n\r\n"), 413);
        assert_eq!(refused(b"POST /drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; HEAD_BYTES_MAX]].concat();
        assert_eq!(refused(&long), 431);
    }

    #[test]
    fn a_web_page_may_look_but_not_command() {
        for header in ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"] {
            assert_eq!(refused(format!("POST /drain HTTP/1.1\r\n{header}\r\n\r\n").as_bytes()), 403);
            assert_eq!(
                parse(format!("GET /healthz HTTP/1.1\r\n{header}\r\n\r\n").as_bytes()),
                get("/healthz")
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            if bytes.len() > HEAD_BYTES_MAX {
                prop_assert_ne!(parse(&bytes), Parsed::Partial);
            } else {
                let _ = parse(&bytes);
            }
        }
    }
}

mod a_port {
    use super::*;

    fn port() -> (Admin, Instant) {
        (Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap(), Instant::now())
    }

    fn echo(ask: Ask<'_>) -> Answer {
        match ask {
            Ask::New(request) => Answer::Now(Response::text(200, &request.path)),
            Ask::Again(id) => panic!("nothing was promised under {id}"),
        }
    }

    /// Sends `request` and turns the port until its answer is complete.
    fn ask(admin: &mut Admin, now: Instant, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(admin.address()).unwrap();
        stream.write_all(request).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        loop {
            admin.turn(now, &mut echo);
            match stream.read_to_end(&mut answer) {
                Ok(_) => return String::from_utf8(answer).unwrap(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn that_is_taken_is_refused_with_a_remedy() {
        let (admin, _) = port();
        let line = Admin::bind(admin.address()).unwrap_err().to_string();
        assert!(line.contains("--admin") && line.contains(&admin.address().to_string()), "{line}");
    }

    #[test]
    fn answers_and_closes() {
        let (mut admin, now) = port();
        let answer = ask(&mut admin, now, b"GET /readyz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/readyz\n"),
            "{answer}"
        );
        let head = ask(&mut admin, now, b"HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(admin.clients.is_empty());
    }

    #[test]
    fn waits_for_an_answer_that_was_promised_and_does_not_look_at_the_client_meanwhile() {
        let (mut admin, now) = port();
        let mut stream = TcpStream::connect(admin.address()).unwrap();
        stream.write_all(b"HEAD /connections HTTP/1.1\r\n\r\nand more of it").unwrap();
        let mut asked = 0;
        while asked == 0 {
            admin.turn(now, &mut |ask| {
                asked += usize::from(matches!(ask, Ask::New(_)));
                Answer::Later(7)
            });
        }
        assert_eq!(admin.descriptors().count(), 1, "the listener alone");
        let mut again = 0;
        for _ in 0..3 {
            admin.turn(now, &mut |ask| {
                assert!(matches!(ask, Ask::Again(7)));
                again += 1;
                if again < 3 { Answer::Later(7) } else { Answer::Now(Response::text(200, "at last")) }
            });
        }
        assert!(admin.clients.is_empty());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.contains("Content-Length: 8\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn tells_a_slow_client_so_and_lets_it_go() {
        let (mut admin, now) = port();
        let mut slow = TcpStream::connect(admin.address()).unwrap();
        slow.write_all(b"GET / HT").unwrap();
        while admin.clients.is_empty() {
            admin.turn(now, &mut echo);
        }
        assert_eq!(admin.deadline(), Some(now + PATIENCE));
        admin.turn(now + PATIENCE, &mut echo);
        assert!(admin.clients.is_empty());
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[test]
    fn has_sixteen_places_and_a_queue() {
        let (mut admin, now) = port();
        let held: Vec<_> = (0..20).map(|_| TcpStream::connect(admin.address()).unwrap()).collect();
        while admin.clients.len() < CLIENTS_MAX {
            admin.turn(now, &mut echo);
        }
        assert_eq!(admin.descriptors().count(), CLIENTS_MAX, "the listener is left alone");
        drop(held);
        let answer = ask(&mut admin, now, b"GET /healthz HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
