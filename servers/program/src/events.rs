//! What a reload has to say.

use control::Event;
use tracing::Level;

/// Lines for the event log, and for who asked.
#[derive(Debug, Default)]
pub struct Events(pub(crate) Vec<Event>);

impl Events {
    fn push(&mut self, level: Level, text: String) {
        self.0.push(Event { level, text: text.into() });
    }

    /// Something that was asked for is not in force.
    pub fn error(&mut self, text: String) {
        self.push(Level::ERROR, text);
    }

    /// The operator should know.
    pub fn warn(&mut self, text: String) {
        self.push(Level::WARN, text);
    }

    /// What was done.
    pub fn info(&mut self, text: String) {
        self.push(Level::INFO, text);
    }

    /// What was done, to be told only to those who ask for everything.
    pub fn debug(&mut self, text: String) {
        self.push(Level::DEBUG, text);
    }
}
