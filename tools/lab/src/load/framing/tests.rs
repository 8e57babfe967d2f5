use super::*;
use proptest::prelude::*;

/// Reads a stream cut at will; what may be passed over is passed over when `unseen`.
fn read(
    stream: &[u8],
    cuts: &[usize],
    unseen: bool,
) -> Result<(Option<Head>, Vec<u8>, u64, bool), Malformed> {
    let (mut reader, mut head, mut body, mut count) = (Reader::new(), None, Vec::new(), 0);
    let mut at = 0;
    let mut cuts = cuts.iter().cycle();
    while at < stream.len() && !reader.is_whole() {
        let end = (at + cuts.next().copied().unwrap_or(stream.len()).max(1)).min(stream.len());
        let mut input = &stream[at..end];
        at = end;
        while !reader.is_whole() {
            if unseen && reader.skippable() > 0 {
                let skip = reader.skippable().min(input.len() as u64);
                reader.skip(skip);
                count += skip;
                input = &input[usize::try_from(skip).unwrap()..];
                if input.is_empty() {
                    break;
                }
                continue;
            }
            match reader.next(&mut input)? {
                Step::More => break,
                Step::Head(found) => head = Some(found),
                Step::Body(bytes) => {
                    body.extend_from_slice(bytes);
                    count += bytes.len() as u64;
                }
                Step::Done => break,
            }
        }
        at -= input.len();
    }
    Ok((head, body, count, reader.is_whole() && at == stream.len()))
}

fn fixed(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(chunk) {
        stream.extend_from_slice(format!("{:x};a=b\r\n", part.len()).as_bytes());
        stream.extend_from_slice(part);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    stream
}

mod a_response {
    use super::*;

    proptest! {
        #[test]
        fn is_read_whatever_the_cuts(
            body in proptest::collection::vec(any::<u8>(), 0..3_000),
            cuts in proptest::collection::vec(1_usize..700, 1..40),
            chunk in 1_usize..900,
            unseen in any::<bool>(),
        ) {
            for stream in [fixed(&body), chunked(&body, chunk)] {
                let (head, seen, count, exact) = read(&stream, &cuts, unseen).unwrap();
                prop_assert_eq!(head.unwrap().status, 200);
                prop_assert_eq!(count, body.len() as u64);
                prop_assert!(exact, "not a byte more than the response was taken");
                if !unseen {
                    prop_assert_eq!(&seen, &body);
                }
            }
        }

        #[test]
        fn of_any_bytes_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..500), cut in 1_usize..50,
        ) {
            let _ = read(&bytes, &[cut], true);
            let _ = read(&[&b"HTTP/1.1 200 OK\r\n"[..], &bytes].concat(), &[cut], false);
        }
    }

    #[test]
    fn leaves_the_next_one_alone() {
        let stream = [fixed(b"one"), fixed(b"two")].concat();
        let mut input = &stream[..];
        for expected in [&b"one"[..], b"two"] {
            let mut reader = Reader::new();
            assert!(matches!(reader.next(&mut input), Ok(Step::Head(_))));
            assert_eq!(reader.next(&mut input), Ok(Step::Body(expected)));
            assert_eq!(reader.next(&mut input), Ok(Step::Done));
        }
        assert!(input.is_empty());
    }

    #[test]
    fn without_a_length_lasts_until_the_peer_closes() {
        let (mut reader, mut input) = (Reader::new(), &b"HTTP/1.0 200 OK\r\n\r\nall of it"[..]);
        let Ok(Step::Head(head)) = reader.next(&mut input) else { panic!("a head") };
        assert!(head.closes && head.body_bytes.is_none());
        assert_eq!(reader.next(&mut input), Ok(Step::Body(b"all of it")));
        assert!(!reader.is_whole());
        assert!(reader.on_end());
    }

    #[test]
    fn cut_short_is_not_whole() {
        let (mut reader, mut input) = (Reader::new(), &fixed(b"something")[..]);
        input = &input[..input.len() - 1];
        while !matches!(reader.next(&mut input).unwrap(), Step::More) {}
        assert!(!reader.on_end());
    }

    #[test]
    fn that_is_informational_announces_another() {
        let stream = [&b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"[..], &fixed(b"body")].concat();
        let (head, body, ..) = read(&stream, &[7], false).unwrap();
        assert_eq!((head.unwrap().status, &body[..]), (200, &b"body"[..]));
    }

    #[test]
    fn to_a_condition_has_no_body_whatever_its_length_says() {
        let (head, _, count, exact) =
            read(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n", &[1], true).unwrap();
        assert_eq!((head.unwrap().body_bytes, count, exact), (Some(0), 0, true));
    }
}

mod a_head {
    use super::*;

    fn of(fields: &str) -> Result<Head, Malformed> {
        let text = format!("HTTP/1.1 206 Partial Content\r\n{fields}\r\n");
        read(text.as_bytes(), &[1_000], true).map(|(head, ..)| head.unwrap())
    }

    #[test]
    fn says_which_part_it_brings() {
        let head = of("Content-Range: bytes 500-999/8000\r\nContent-Length: 500\r\n").unwrap();
        assert_eq!(head.range, Some((500, Some(8_000))));
        assert_eq!(of("Content-Range: bytes 0-0/*\r\nContent-Length: 1\r\n").unwrap().range, Some((0, None)));
    }

    #[test]
    fn with_two_lengths_is_refused() {
        assert_eq!(of("Content-Length: 5\r\nContent-Length: 6\r\n"), Err(Malformed::Length));
        assert_eq!(of("Content-Length: +5\r\n"), Err(Malformed::Length));
    }

    #[test]
    fn without_end_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(long.as_bytes(), &[1_000], true), Err(Malformed::TooLong));
    }
}
