//! Packets behind a virtio-net header on a file descriptor.
