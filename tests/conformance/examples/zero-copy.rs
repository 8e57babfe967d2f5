//! The link suite on AF_XDP in zero-copy mode: `zero-copy OURS THEIRS`, two interfaces that are each other's wire.
//!
//! `cargo xtask test guest` runs it in a virtual machine whose driver has the mode. Ends with status 0 when every promise
//! was kept.

#![expect(clippy::print_stdout, reason = "says what the driver gave")]

use core::error::Error;
use core::time::Duration;

use conformance::{LinkFixture, link_suite};
use dma::{Pool, PoolLayout};
use link_afxdp::{AfxdpConfig, AfxdpLink, AfxdpQueue, Interface};
use netlink::{LinkChange, Netlink};
use platform::Link as _;
use vnet::{VnetConfig, VnetQueue};
use xdp::{AttachMode, Attachment, CopyMode, Scope, Socket, SocketState, Steering};

struct Ends {
    link: AfxdpLink,
    peer: VnetQueue,
    pool: Pool,
    _attachment: Attachment,
}

impl LinkFixture for Ends {
    type Link = AfxdpLink;
    type Peer = VnetQueue;
    fn link(&mut self) -> &mut AfxdpLink {
        &mut self.link
    }
    fn peer(&mut self) -> &mut VnetQueue {
        &mut self.peer
    }
    fn pool(&self) -> &Pool {
        &self.pool
    }
    fn settle(&mut self) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ends(ours: &str, theirs: &str) -> Result<Ends, Box<dyn Error>> {
    let interface = Interface::named(ours)?;
    let config = AfxdpConfig {
        copy_mode: CopyMode::ZeroCopy,
        slots: 64,
        receive_chunks: 256,
        ..AfxdpConfig::default()
    };
    let layout = PoolLayout { large_count: 16, small_count: 0 };
    let pool = Pool::with_chunks(layout, config.chunk_count())?;
    let steering = Steering::load(Scope::Everything, 1)?;
    let attachment = steering.attach(interface.index, AttachMode::Native)?;
    let link = AfxdpQueue::new(Socket::create()?, interface, 0).open(&pool, config)?;
    steering.insert(0, link.descriptor().ok_or("the link cannot be slept on")?)?;
    let peer = link_packet::sockets(theirs, 1)?.pop().ok_or("no socket")?.open(VnetConfig::default())?;
    Ok(Ends { link, peer, pool, _attachment: attachment })
}

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [ours, theirs] = &names[..] else { return Err("usage: zero-copy OURS THEIRS".into()) };
    let mut netlink = Netlink::open()?;
    for name in [ours, theirs] {
        netlink.change_link(name, LinkChange { up: Some(true), ..LinkChange::default() })?;
    }
    let first = ends(ours, theirs)?;
    println!("{:?}", Interface::named(ours)?);
    println!("{ours}: {}", first.link.facts());
    drop(first);
    link_suite(|| ends(ours, theirs).unwrap_or_else(|error| panic!("{error}")));
    println!("every promise was kept");
    goes_down_and_comes_back(ours, theirs)?;
    println!("down and up again");
    is_removed(ours, theirs)?;
    println!("removed");
    Ok(())
}

/// Sends a packet, and looks for it at the other end.
fn crosses(ends: &mut Ends) -> Result<bool, Box<dyn Error>> {
    let packet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 0x88, 0xb5], &[7; 60]].concat();
    for _ in 0..100 {
        ends.link.stage_bytes(&packet).map_err(|_| "no room for a packet")?;
        ends.link.flush();
        ends.settle();
        ends.link.reclaim();
        while let Some(received) = ends.peer.receive() {
            if received.bytes == packet {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn goes_down_and_comes_back(ours: &str, theirs: &str) -> Result<(), Box<dyn Error>> {
    let mut ends = ends(ours, theirs)?;
    let mut netlink = Netlink::open()?;
    netlink.change_link(ours, LinkChange { up: Some(false), ..LinkChange::default() })?;
    ends.link.stage_bytes(&[1; 60]).map_err(|_| "no room for a packet")?;
    ends.link.flush();
    if ends.link.check() != SocketState::Down || ends.link.is_lost() {
        return Err(format!("of an interface that is down: {:?}", ends.link.state()).into());
    }
    netlink.change_link(ours, LinkChange { up: Some(true), ..LinkChange::default() })?;
    if !crosses(&mut ends)? {
        return Err(format!("nothing crosses after the interface came back: {:?}", ends.link).into());
    }
    Ok(())
}

/// Takes the driver away while packets are on their way.
fn is_removed(ours: &str, theirs: &str) -> Result<(), Box<dyn Error>> {
    let mut ends = ends(ours, theirs)?;
    if !crosses(&mut ends)? {
        return Err("nothing crosses".into());
    }
    let device = std::fs::canonicalize(format!("/sys/class/net/{ours}/device"))?;
    let name = device.file_name().ok_or("a device without a name")?.to_owned();
    ends.link.stage_bytes(&[1; 60]).map_err(|_| "no room for a packet")?;
    std::fs::write(device.join("driver/unbind"), name.as_encoded_bytes())?;
    ends.link.flush();
    ends.link.reclaim();
    if !ends.link.is_lost() || ends.link.in_flight() > 0 {
        let (state, left) = (ends.link.state(), ends.link.in_flight());
        return Err(format!("of an interface that is gone: {state:?}, {left} packets on their way").into());
    }
    let free = ends.pool.chunks_free();
    let Ends { link, peer, pool, .. } = ends;
    drop((link, peer));
    if pool.chunks_free() <= free || pool.chunks_free() != usize::try_from(pool.chunk_count())? {
        return Err("chunks were lost with the interface".into());
    }
    Ok(())
}
