use super::*;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// A listener that the forwarder leads to, and the forwarder's own address.
fn forward() -> (TcpListener, SocketAddr, Forwarder) {
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = outside.local_addr().unwrap();
    let route = Route { listener: outside, target: inside.local_addr().unwrap() };
    let forwarder = Forwarder::start(vec![route], Policy::NOTHING).unwrap();
    (inside, address, forwarder)
}

fn connect_through(inside: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(address).unwrap();
    let server = inside.accept().unwrap().0;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (client, server)
}

/// Bytes that tell their place.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from((index * 31 + index / 251) % 256).unwrap()).collect()
}

fn eventually(what: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("not within ten seconds");
}

#[test]
fn every_byte_arrives_in_both_directions_at_once() {
    let (inside, address, forwarder) = forward();
    let (mut client, mut server) = connect_through(&inside, address);
    let (up, down) = (bytes(3 << 20), bytes(5 << 20));
    thread::scope(|scope| {
        let (mut client_out, mut server_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (sent_up, sent_down) = (&up, &down);
        scope.spawn(move || {
            client_out.write_all(sent_up).unwrap();
            client_out.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(move || {
            server_out.write_all(sent_down).unwrap();
            server_out.shutdown(Shutdown::Write).unwrap();
        });
        let received_up = scope.spawn(move || {
            let mut all = Vec::new();
            server.read_to_end(&mut all).unwrap();
            all
        });
        let mut received_down = Vec::new();
        client.read_to_end(&mut received_down).unwrap();
        assert!(received_down == down && received_up.join().unwrap() == up);
    });
    assert_eq!((forwarder.accepted(), forwarder.failed()), (1, 0));
}

#[test]
fn a_client_that_has_finished_asking_is_still_answered() {
    let (inside, address, _forwarder) = forward();
    let (mut client, mut server) = connect_through(&inside, address);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    assert_eq!(question, b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

#[test]
fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let (inside, address, forwarder) = forward();
    let (mut client, server) = connect_through(&inside, address);
    rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
    drop(server);
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    eventually(|| forwarder.failed() == 1);
}

#[test]
fn a_server_that_is_not_there_is_a_reset() {
    let (inside, address, forwarder) = forward();
    drop(inside);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    eventually(|| forwarder.failed() == 1);
}

#[test]
fn a_reader_that_stops_holds_up_nobody_else() {
    let (inside, address, _forwarder) = forward();
    let (_slow_client, slow_server) = connect_through(&inside, address);
    slow_server.set_nonblocking(true).unwrap();
    let piece = bytes(64 << 10);
    // Until every buffer on the way is full.
    let mut refusals = 0;
    while refusals < 20 {
        match (&slow_server).write(&piece) {
            Ok(_) => refusals = 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                refusals += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let (mut client, mut server) = connect_through(&inside, address);
    server.write_all(b"quick").unwrap();
    let mut quick = [0; 5];
    client.read_exact(&mut quick).unwrap();
    assert_eq!(&quick, b"quick");
}

#[test]
fn ports_can_be_closed_while_connections_go_on() {
    let (inside, address, forwarder) = forward();
    let (mut client, mut server) = connect_through(&inside, address);
    forwarder.accept_no_more();
    eventually(|| TcpStream::connect(address).is_err());
    server.write_all(b"still here").unwrap();
    let mut still = [0; 10];
    client.read_exact(&mut still).unwrap();
    assert_eq!(&still, b"still here");
    drop(forwarder);
    assert!(matches!(client.read(&mut still), Ok(0) | Err(_)), "stopping closes everything");
}
