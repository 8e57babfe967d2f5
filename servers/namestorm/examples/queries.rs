//! So many questions over a link in memory, or so many records read, and no clock: what a profiler counts here is the same
//! in every run.
//!
//! ```text
//! valgrind --tool=callgrind target/release/examples/queries ask 10000 wire mem plain 100000
//! valgrind --tool=callgrind target/release/examples/queries load 100000 wire
//! ```
//!
//! Batches of 64, random names of a zone of so many, every one of which is answered; `plain`, with a `cookie` of ours or with
//! a client `subnet`. The server's share is what is below [`serve`], [`read`] and [`lay`]. How fast that is, `bench namestorm` says.

use core::cell::RefCell;
use core::error::Error;
use core::fmt::Write as _;
use core::hint::black_box;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use dma::{Pool, PoolLayout};
use dns::cookie::Secret;
use link_memory::{MemoryLink, MemoryLinkConfig};
use namestorm::catalogue::Catalogue;
use namestorm::desk::{Desk, Serving, Snapshot};
use namestorm::front::Front;
use namestorm::hash::{Form, Key};
use namestorm::load::{self, Loaded};
use namestorm::respond::Settings;
use namestorm::zone::{self, Built};
use platform::Link;
use wire::Protocol;
use wire::checksum::{Sum, checksum};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const BATCH: usize = 64;
const APEX: &[u8] = b"\x07example\0";

fn key() -> Key {
    Key::new(*b"a key of a count")
}

/// The server's share of a batch.
#[inline(never)]
fn serve(front: &mut Front<MemoryLink>) {
    assert!(front.receive().is_none(), "a packet that is no question");
}

#[inline(never)]
fn read(text: &str) -> Result<Loaded, Box<dyn Error>> {
    Ok(load::read_text("zone".as_ref(), text.as_bytes(), APEX)?)
}

#[inline(never)]
fn lay(loaded: Loaded, form: Form) -> Result<Built, Box<dyn Error>> {
    Ok(zone::build(APEX, loaded, key(), form)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let form = |form| if form == "name" { Form::Name } else { Form::Wire };
    match arguments[..] {
        ["load", names, hash] => {
            black_box(lay(read(&text(names.parse()?))?, form(hash))?);
            Ok(())
        }
        ["ask", names, hash, copy, kind, count] => {
            let replicas = if copy == "pre" { 16_384 } else { 0 };
            ask(names.parse()?, form(hash), replicas, kind, count.parse()?)
        }
        _ => Err("ask NAMES wire|name mem|pre plain|cookie|subnet COUNT, or load NAMES wire|name".into()),
    }
}

fn text(names: usize) -> String {
    let mut text =
        String::from("$TTL 3600\n@ SOA ns hostmaster 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.1\n");
    for index in 0..names {
        let [.., b, c, d] = index.to_be_bytes();
        let _ = writeln!(text, "host{index} IN A 10.{b}.{c}.{d}");
    }
    text
}

fn ask(names: usize, form: Form, replicas: usize, kind: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let zone = lay(read(&text(names))?, form)?.zone;
    let catalogue = Arc::new(Catalogue::new(key(), form, vec![Arc::new(zone)]));
    let secret = Secret([7; 16]);
    let settings = Settings { cookie_secret: Some(secret), replicas, ..Settings::default() };
    let serving =
        Serving { addresses: vec![[192, 0, 2, 1].into()], port: 53, settings, idle: Duration::from_secs(10) };
    let mut desk = Desk::new(&Snapshot { catalogue, serving: Arc::new(serving.clone()) });
    desk.replicate(&Pool::new(PoolLayout { large_count: 1, small_count: u32::try_from(replicas)? })?);
    let config = MemoryLinkConfig { macs: MACS, checksum: false, ..MemoryLinkConfig::default() };
    let (server, mut client) = link_memory::pair(256, config);
    let mut front = Front::new(server, &serving, Rc::new(RefCell::new(desk)));
    let mut dice = 0x5eed_u64;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let cookie = secret.server_cookie([5; 8], [192, 0, 2, 9].into(), u32::try_from(now)?);
    let options: Vec<u8> = match kind {
        "cookie" => [&[0, 10, 0, 24][..], &[5; 8], &cookie].concat(),
        "subnet" => vec![0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113],
        _ => Vec::new(),
    };
    let mut asked = 0;
    while asked < count {
        for _ in 0..BATCH {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = usize::try_from(dice >> 33)? % names;
            client.stage_bytes(&frame(&format!("host{index}.example"), &options)?).expect("room for a batch");
        }
        client.flush();
        serve(&mut front);
        let mut answers = 0;
        while client.receive().is_some() {
            answers += 1;
        }
        assert_eq!(answers, BATCH, "every question is answered");
        client.reclaim();
        asked += BATCH;
    }
    Ok(())
}

/// A question for the addresses of `name`, with EDNS and these options.
fn frame(name: &str, options: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let header = dns::Header { id: 7, qdcount: 1, arcount: 1, ..dns::Header::default() };
    let mut message = header.emit().to_vec();
    message.extend(dns::name::from_text(name.as_bytes()).expect("a name"));
    message.extend([0, 1, 0, 1]);
    message.extend(dns::edns::emit_opt(1_232, 0, false, u16::try_from(options.len())?));
    message.extend(options);
    let datagram = u16::try_from(8 + message.len())?;
    let mut frame = [&MACS[0][..], &MACS[1][..], &[8, 0, 0x45, 0]].concat();
    frame.extend((20 + datagram).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, Protocol::UDP.0, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
    let ip = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let udp = frame.len();
    for field in [40_000, 53, datagram, 0] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend(message);
    let pseudo =
        Sum::pseudo_v4([192, 0, 2, 9].into(), [192, 0, 2, 1].into(), Protocol::UDP, u32::from(datagram));
    let sum = pseudo.then(&frame[udp..]).finish();
    frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    Ok(frame)
}
