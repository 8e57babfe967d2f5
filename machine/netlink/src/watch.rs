//! What becomes of interfaces while a server runs: the kernel tells whoever listens (rtnetlink(7), `RTMGRP_LINK`).
//!
//! ```text
//!   carrier out ─▶ NEWLINK, not running      mtu 1400 ─▶ NEWLINK, mtu 1400      deleted ─▶ DELLINK
//! ```
//!
//! Needs no privilege. When the kernel had more to say than the socket holds, what was missed is found by asking for all
//! interfaces again ([`News::Missed`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::message::answers;
use crate::route::{RTM_DELLINK, RTM_NEWLINK, link_info};
use crate::{LinkInfo, NetlinkError};

/// The group of those who are told of interfaces (linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;

/// Something about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is there, and is like this now: new, changed, or told again.
    Is(LinkInfo),
    /// It was deleted, or moved to another namespace.
    Gone(LinkInfo),
    /// There was more to say than there was room for: ask [`Netlink::links`](crate::Netlink::links).
    Missed,
}

/// Listens for news of all interfaces in the network namespace in which it was opened.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl LinkWatch {
    /// Begins to listen.
    ///
    /// # Errors
    /// The machine has no socket for us.
    pub fn open() -> Result<Self, NetlinkError> {
        let error = |errno| NetlinkError { attempt: "listen for changes of interfaces".to_owned(), errno };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).map_err(error)?;
        bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_LINK)).map_err(error)?;
        Ok(Self { socket, buffer: vec![0; 32 << 10] })
    }

    /// What has happened since it was asked last, in order. Does not block.
    pub fn news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        loop {
            let received = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((received, _)) => received,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    news.push(News::Missed);
                    continue;
                }
                Err(_) => return news,
            };
            for answer in answers(&self.buffer[..received]) {
                news.extend(match (answer.kind, link_info(answer.body)) {
                    (RTM_NEWLINK, Some(link)) => Some(News::Is(link)),
                    (RTM_DELLINK, Some(link)) => Some(News::Gone(link)),
                    _ => None,
                });
            }
        }
    }
}

/// Readable when there is news.
impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
