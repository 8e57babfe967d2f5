//! What every backend of a trait promises.
