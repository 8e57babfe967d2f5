//! Why the kernel would not.

use core::fmt;

use rustix::io::Errno;

/// The kernel refused an order, or its answer made no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetlinkError {
    /// What was to be done, as "set tap0 up".
    pub attempt: String,
    /// What the kernel said.
    pub errno: Errno,
}

impl NetlinkError {
    /// The process lacks `CAP_NET_ADMIN` in this network namespace.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.errno == Errno::PERM || self.errno == Errno::ACCESS
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, errno } = self;
        write!(f, "cannot {attempt}: {errno}")?;
        if self.is_permission() {
            f.write_str(" (run as root, or with CAP_NET_ADMIN)")?;
        }
        Ok(())
    }
}

impl core::error::Error for NetlinkError {}
