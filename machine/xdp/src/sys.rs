//! The system calls: bpf(2), and those of an AF_XDP socket.

#![expect(
    unsafe_code,
    reason = "bpf(2), setsockopt(2), mmap(2) take pointers, and rings lie in shared memory"
)]

pub(crate) mod bpf;
pub(crate) mod rings;
pub(crate) mod socket;
