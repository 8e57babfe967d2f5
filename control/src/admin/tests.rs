use super::request::{HEAD_BYTES_MAX, Parsed, parse};
use super::*;
use proptest::prelude::*;

fn get(path: &str) -> Parsed {
    Parsed::Request(Request { method: Method::Get, path: path.to_owned() })
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

    fn echo(request: &Request) -> Response {
        Response::text(200, &request.path)
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
