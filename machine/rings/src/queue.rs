//! A ring of values, both ends in one thread.

use core::cell::Cell;
use core::fmt;
use std::rc::Rc;

use crate::{Consumer, LocalIndices, Producer, RingSize};

/// A queue of `size` values that allocates nothing after it was made.
#[must_use]
pub fn queue<T>(size: RingSize) -> (Writer<T>, Reader<T>) {
    let slots: Rc<[Cell<Option<T>>]> = (0..size.slots()).map(|_| Cell::new(None)).collect();
    let indices = Rc::new(LocalIndices::default());
    let writer = Writer { producer: Producer::new(Rc::clone(&indices), size), slots: Rc::clone(&slots) };
    (writer, Reader { consumer: Consumer::new(indices, size), slots })
}

/// The end where values go in.
pub struct Writer<T> {
    producer: Producer<Rc<LocalIndices>>,
    slots: Rc<[Cell<Option<T>>]>,
}

impl<T> Writer<T> {
    /// Queues a value, which nobody sees before [`publish`](Self::publish).
    ///
    /// # Errors
    /// No slot is free: here is the value back.
    pub fn stage(&mut self, value: T) -> Result<(), T> {
        match self.producer.stage() {
            Some(slot) => {
                self.slots[slot].set(Some(value));
                Ok(())
            }
            None => Err(value),
        }
    }

    /// Whether [`stage`](Self::stage) would take a value.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.producer.free() > 0
    }

    /// Shows everything staged to the reader. Returns how many values that were.
    pub fn publish(&mut self) -> u32 {
        self.producer.publish()
    }

    /// Frees the slots of values that the reader took. Returns how many those were.
    pub fn reclaim(&mut self) -> u32 {
        self.producer.reclaim()
    }

    /// Values staged, published, or taken and not yet reclaimed.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.producer.in_flight()
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("producer", &self.producer).finish_non_exhaustive()
    }
}

/// The end where values come out.
pub struct Reader<T> {
    consumer: Consumer<Rc<LocalIndices>>,
    slots: Rc<[Cell<Option<T>>]>,
}

impl<T> Reader<T> {
    /// The oldest published value; its slot goes back to the writer at once.
    #[must_use]
    pub fn take(&mut self) -> Option<T> {
        let slot = self.consumer.take()?;
        let value = self.slots[slot].take();
        self.consumer.release();
        Some(value.expect("a published slot holds a value"))
    }

    /// Published values not yet taken.
    pub fn available(&mut self) -> u32 {
        self.consumer.available()
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}
