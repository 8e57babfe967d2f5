//! TLS handshakes by rustls, until the keys are out.
