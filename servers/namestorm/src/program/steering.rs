//! Steering, as the program runs it: the table and its file, the thread that asks targets, the operator's word.
//!
//! ```text
//!   table, SIGHUP ─┐
//!   POST /set ─────┼─▶ Steerer ─▶ another catalogue for the workers, one pointer each
//!   checks ────────┘
//! ```

use control::{Directly, Event, Figure, Opener, Said, Wake, Wish};
use core::fmt;
use host::Policy;
use namestorm::catalogue::Catalogue;
use namestorm::keeper::Keeper;
use namestorm::steer::Steerer;
use namestorm::steer::health::Checker;
use namestorm::steer::table::{Table, TableError};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::Level;

use crate::server::event;

/// Why names cannot be steered. The operator's.
#[derive(Debug)]
pub(crate) enum SteeringError {
    /// What the table says makes no sense.
    Table(TableError),
    /// What the table says cannot be done with these zones.
    Zones(String),
}

impl fmt::Display for SteeringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(error) => write!(f, "steering: {error}"),
            Self::Zones(line) => write!(f, "steering: {line}"),
        }
    }
}

impl core::error::Error for SteeringError {}

/// What depends on who asks, and on who is well.
#[derive(Debug)]
pub(crate) struct Steering {
    path: PathBuf,
    steerer: Steerer,
    checker: Option<Checker>,
    /// What cannot be steered, as it was told last.
    problems: Vec<String>,
    /// The operator has said something, or the table has: nobody was told yet.
    changed: bool,
    /// Names of targets for figures, which live as long as the process: each name once, whatever tables come.
    names: BTreeMap<String, &'static str>,
}

impl Steering {
    /// Reads the table, and sees whether it can be followed with these zones.
    pub(crate) fn open(path: &Path, keeper: &Keeper) -> Result<Self, SteeringError> {
        let table = read(path, &Directly).map_err(SteeringError::Table)?;
        let mut steerer = Steerer::new(table);
        let (_, problems) = steerer.steering(&keeper.catalogue());
        if let Some(first) = problems.into_iter().next() {
            return Err(SteeringError::Zones(first));
        }
        let mut steering = Self {
            path: path.into(),
            steerer,
            checker: None,
            problems: Vec::new(),
            changed: false,
            names: BTreeMap::new(),
        };
        steering.learn_names();
        Ok(steering)
    }

    /// Begins to ask targets.
    pub(crate) fn start(&mut self, policy: Policy, bell: Wake) -> io::Result<()> {
        self.checker = Some(Checker::start(self.steerer.asked(), policy, bell)?);
        Ok(())
    }

    /// Reads the table again. A broken one changes nothing.
    pub(crate) fn reload(&mut self, opener: &dyn Opener) -> Event {
        match read(&self.path, opener) {
            Ok(table) => {
                self.steerer.renew(table);
                self.learn_names();
                if let Some(checker) = &self.checker {
                    checker.renew(self.steerer.asked());
                }
                self.changed = true;
                event(Level::INFO, format!("steering: {}", self.describe()))
            }
            Err(error) => event(Level::ERROR, format!("steering: {error}; what was in force stays")),
        }
    }

    /// Whether anything has changed that workers were not told.
    pub(crate) fn take_change(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// What checks and operator have said, a line each; nothing when that changes nothing.
    pub(crate) fn news(&mut self) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        for told in self.checker.iter().flat_map(Checker::changes) {
            if let Some(line) = self.steerer.on_told(&told) {
                let level = if told.well { Level::INFO } else { Level::WARN };
                events.push(event(level, line));
            }
        }
        (self.take_change() || !events.is_empty()).then_some(events)
    }

    /// These zones, steered. What cannot be is told once.
    pub(crate) fn steer(&mut self, zones: &Catalogue, events: &mut Vec<Event>) -> Arc<Catalogue> {
        let (steering, problems) = self.steerer.steering(zones);
        if problems != self.problems {
            events.extend(
                problems
                    .iter()
                    .map(|line| event(Level::ERROR, format!("steering: {line}; its zone answers"))),
            );
            self.problems = problems;
        }
        Arc::new(zones.steered(Some(Arc::new(steering))))
    }

    /// `GET /steering`, `POST /set`.
    pub(crate) fn on_request(&mut self, wish: &Wish<'_>) -> Option<Said> {
        let refuse = |line: String| Some(Said::Refused(400, line));
        match (wish.path(), wish.is_command()) {
            ("/steering", false) => {
                let targets = self.steerer.states();
                let body = serde_json::json!({ "targets": targets, "problems": self.problems });
                Some(Said::Json(format!("{body:#}\n")))
            }
            ("/set", true) => {
                if let Some(unknown) = wish.unknown_parameter(&["target", "weight", "state"]) {
                    return refuse(format!(
                        "there is no parameter '{unknown}': only target, weight and state"
                    ));
                }
                let Some(target) = wish.parameter("target") else {
                    return refuse("which target? ?target=NAME&weight=N&state=auto|up|down".to_owned());
                };
                let weight = match wish.parameter("weight").map(|weight| weight.parse::<u32>()) {
                    None => None,
                    Some(Ok(weight)) => Some(weight),
                    Some(Err(_)) => return refuse("weight is from 0 to 1000000".to_owned()),
                };
                let forced = match wish.parameter("state").map(|state| state.parse()).transpose() {
                    Ok(forced) => forced,
                    Err(line) => return refuse(line),
                };
                match self.steerer.set(&target, forced, weight) {
                    Ok(line) => {
                        tracing::info!("{line}");
                        self.changed = true;
                        Some(Said::Done(line))
                    }
                    Err(line) => refuse(line),
                }
            }
            ("/steering" | "/set", _) => {
                Some(Said::Refused(405, "GET /steering, POST /set?target=NAME".to_owned()))
            }
            _ => None,
        }
    }

    /// How targets are.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let states = self.steerer.states();
        let name = |target: &str| self.names.get(target).copied().unwrap_or("?");
        let all = |name_of: &'static str, help: &'static str, counts: bool, value: fn(&_) -> u64| {
            let figure = if counts { Figure::counter } else { Figure::gauge };
            states
                .iter()
                .map(move |state| figure(name_of, help, value(state)).labelled("target", name(&state.target)))
                .collect::<Vec<_>>()
        };
        type State = namestorm::steer::TargetState;
        let mut figures =
            all("target_up", "Whether a target gets clients", false, |state: &State| u64::from(state.up));
        figures.extend(all("target_weight", "A target's weight in force", false, |state: &State| {
            state.weight.into()
        }));
        figures.extend(all(
            "target_changes",
            "Times that checks have changed their mind about a target",
            true,
            |state: &State| state.changes,
        ));
        figures
    }

    /// What is steered, for people.
    pub(crate) fn describe(&self) -> String {
        self.steerer.table().describe()
    }

    fn learn_names(&mut self) {
        for target in &self.steerer.table().targets {
            if !self.names.contains_key(&target.name) {
                self.names.insert(target.name.clone(), target.name.clone().leak());
            }
        }
    }
}

fn read(path: &Path, opener: &dyn Opener) -> Result<Table, TableError> {
    Table::read(path, &|path, bytes_max| opener.read(path, bytes_max))
}
