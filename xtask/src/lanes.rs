//! Things to do, a few at a time, with one log.
//!
//! ```text
//! things ─▶ queue ─┬─▶ lane 1: log of its own ─┐
//!                  └─▶ lane 2: log of its own ─┴─▶ appended to the step's, thing by thing
//! ```

use crate::steps::Step;
use std::sync::Mutex;
use std::time::Instant;

/// Does `work` on every thing, `lanes` of them at a time, and returns what came of each, in nobody's order.
pub(crate) fn run<T: Send, O: Send>(
    step: &mut Step,
    lanes: usize,
    things: Vec<T>,
    work: impl Fn(&mut Step, &T) -> O + Sync,
) -> Vec<O> {
    let queue = Mutex::new(things.into_iter());
    let next = || queue.lock().expect("nobody panics with the queue").next();
    let mut asides: Vec<Step> = (0..lanes).map(|lane| step.aside(lane)).collect();
    let done = Mutex::new((step, Vec::new()));
    std::thread::scope(|scope| {
        for aside in &mut asides {
            let (next, work, done) = (&next, &work, &done);
            scope.spawn(move || {
                while let Some(thing) = next() {
                    let started = Instant::now();
                    let outcome = work(aside, &thing);
                    let mut done = done.lock().expect("nobody panics with what is done");
                    done.0.take_over(aside);
                    done.0.note(&format!("took {:.1} s", started.elapsed().as_secs_f64()));
                    done.1.push(outcome);
                }
            });
        }
    });
    done.into_inner().expect("nobody panics with what is done").1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_is_done_once_and_everything_said_is_in_one_log() {
        let log = std::env::temp_dir().join(format!("xtask-lanes-{}.log", std::process::id()));
        let mut step = Step::logging_to(log.clone());
        let done = run(&mut step, 3, (0..20).collect(), |step, number| {
            step.note(&format!("number {number}"));
            *number
        });
        assert_eq!(done.iter().copied().collect::<BTreeSet<i32>>(), (0..20).collect());
        let text = std::fs::read_to_string(&log).expect("a log");
        for number in 0..20 {
            assert_eq!(text.lines().filter(|line| *line == format!("number {number}")).count(), 1, "{text}");
        }
        std::fs::remove_file(log).expect("a log");
    }
}
