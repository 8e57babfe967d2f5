//! The conversation with the kernel: questions and orders out, answers in, whatever the family.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use crate::NetlinkError;
use crate::message::{Answer, Message, answers, u32_at};

// Message types and flags (linux/netlink.h).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;

/// A socket of one netlink family. One question at a time.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    /// `None` for rtnetlink.
    pub(crate) fn open(family: Option<Protocol>) -> Result<Self, NetlinkError> {
        let error = |errno| NetlinkError { attempt: "open a netlink socket".to_owned(), errno };
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family).map_err(error)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0)).map_err(error)?;
        Ok(Self { socket, seq: 0, buffer: vec![0; 64 << 10] })
    }

    /// Sends an order and waits for its acknowledgement.
    pub(crate) fn order(&mut self, attempt: &str, order: Message) -> Result<(), NetlinkError> {
        self.converse(order, |answer| match answer.kind {
            NLMSG_ERROR => Some(error_of(answer)),
            _ => None,
        })
        .map_err(|errno| NetlinkError { attempt: attempt.to_owned(), errno })
    }

    /// Sends a question that asks for an acknowledgement, and hands the bodies of its answers to `each`.
    pub(crate) fn ask(&mut self, question: Message, mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
        self.converse(question, |answer| match answer.kind {
            NLMSG_ERROR => Some(error_of(answer)),
            NLMSG_DONE => Some(Ok(())),
            _ => {
                each(answer.body);
                None
            }
        })
    }

    /// Sends a question and collects its answers.
    pub(crate) fn dump<T>(
        &mut self,
        attempt: &str,
        question: Message,
        kind: u16,
        mut parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut found = Vec::new();
        self.converse(question, |answer| match answer.kind {
            NLMSG_DONE => Some(Ok(())),
            NLMSG_ERROR => Some(error_of(answer)),
            other => {
                if other == kind {
                    found.extend(parse(answer.body));
                }
                None
            }
        })
        .map_err(|errno| NetlinkError { attempt: attempt.to_owned(), errno })?;
        Ok(found)
    }

    /// Sends `message` and hands its answers to `each` until that says how it ended.
    fn converse(
        &mut self,
        message: Message,
        mut each: impl FnMut(Answer<'_>) -> Option<Result<(), Errno>>,
    ) -> Result<(), Errno> {
        self.seq = self.seq.wrapping_add(1);
        send(&self.socket, &message.finish(self.seq), SendFlags::empty())?;
        loop {
            let (received, _) = match recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for answer in answers(&self.buffer[..received]).filter(|answer| answer.seq == self.seq) {
                if let Some(end) = each(answer) {
                    return end;
                }
            }
        }
    }
}

/// The errno that an error message carries; zero acknowledges.
fn error_of(answer: Answer<'_>) -> Result<(), Errno> {
    match u32_at(answer.body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(negative) => Err(Errno::from_raw_os_error(negative.saturating_neg())),
        None => Err(Errno::BADMSG),
    }
}
