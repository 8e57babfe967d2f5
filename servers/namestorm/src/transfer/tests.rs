//! A secondary and two primaries in a world of dice: messages are lost, changed and cut short, primaries die, lag behind and come
//! back, words are lost, and time goes by. One number makes a world; the same number makes it again.
//!
//! Safety, at every second: what is had is a version that a primary had, as it was; its serial never goes back; and nothing is
//! served that nobody has confirmed within EXPIRE. Liveness, once all is well: within REFRESH, the newest version is had.

use super::incoming::{Incoming, Progress};
use super::outgoing::Outgoing;
use super::policy::{Policy, Remote, Rules};
use super::secondary::{Ask, Failure, Secondary};
use super::serial::is_newer;
use crate::catalogue::Catalogue;
use crate::hash::{Form, Key};
use crate::load;
use crate::respond::{Request, Transport};
use crate::zone::{self, Cursor, Zone};
use core::ops::ControlFlow;
use core::time::Duration;
use dns::{Name, tsig};
use std::collections::BTreeMap;
use std::sync::Arc;

const APEX: &[u8] = b"\x07example\0";
const SECOND: Duration = Duration::from_secs(1);
const REFRESH: u32 = 30;
const RETRY: u32 = 5;
const EXPIRE: u32 = 120;

fn names_key() -> Key {
    Key::new([3; 16])
}

fn key() -> tsig::Key {
    tsig::Key { name: b"\x03xfr\0".to_vec(), algorithm: tsig::Algorithm::Sha256, secret: vec![7; 32] }
}

/// Dice that fall the same way for the same number (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

type Rows = Vec<String>;

fn rows(zone: &Zone) -> Rows {
    let mut rows = Vec::new();
    let _ = zone.visit(Cursor::default(), |item| {
        rows.push(format!("{:?} {} {} {:?}", item.owner, item.rtype, item.ttl, item.rdata));
        ControlFlow::Continue(())
    });
    rows.sort();
    rows
}

struct World {
    dice: Dice,
    /// What each primary has; one of them is a version behind at times.
    primaries: [Arc<Zone>; 2],
    alive: [bool; 2],
    /// Everything that ever was, by serial.
    history: BTreeMap<u32, Rows>,
    secondary: Secondary,
    have: Option<Arc<Zone>>,
    confirmed: Option<u64>,
    now: u64,
    /// Nothing goes wrong any more.
    well: bool,
}

fn version(dice: &mut Dice, serial: u32, before: Option<&Arc<Zone>>) -> Arc<Zone> {
    let mut text =
        format!("$TTL 300\n@ SOA ns h {serial} {REFRESH} {RETRY} {EXPIRE} 60\n@ NS ns\nns A 192.0.2.1\n");
    for name in 0..12 {
        if !dice.one_in(3) {
            text.push_str(&format!("n{name} A 192.0.2.{}\n", dice.below(3)));
        }
        if dice.one_in(4) {
            text.push_str(&format!("sub{name} NS ns.sub{name}\nns.sub{name} A 192.0.2.{}\n", dice.below(3)));
        }
    }
    let loaded = load::read_text("z".as_ref(), text.as_bytes(), APEX).unwrap();
    let mut zone = zone::build(APEX, loaded, names_key(), Form::Wire).unwrap().zone;
    if let Some(before) = before {
        zone.succeed(before, names_key(), Form::Wire);
    }
    Arc::new(zone)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed | 1);
        // Near the end of the circle, so that it is passed.
        let first = version(&mut dice, u32::MAX - 3, None);
        let remotes: Vec<Remote> =
            ["192.0.2.1 key:xfr", "192.0.2.2 key:xfr"].map(|text| text.parse().unwrap()).into();
        Self {
            dice,
            history: BTreeMap::from([(first.serial(), rows(&first))]),
            primaries: [Arc::clone(&first), first],
            alive: [true; 2],
            secondary: Secondary::new(remotes, None, Duration::ZERO),
            have: None,
            confirmed: None,
            now: 0,
            well: false,
        }
    }

    fn time(&self) -> Duration {
        SECOND * u32::try_from(self.now).unwrap()
    }

    /// A second goes by.
    fn turn(&mut self) {
        self.now += 1;
        if !self.well {
            self.misfortune();
        }
        let mut ask = self.secondary.poll(self.time());
        while let Some(asked) = ask {
            ask = self.exchange(&asked);
        }
        self.secondary.expires(self.time());
        self.check();
    }

    fn misfortune(&mut self) {
        if self.dice.one_in(20) {
            let newest = &self.primaries[0];
            let next = version(&mut self.dice, newest.serial().wrapping_add(1), Some(newest));
            self.history.insert(next.serial(), rows(&next));
            self.primaries[0] = Arc::clone(&next);
            // The other one hears of it, or not yet.
            if self.dice.one_in(2) {
                self.primaries[1] = Arc::clone(&next);
            }
            if !self.dice.one_in(3) {
                let serial = Some(next.serial()).filter(|_| self.dice.one_in(2));
                self.secondary.on_notice([192, 0, 2, 1].into(), serial, self.time());
            }
        }
        for primary in 0..2 {
            if self.dice.one_in(60) {
                self.alive[primary] = !self.alive[primary];
            }
        }
        if self.dice.one_in(200) {
            self.alive = [false; 2];
        }
    }

    /// What comes of asking; and whom to ask instead.
    fn exchange(&mut self, ask: &Ask) -> Option<Ask> {
        let primary = usize::from(ask.primary.address.ip() == core::net::IpAddr::from([192, 0, 2, 2]));
        let now = self.time();
        if !self.alive[primary] || !self.well && self.dice.one_in(6) {
            return self.secondary.on_failure(Failure::Other, now);
        }
        let unix = 1_800_000_000 + self.now;
        let (mut incoming, question) =
            Incoming::ask(APEX, self.have.clone(), ask.serial.is_none(), Some(&key()), (7, unix), 1 << 20);
        let mut messages = answers(&self.primaries[primary], &question, unix);
        if !self.well && self.dice.one_in(6) {
            self.tamper(&mut messages);
        }
        for message in &messages {
            match incoming.on_message(message, unix) {
                Ok(Progress::More) => {}
                Ok(Progress::Current) => {
                    self.confirmed = Some(self.now);
                    self.secondary.on_current(now);
                    return None;
                }
                Ok(Progress::Version(loaded)) => {
                    let zone = zone::build(APEX, loaded, names_key(), Form::Wire).unwrap().zone;
                    if let Some(before) = &self.have {
                        assert!(is_newer(zone.serial(), before.serial()), "it went back");
                    }
                    self.secondary.on_version(&zone.soa(), now);
                    self.have = Some(Arc::new(zone));
                    self.confirmed = Some(self.now);
                    return None;
                }
                Err(fault) => {
                    return self.secondary.on_failure(fault.failure(incoming.wants_difference()), now);
                }
            }
        }
        self.secondary.on_failure(Failure::Other, now)
    }

    /// Somebody between the servers.
    fn tamper(&mut self, messages: &mut Vec<Vec<u8>>) {
        let which = usize::try_from(self.dice.below(messages.len() as u64)).unwrap();
        match self.dice.below(3) {
            0 => messages.truncate(which),
            1 => drop(messages.remove(which)),
            _ => {
                let message = &mut messages[which];
                let at = usize::try_from(self.dice.below(message.len() as u64)).unwrap();
                message[at] ^= 1 << self.dice.below(8);
            }
        }
    }

    fn check(&self) {
        if let Some(zone) = &self.have {
            assert_eq!(self.history.get(&zone.serial()), Some(&rows(zone)), "a version that was never there");
        }
        let since = self.confirmed.map(|confirmed| self.now - confirmed);
        assert_eq!(
            self.secondary.is_expired(),
            since.is_some_and(|since| since >= EXPIRE.into()),
            "unconfirmed for {since:?} seconds"
        );
    }
}

/// What a primary that has this zone says.
fn answers(zone: &Arc<Zone>, question: &[u8], unix: u64) -> Vec<Vec<u8>> {
    let rules = Rules { transfer: vec!["key:xfr".parse().unwrap()], primaries: Vec::new() };
    let policy = Policy::new(vec![key()], BTreeMap::from([(APEX.into(), rules)]));
    let catalogue =
        Catalogue::new(names_key(), Form::Wire, vec![Arc::clone(zone)]).governed(Arc::new(policy));
    let unix_short = u32::try_from(unix).unwrap();
    let source = [192, 0, 2, 9].into();
    let request = Request { source, transport: Transport::Tcp, now_ms: 0, unix: unix_short };
    let mut outgoing = Outgoing::open(&catalogue, &request, question, &mut Name::root()).unwrap();
    core::iter::from_fn(|| outgoing.next_message(unix)).collect()
}

#[test]
fn in_any_world_nothing_wrong_is_served_and_in_a_good_one_the_newest() {
    let (mut versions, mut expiries) = (0, 0);
    for seed in 1..=40_u64 {
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..1_500 {
            let (before, expired) =
                (world.have.as_ref().map(|zone| zone.serial()), world.secondary.is_expired());
            world.turn();
            versions += u32::from(world.have.as_ref().map(|zone| zone.serial()) != before);
            expiries += u32::from(world.secondary.is_expired() && !expired);
        }
        world.well = true;
        world.alive = [true; 2];
        world.primaries[1] = Arc::clone(&world.primaries[0]);
        for _ in 0..=REFRESH + RETRY {
            world.turn();
        }
        let have = world.have.as_ref().map(|zone| zone.serial());
        assert_eq!(have, Some(world.primaries[0].serial()), "seed {seed}: it never came");
        assert!(!world.secondary.is_expired(), "seed {seed}");
    }
    assert!(versions > 500 && expiries > 5, "dull worlds: {versions} versions, {expiries} expiries");
}
