//! The other thread: admin port, metrics, logs, certificates, reload.
