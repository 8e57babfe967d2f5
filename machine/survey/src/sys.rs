//! The one question without a safe way to ask it.

#![expect(unsafe_code, reason = "landlock_create_ruleset(2) has no wrapper here")]

use core::ptr;

/// Asks for the version of the interface instead of a ruleset (linux/landlock.h).
const CREATE_RULESET_VERSION: libc::c_long = 1;

/// Which Landlock interface the kernel has; `None` when it has none, or it is switched off.
pub(crate) fn landlock_abi() -> Option<u32> {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: with this flag the kernel takes a null pointer and size 0, and makes no descriptor.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, CREATE_RULESET_VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
