//! Generic netlink: families that are found by name (linux/genetlink.h).
//!
//! ```text
//!   | nlmsghdr: type = the family's number | genlmsghdr: command version reserved | attribute | attribute | … |
//! ```
//!
//! Two families tell what a device can do: `netdev` its XDP and AF_XDP features, `ethtool` its queues, rings, offloads
//! and how it spreads flows. Only questions are here; changing a device is the operator's.

mod ethtool;
mod netdev;

pub use ethtool::{Channels, Offloads, Rings, Rss};
pub use netdev::{DeviceFeatures, XdpFeatures, XskFeatures};

use rustix::io::Errno;
use rustix::net::netlink;

use crate::NetlinkError;
use crate::conversation::{ACK, Conversation, REQUEST};
use crate::message::{Message, attributes, u16_at};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const HEADER_BYTES: usize = 4;

/// A conversation with the families of this network namespace.
#[derive(Debug)]
pub struct Generic {
    conversation: Conversation,
    /// Their numbers, as far as they were asked for; `None` where the kernel has no such family.
    families: Vec<(&'static str, Option<u16>)>,
}

impl Generic {
    /// Opens the conversation. The namespace is the calling thread's, and stays it.
    ///
    /// # Errors
    /// The machine has no socket for us.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { conversation: Conversation::open(Some(netlink::GENERIC))?, families: Vec::new() })
    }

    /// What `parse` makes of the answer to one question. `None` when the kernel has no such family or command, or the
    /// device has no such thing.
    fn ask<T>(
        &mut self,
        family: &'static str,
        command: u8,
        attempt: &str,
        attributes: impl FnOnce(Message) -> Message,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let Some(kind) = self.family(family)? else { return Ok(None) };
        self.question(kind, command, attempt, attributes, parse)
    }

    fn family(&mut self, name: &'static str) -> Result<Option<u16>, NetlinkError> {
        if let Some((_, number)) = self.families.iter().find(|(known, _)| *known == name) {
            return Ok(*number);
        }
        let number = self.question(
            GENL_ID_CTRL,
            CTRL_CMD_GETFAMILY,
            "ask for a netlink family",
            |question| question.attribute_str(CTRL_ATTR_FAMILY_NAME, name),
            |body| find(body, CTRL_ATTR_FAMILY_ID).and_then(|value| u16_at(value, 0)),
        )?;
        self.families.push((name, number));
        Ok(number)
    }

    fn question<T>(
        &mut self,
        kind: u16,
        command: u8,
        attempt: &str,
        attributes: impl FnOnce(Message) -> Message,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        const VERSION: u8 = 1;
        let question = attributes(Message::new(kind, REQUEST | ACK, &[command, VERSION, 0, 0]));
        let mut answer = None;
        let ended = self.conversation.ask(question, |body| {
            if answer.is_none() {
                answer = parse(body);
            }
        });
        match ended {
            Ok(()) => Ok(answer),
            // No such family, no such command, or nothing that the device could tell.
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(NetlinkError { attempt: attempt.to_owned(), errno }),
        }
    }
}

/// The value of an attribute behind the generic header.
fn find(body: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(body, HEADER_BYTES).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
