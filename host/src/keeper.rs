//! Who looks after the link while the server runs: control's part of a link that comes and goes.
//!
//! ```text
//!   kernel ── news (rtnetlink) ──▶ keeper ── orders, and a bell ──▶ workers      carrier, MTU, another descriptor
//!                                    │ ▲
//!                                    ▼ │ descriptors
//!                                  monitor                                       may open devices
//! ```
//!
//! One line in the event log for each change, whatever else is told of it.

use control::Wake;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use netlink::{Channels, Generic, LinkInfo, LinkWatch, Netlink, NetlinkError, News};
use rtrb::{Consumer, Producer, RingBuffer};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;
use turn::Carrier;

use crate::Monitor;
use crate::network::{Device, Facts, Program, Reopened};

/// Orders that may wait: a link does not change more often between two turns.
const ORDERS: usize = 16;
/// How often a device that is gone is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a worker is told about its link.
#[derive(Debug)]
pub(crate) enum Order {
    /// It carries, or does not.
    Carrier(Carrier),
    /// Its MTU is this now.
    Mtu {
        /// The device's.
        mtu: u16,
        /// Whoever cannot follow has to say so: one worker, for they are all alike.
        say: bool,
    },
    /// Its device was made again: go on with these descriptors.
    Reopen {
        /// This worker's.
        descriptors: Vec<OwnedFd>,
        /// What the new device is like.
        facts: Facts,
    },
}

/// The worker's end.
#[derive(Debug)]
pub struct Orders {
    orders: Consumer<Order>,
    failed: Arc<AtomicBool>,
}

impl Orders {
    pub(crate) fn next(&mut self) -> Option<Order> {
        self.orders.pop().ok()
    }

    /// The device that came back cannot be used: it is to be opened again.
    pub(crate) fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// A worker's place at the keeper.
#[derive(Debug)]
struct Post {
    orders: Producer<Order>,
    bell: Wake,
    failed: Arc<AtomicBool>,
}

/// Looks after the link. Control's.
#[derive(Debug)]
pub struct Keeper {
    device: Device,
    watch: LinkWatch,
    netlink: Netlink,
    posts: Vec<Post>,
    state: State,
    mtu: u16,
    queues: Queues,
    /// Why the device could not be opened again when that was tried last.
    why_not: String,
    /// It came back and could not be used, which was told.
    unusable: bool,
    /// What was put before the stack of a device that came back, where there is no monitor to hold it.
    program: Option<Program>,
}

/// The device's queues, where each needs a worker.
#[derive(Debug)]
struct Queues {
    generic: Option<Generic>,
    /// As many as were last told of; 0 before anything is known.
    count: u32,
    look_at: Instant,
}

/// What the keeper knows of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is there under this number, and carries or does not.
    There { index: u32, carrier: Carrier },
    /// It is not there, and may be looked for again then.
    Gone { retry_at: Option<Instant> },
}

impl Keeper {
    /// Begins to look after the device, which is there.
    ///
    /// # Errors
    /// The kernel will not tell.
    pub fn new(device: Device) -> Result<Self, NetlinkError> {
        // First listen, then look: what changes in between is told.
        let watch = LinkWatch::open()?;
        let mut netlink = Netlink::open()?;
        let link = netlink.link(device.name())?;
        let state = link.as_ref().map_or(State::Gone { retry_at: None }, |link| State::There {
            index: link.index,
            carrier: Carrier::Up,
        });
        let mtu = link.as_ref().map_or(0, mtu_of);
        let generic = if device.is_by_queue() { Generic::open().ok() } else { None };
        let queues = Queues { generic, count: 0, look_at: Instant::now() };
        let (posts, why_not) = (Vec::new(), String::new());
        let mut keeper = Self {
            device,
            watch,
            netlink,
            posts,
            state,
            mtu,
            queues,
            why_not,
            unusable: false,
            program: None,
        };
        if let Some(link) = link {
            keeper.on_there(&link, None, Instant::now());
        }
        Ok(keeper)
    }

    /// A place for one more worker, which `bell` wakes.
    pub fn post(&mut self, bell: Wake) -> Orders {
        let (orders, taken) = RingBuffer::new(ORDERS);
        let failed = Arc::new(AtomicBool::new(false));
        let mut post = Post { orders, bell, failed: Arc::clone(&failed) };
        if let State::There { carrier: Carrier::Down, .. } = self.state {
            post.send(Order::Carrier(Carrier::Down));
        }
        self.posts.push(post);
        Orders { orders: taken, failed }
    }

    /// Does what the kernel's news ask for. With a monitor a device that is gone is made or opened again.
    pub fn look(&mut self, monitor: Option<&Monitor>, now: Instant) {
        let news = self.watch.news();
        if !news.is_empty() {
            // Most drivers stop for a moment when their queues change.
            self.queues.look_at = now;
        }
        // What is told of a device on its way out is not worth a line.
        let last = news.iter().rposition(|news| matches!(news, News::Gone(link) if self.is_ours(link)));
        for news in news.into_iter().skip(last.unwrap_or(0)) {
            match news {
                // By its number also when it was renamed.
                News::Is(link) if link.name == self.device.name() || self.is_ours(&link) => {
                    self.on_there(&link, monitor, now);
                }
                News::Gone(link) if self.is_ours(&link) => self.on_gone(monitor, now),
                News::Missed => self.look_at_all(monitor, now),
                News::Is(_) | News::Gone(_) => {}
            }
        }
        // Of what cannot be used the worker has told.
        if self.posts.iter().any(|post| post.failed.swap(false, Ordering::Relaxed)) {
            self.state = State::Gone { retry_at: Some(now + RETRY) };
            self.unusable = true;
            self.tell(|_| Order::Carrier(Carrier::Down));
        }
        match self.state {
            State::Gone { retry_at: Some(at) } if now >= at => self.reopen(monitor, now),
            State::There { index, .. } if now >= self.queues.look_at => self.look_at_queues(index, now),
            _ => {}
        }
    }

    /// What arrives on a queue without a worker is not ours, and nobody else's.
    fn look_at_queues(&mut self, index: u32, now: Instant) {
        self.queues.look_at = now + RETRY;
        let Some(generic) = &mut self.queues.generic else { return };
        let Ok(Some(Channels { rx, combined, .. })) = generic.channels(index) else { return };
        let before = core::mem::replace(&mut self.queues.count, rx);
        if rx == before {
            return;
        }
        let (name, workers) = (self.device.name(), u32::from(self.queues()));
        if rx == workers {
            // At the start that is nothing to tell.
            if before > 0 {
                tracing::info!("link: {name} has {rx} queues again, as many as there are workers");
            }
            return;
        }
        let kinds =
            if combined { format!("combined {workers}") } else { format!("rx {workers} tx {workers}") };
        let consequence = if rx > workers {
            "connections that arrive on another queue than a worker's hang"
        } else {
            "workers without a queue have nothing to do"
        };
        tracing::warn!(
            "link: {name} has {rx} queues and {workers} workers: {consequence} (`ethtool -L {name} {kinds}`, or \
             restart the server)"
        );
    }

    fn is_ours(&self, link: &LinkInfo) -> bool {
        matches!(self.state, State::There { index, .. } if index == link.index)
    }

    /// The kernel had more to say than it could.
    fn look_at_all(&mut self, monitor: Option<&Monitor>, now: Instant) {
        let Ok(links) = self.netlink.links() else { return };
        let found = links.iter().find(|link| self.is_ours(link));
        match found.or_else(|| links.iter().find(|link| link.name == self.device.name())) {
            Some(link) => self.on_there(&link.clone(), monitor, now),
            None => self.on_gone(monitor, now),
        }
    }

    fn on_there(&mut self, link: &LinkInfo, monitor: Option<&Monitor>, now: Instant) {
        match self.state {
            State::There { index, carrier } if index == link.index => {
                let is = if link.running { Carrier::Up } else { Carrier::Down };
                self.state = State::There { index, carrier: is };
                match (carrier, is) {
                    (Carrier::Up, Carrier::Down) if !link.up => {
                        tracing::warn!("link: {} is down (`ip link set {0} up`)", link.name);
                    }
                    (Carrier::Up, Carrier::Down) => tracing::warn!("link: {} has no carrier", link.name),
                    (Carrier::Down, Carrier::Up) => tracing::info!("link: {} carries again", link.name),
                    _ => {}
                }
                if carrier != is {
                    self.tell(|_| Order::Carrier(is));
                }
                let mtu = mtu_of(link);
                if mtu != self.mtu {
                    tracing::info!("link: the MTU of {} is {mtu}, was {}", link.name, self.mtu);
                    self.mtu = mtu;
                    self.tell(|say| Order::Mtu { mtu, say });
                }
            }
            // Another one of that name, before or after the end of the old one was told.
            State::There { .. } => {
                self.on_gone(None, now);
                self.reopen(monitor, now);
            }
            State::Gone { .. } => self.reopen(monitor, now),
        }
    }

    fn on_gone(&mut self, monitor: Option<&Monitor>, now: Instant) {
        tracing::warn!("link: {} is gone; connections wait for it", self.device.name());
        self.why_not.clear();
        self.unusable = false;
        self.state = State::Gone { retry_at: Some(now) };
        self.tell(|_| Order::Carrier(Carrier::Down));
        if self.device.is_ours() {
            self.reopen(monitor, now);
        }
    }

    /// Has the device made or opened again, or tries later.
    fn reopen(&mut self, monitor: Option<&Monitor>, now: Instant) {
        self.state = State::Gone { retry_at: Some(now + RETRY) };
        // What others make is not there before they have, and up.
        let is_up = |link: LinkInfo| link.up;
        if !self.device.is_ours() && !self.netlink.link(self.device.name()).ok().flatten().is_some_and(is_up)
        {
            return;
        }
        let reopened = match monitor {
            Some(monitor) => monitor.reopen_link().map_err(|error| error.to_string()),
            // What was not given up can still be used.
            None => {
                self.program = None;
                self.device.reopen(self.queues()).map_err(|error| error.to_string()).map(
                    |(reopened, program)| {
                        self.program = program;
                        reopened
                    },
                )
            }
        };
        let Reopened { descriptors, facts } = match reopened {
            Ok(reopened) => reopened,
            Err(why) => {
                if why != self.why_not {
                    tracing::warn!("link: {} cannot be opened again yet: {why}", self.device.name());
                    self.why_not = why;
                }
                return;
            }
        };
        // What was told of it while it was being made is older than what is asked now.
        self.watch.news();
        let Ok(Some(link)) = self.netlink.link(self.device.name()) else { return };
        let each = descriptors.len() / self.posts.len().max(1);
        if each == 0 || descriptors.len() != each * self.posts.len() {
            tracing::error!(
                "link: {} descriptors for {} workers; this is a bug of ours",
                descriptors.len(),
                self.posts.len()
            );
            return;
        }
        if !self.unusable {
            tracing::info!("link: {} is back", link.name);
        }
        self.mtu = mtu_of(&link);
        let mut descriptors = descriptors.into_iter();
        for post in &mut self.posts {
            post.send(Order::Reopen { descriptors: descriptors.by_ref().take(each).collect(), facts });
        }
        self.queues.look_at = now;
        self.state = State::There { index: link.index, carrier: Carrier::Up };
        self.on_there(&link, monitor, now);
    }

    fn queues(&self) -> u16 {
        u16::try_from(self.posts.len()).unwrap_or(u16::MAX)
    }

    /// Tells every worker; `order` hears whether it is the first.
    fn tell(&mut self, mut order: impl FnMut(bool) -> Order) {
        for (index, post) in self.posts.iter_mut().enumerate() {
            post.send(order(index == 0));
        }
    }
}

impl Post {
    fn send(&mut self, order: Order) {
        // A worker that has not looked for so long hangs, and control says so elsewhere.
        let _ = self.orders.push(order);
        self.bell.ring();
    }
}

/// Readable when the kernel has news.
impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

fn mtu_of(link: &LinkInfo) -> u16 {
    u16::try_from(link.mtu).unwrap_or(u16::MAX)
}
