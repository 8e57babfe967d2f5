//! `lab load --dns` against a responder whose faults are known.

#![forbid(unsafe_code)]
#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::thread;

/// What a responder says to a query for `n<number>.test`, by the number.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(query[12]);
    let number: u32 = str::from_utf8(&query[14..13 + length]).unwrap().parse().unwrap();
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    match number % 10 {
        // Silence, another question, no such name, more than fits.
        1 => return None,
        2 => answer[13] = b'x',
        3 => answer[3] |= 3,
        4 => answer[2] |= 2,
        _ => {}
    }
    Some(answer)
}

fn over_tcp(mut stream: TcpStream) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query).unwrap();
        if let Some(answer) = answer(&query) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat()).unwrap();
        }
    }
}

/// A responder on loopback, until the test's process ends; returns where.
fn responder() -> String {
    responder_at("127.0.0.1:0")
}

fn responder_at(address: &str) -> String {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let mut room = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut room) {
            if let Some(answer) = answer(&room[..count]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(thread::spawn(|| over_tcp(stream))))
    });
    address.to_string()
}

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

fn load(server: &str, arguments: &[&str]) -> (Option<i32>, serde_json::Value) {
    let always = ["load", "--dns", server, "--json", "-d", "1s", "--timeout", "200ms"];
    let output = lab(&[&always, arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no result: {said}")),
    )
}

fn number(result: &serde_json::Value, path: &str) -> u64 {
    result.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// A list with the names whose number ends in one of these digits.
fn list(digits: &[u32]) -> String {
    let path = std::env::temp_dir().join(format!("lab-dns-{}-{digits:?}", std::process::id()));
    let lines: Vec<String> = digits.iter().map(|digit| format!("n{digit}.test A")).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.display().to_string()
}

#[test]
#[ignore = "needs root"]
fn right_answers_are_counted_by_what_they_say() {
    let list = list(&[0, 3, 4]);
    let (status, result) =
        load(&responder(), &["--list", &list, "--mix", "sequential", "--sockets", "2", "--window", "20"]);
    std::fs::remove_file(list).unwrap();
    assert_eq!((status, number(&result, "/failed")), (Some(0), 0), "{result}");
    let answered = number(&result, "/answered/udp");
    assert!(answered > 500 && answered == number(&result, "/sent/udp"), "{result}");
    let third = answered / 3;
    for path in ["/rcodes/NXDOMAIN", "/truncated"] {
        assert!(number(&result, path).abs_diff(third) <= 500, "{path} in {result}");
    }
    assert_eq!(number(&result, "/latency_us/udp/count"), answered);
}

#[test]
#[ignore = "needs root"]
fn silence_and_answers_to_other_questions_are_failures() {
    for (digit, kind, guilty) in [(1, "timeout", "server or network"), (2, "wrong", "server")] {
        let list = list(&[digit]);
        let (status, result) = load(&responder(), &["--list", &list, "--window", "10"]);
        std::fs::remove_file(list).unwrap();
        assert_eq!((status, number(&result, "/answered/udp")), (Some(1), 0), "{result}");
        let error = &result["errors"][0];
        assert_eq!((&error["kind"], &error["guilty"]), (&kind.into(), &guilty.into()), "{result}");
        assert_eq!(number(error, "/count"), number(&result, "/sent/udp"), "{result}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_share_goes_over_tcp_at_the_rate_that_was_asked_for() {
    let list = list(&[0]);
    let (status, result) =
        load(&responder(), &["--list", &list, "--rate", "2000", "--tcp", "25%", "--cores", "0"]);
    std::fs::remove_file(list).unwrap();
    assert_eq!((status, number(&result, "/failed")), (Some(0), 0), "{result}");
    let (udp, tcp) = (number(&result, "/answered/udp"), number(&result, "/answered/tcp"));
    assert!((1_500..=2_001).contains(&(udp + tcp)), "{result}");
    assert!(tcp.abs_diff((udp + tcp) / 4) < 150, "{result}");
}

#[test]
#[ignore = "needs root"]
fn frames_on_a_link_of_our_own_carry_the_same_questions() {
    let port = responder_at("0.0.0.0:0").rsplit_once(':').unwrap().1.to_owned();
    let list = list(&[0, 3]);
    let (status, result) =
        load(&format!("198.18.0.1:{port}"), &["--list", &list, "--dev", "tap", "--window", "20"]);
    std::fs::remove_file(list).unwrap();
    assert_eq!((status, number(&result, "/failed")), (Some(0), 0), "{result}");
    let answered = number(&result, "/answered/udp");
    assert!(answered > 500 && answered == number(&result, "/sent/udp"), "{result}");
    assert!(number(&result, "/rcodes/NXDOMAIN") > answered / 3, "{result}");
}

#[test]
#[ignore = "needs root"]
fn nobody_there_is_said() {
    let (status, result) = load("127.0.0.1:1", &["--zone", "test", "--names", "5"]);
    let kinds: Vec<_> = result["errors"].as_array().unwrap().iter().map(|error| &error["kind"]).collect();
    assert!(status == Some(1) && kinds.contains(&&"refused".into()), "{result}");
}

#[test]
fn what_cannot_be_asked_is_said_in_one_line() {
    for arguments in [
        &["dns", "127.0.0.1", "--zone", "a..b"][..],
        &["dns", "127.0.0.1", "--list", "/nowhere"],
        &["dns", "127.0.0.1", "--zone", "test", "--mix", "cdn"],
    ] {
        let output = lab(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    }
}
