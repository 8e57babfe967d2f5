//! How much heap the process holds, C's included.

#![expect(unsafe_code, reason = "glibc tells its heap only through C")]

/// Bytes that are allocated now. Rust's allocator and aws-lc's are both glibc's, so this is all of it: small blocks,
/// with what malloc adds to them, and large ones that have a mapping of their own.
pub(crate) fn allocated() -> usize {
    // SAFETY: it has no precondition; it locks each arena while it looks.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}
