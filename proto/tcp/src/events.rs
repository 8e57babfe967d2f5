//! What happened to a connection, for its owner.

bitflags::bitflags! {
    /// What one call did, for the owner to act upon. Output itself is polled: see [`crate::Connection`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[must_use]
    pub struct Events: u16 {
        /// The handshake is complete: data may flow.
        const ESTABLISHED = 1 << 0;
        /// Data of ours was acknowledged: [`crate::Connection::acknowledged`] moved.
        const ACKNOWLEDGED = 1 << 1;
        /// Credit, the window or pacing may permit more than before.
        const CREDIT = 1 << 2;
        /// Something already sent or surrendered should be fetched: poll [`crate::Connection::wanted`].
        const WANTED = 1 << 3;
        /// Payload was delivered.
        const DELIVERED = 1 << 4;
        /// The peer sent FIN: no more payload will come.
        const PEER_FINISHED = 1 << 5;
        /// Our FIN, and so all our data, was acknowledged.
        const FINISH_ACKNOWLEDGED = 1 << 6;
        /// The peer reset the connection (in SYN-SENT: refused it).
        const RESET = 1 << 7;
        /// The peer stopped answering.
        const TIMED_OUT = 1 << 8;
        /// The table entry may go, after a last round of [`crate::Connection::poll_control`]. If
        /// [`crate::Connection::time_wait`] is `Some`, keep that instead.
        const CLOSED = 1 << 9;
        /// The segment acknowledged what was never sent during a handshake: answer it with [`crate::reset_for`].
        const UNEXPECTED = 1 << 10;
        /// The segment was not acceptable and nothing of it was used.
        const DROPPED = 1 << 11;
    }
}
