//! The TCB as a value: segments and time in, segments and send credit out.
