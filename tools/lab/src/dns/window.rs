//! Which ids are out, since when, and for what.
//!
//! An id is a place in the window and how often that place was used, modulo what fits: a late answer to a question that
//! was given up does not count for the next one.

use clock::Instant;
use core::time::Duration;

/// Questions that are out.
#[derive(Debug)]
pub(super) struct Window {
    places: Box<[Place]>,
    free: Vec<u16>,
    /// Ids are a place below, and a generation above these bits.
    bits: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    asked: Option<Instant>,
    question: usize,
    generation: u16,
}

impl Window {
    /// For so many questions, at most 32,768.
    pub(super) fn new(size: u16) -> Self {
        let size = size.clamp(1, 1 << 15);
        let bits = usize::from(size).next_power_of_two().trailing_zeros();
        Self {
            places: vec![Place::default(); usize::from(size)].into(),
            free: (0..size).rev().collect(),
            bits,
        }
    }

    /// How many are out.
    pub(super) fn out(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// An id for a question that goes out now; `None` when the window is full.
    pub(super) fn ask(&mut self, now: Instant, question: usize) -> Option<u16> {
        let index = self.free.pop()?;
        let place = &mut self.places[usize::from(index)];
        place.asked = Some(now);
        place.question = question;
        Some(index | place.generation.unbounded_shl(self.bits))
    }

    /// The question that has this id, if it is out.
    pub(super) fn find(&self, id: u16) -> Option<usize> {
        self.place(id).map(|place| self.places[place].question)
    }

    /// It was answered: how long that took.
    pub(super) fn answer(&mut self, now: Instant, id: u16) -> Option<Duration> {
        let index = self.place(id)?;
        let asked = self.places[index].asked?;
        self.release(index);
        Some(now.since(asked))
    }

    /// Gives up those that were asked before `limit`; how many they were.
    pub(super) fn give_up(&mut self, limit: Instant) -> u64 {
        let mut count = 0;
        for index in 0..self.places.len() {
            if self.places[index].asked.is_some_and(|asked| asked <= limit) {
                self.release(index);
                count += 1;
            }
        }
        count
    }

    fn place(&self, id: u16) -> Option<usize> {
        let index = usize::from(id) & ((1 << self.bits) - 1);
        let place = self.places.get(index)?;
        let expected = place.generation.unbounded_shl(self.bits);
        (place.asked.is_some() && id == expected | u16::try_from(index).ok()?).then_some(index)
    }

    fn release(&mut self, index: usize) {
        let place = &mut self.places[index];
        place.asked = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(u16::try_from(index).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_window_holds_as_many_as_it_says() {
        let mut window = Window::new(3);
        let ids: Vec<u16> = (0..3).map(|question| window.ask(at(0), question).unwrap()).collect();
        assert_eq!((window.ask(at(0), 3), window.out()), (None, 3));
        assert_eq!(window.find(ids[1]), Some(1));
        assert_eq!(window.answer(at(5), ids[1]), Some(Duration::from_millis(5)));
        assert_eq!((window.answer(at(6), ids[1]), window.out()), (None, 2));
    }

    #[test]
    fn a_late_answer_is_not_the_next_question_s() {
        for size in [1, 100, 1 << 15] {
            let mut window = Window::new(size);
            let old = window.ask(at(0), 0).unwrap();
            assert_eq!(window.give_up(at(10)), 1);
            let new = window.ask(at(20), 1).unwrap();
            assert_ne!(old, new);
            assert_eq!((window.find(old), window.find(new)), (None, Some(1)));
        }
    }

    #[test]
    fn only_the_old_ones_are_given_up() {
        let mut window = Window::new(10);
        window.ask(at(0), 0);
        let young = window.ask(at(8), 1).unwrap();
        assert_eq!(window.give_up(at(5)), 1);
        assert_eq!(window.find(young), Some(1));
    }
}
