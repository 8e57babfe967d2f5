//! The same engine on a seeded world.
