//! Demultiplexing, the connection table, neighbours and timers.
