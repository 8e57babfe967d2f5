//! Which running server `ss` and `top` ask; [`host::look`] asks it.

use clap::Args;
use core::net::{Ipv4Addr, SocketAddr};
use host::values::AdminChoice;

pub use host::look::{AdminPort, LookError};

/// Which running server is meant.
#[derive(Args, Clone, Copy, Debug)]
pub struct AdminArgs {
    /// Where its admin port is: PORT (on 127.0.0.1) or ADDRESS:PORT [default: where `serve` puts it]
    #[arg(long, value_name = "WHERE", value_parser = admin_port)]
    admin: Option<SocketAddr>,
}

impl AdminArgs {
    /// The port, which is `default` of the loopback interface unless it was given.
    #[must_use]
    pub fn port(self, default: u16) -> AdminPort {
        AdminPort(self.admin.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, default))))
    }
}

fn admin_port(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<AdminChoice>() {
        Ok(AdminChoice::At(address)) if address.port() > 0 => Ok(address),
        Ok(_) => Err("a server without an admin port cannot be asked".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
