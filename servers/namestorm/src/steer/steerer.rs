//! Control's side of steering: how every target is, what the operator said of it, and what follows for the answers.

use super::answers::{Answers, Wanted};
use super::health::{Asked, Told};
use super::table::{Table, WhenAllAreDead};
use super::{Entry, Routes, Steering};
use crate::catalogue::Catalogue;
use crate::hash::Suffixes;
use crate::zone::{Found, Zone};
use core::str::FromStr;
use dns::name::Presentation;
use dns::{Name, Rtype};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// The operator's word for a target's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Forced {
    /// Its checks decide.
    #[default]
    Auto,
    /// It is well, whatever they say.
    Up,
    /// It is not.
    Down,
}

impl FromStr for Forced {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            _ => Err(format!("'{text}' is none of auto, up and down")),
        }
    }
}

/// How a target is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetState {
    /// What the operator calls it.
    pub target: String,
    /// The pools that it is in.
    pub pools: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// It gets clients if its weight is not 0.
    pub up: bool,
    /// What its checks say; true as long as they have said nothing.
    pub well: bool,
    /// What they said last.
    pub why: String,
    /// The operator's word.
    pub forced: Forced,
    /// In force.
    pub weight: u32,
    /// How often checks have changed their mind.
    pub changes: u64,
}

/// What is not in the table.
#[derive(Clone, Debug)]
struct Known {
    well: bool,
    why: String,
    forced: Forced,
    /// The operator's, instead of the table's.
    weight: Option<u32>,
    changes: u64,
}

impl Default for Known {
    fn default() -> Self {
        // Until an answer has come: or nobody would be answered for the first second of a server.
        Self { well: true, why: String::new(), forced: Forced::Auto, weight: None, changes: 0 }
    }
}

/// Makes [`Steering`] of a table and of what is known of its targets.
#[derive(Debug)]
pub struct Steerer {
    table: Table,
    /// One for each target of the table.
    known: Vec<Known>,
    /// What pools answer now: all of them, or those who are up.
    answers: HashMap<(u32, Wanted, Living), Option<Arc<Answers>>>,
}

/// Which targets of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Living {
    Those,
    All,
}

impl Steerer {
    /// By this table, with nothing known of its targets yet.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let known = vec![Known::default(); table.targets.len()];
        Self { table, known, answers: HashMap::new() }
    }

    /// From now on by this table. What is known of a target that is still there stays, and so does the operator's word.
    pub fn renew(&mut self, table: Table) {
        let mut old: HashMap<&str, &Known> = HashMap::new();
        for (target, known) in self.table.targets.iter().zip(&self.known) {
            old.insert(&target.name, known);
        }
        let of = |name: &str| old.get(name).map(|known| Known::clone(known)).unwrap_or_default();
        self.known = table
            .targets
            .iter()
            .map(|target| {
                let known = of(&target.name);
                // Whom nobody asks is well.
                if target.check.is_some() { known } else { Known { well: true, why: String::new(), ..known } }
            })
            .collect();
        self.table = table;
        self.answers.clear();
    }

    /// The table in force.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Whom to ask.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        let checked = self.table.targets.iter().filter_map(|target| Some((target, target.check.clone()?)));
        checked.map(|(target, check)| Asked { target: target.name.clone(), check }).collect()
    }

    /// Takes what a check says. Returns the line for the log, when something has changed.
    pub fn on_told(&mut self, told: &Told) -> Option<String> {
        let index = self.index(&told.target)?;
        let before = self.is_up(index);
        let known = &mut self.known[index];
        let first = known.why.is_empty();
        known.why.clone_from(&told.why);
        if known.well == told.well && !first {
            return None;
        }
        // The first good answer says what was assumed.
        let changed = known.well != told.well;
        known.well = told.well;
        known.changes += u64::from(changed);
        if self.is_up(index) != before {
            self.forget(index);
        }
        changed.then(|| {
            let forced = match self.known[index].forced {
                Forced::Auto => "",
                Forced::Up | Forced::Down => "; the operator's word stands",
            };
            format!(
                "target {} is {}: {}{forced}",
                told.target,
                if told.well { "up" } else { "down" },
                told.why
            )
        })
    }

    /// Takes the operator's word: what is not given stays. Returns the line for the log.
    ///
    /// # Errors
    /// There is no such target, or the weight is too large: one line.
    pub fn set(
        &mut self,
        target: &str,
        forced: Option<Forced>,
        weight: Option<u32>,
    ) -> Result<String, String> {
        let index = self.index(target).ok_or_else(|| format!("there is no target '{target}'"))?;
        if weight.is_some_and(|weight| weight > 1_000_000) {
            return Err("weight is from 0 to 1000000".to_owned());
        }
        let known = &mut self.known[index];
        known.forced = forced.unwrap_or(known.forced);
        known.weight = weight.or(known.weight);
        self.forget(index);
        let up = if self.is_up(index) { "up" } else { "down" };
        let word = match self.known[index].forced {
            Forced::Auto => "by its checks",
            Forced::Up | Forced::Down => "by the operator's word",
        };
        Ok(format!("target {target} is {up} {word}, with weight {}", self.weight(index)))
    }

    /// How every target is.
    #[must_use]
    pub fn states(&self) -> Vec<TargetState> {
        let pools_of = |index: usize| {
            let has = move |targets: &[u32]| targets.iter().any(|target| *target as usize == index);
            self.table.pools.iter().filter(move |pool| has(&pool.targets)).map(|pool| pool.name.clone())
        };
        (0..)
            .zip(&self.table.targets)
            .zip(&self.known)
            .map(|((index, target), known)| TargetState {
                target: target.name.clone(),
                pools: pools_of(index).collect(),
                addresses: target
                    .v4
                    .iter()
                    .map(ToString::to_string)
                    .chain(target.v6.iter().map(ToString::to_string))
                    .collect(),
                up: self.is_up(index),
                well: known.well,
                why: known.why.clone(),
                forced: known.forced,
                weight: self.weight(index),
                changes: known.changes,
            })
            .collect()
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.table.targets.iter().position(|target| target.name == name)
    }

    fn is_up(&self, index: usize) -> bool {
        let Known { well, forced, .. } = self.known[index];
        match forced {
            Forced::Auto => well,
            Forced::Up => true,
            Forced::Down => false,
        }
    }

    fn weight(&self, index: usize) -> u32 {
        self.known[index].weight.unwrap_or(self.table.targets[index].weight)
    }

    /// Every answer that the target might be in.
    fn forget(&mut self, index: usize) {
        let pools = &self.table.pools;
        self.answers.retain(|(pool, ..), _| {
            pools[*pool as usize].targets.iter().all(|target| *target as usize != index)
        });
    }

    /// What answers from now on, for these zones; and a line for each name that cannot be steered, which is answered from
    /// its zone as if it were not in the table.
    pub fn steering(&mut self, catalogue: &Catalogue) -> (Steering, Vec<String>) {
        let mut problems = Vec::new();
        let mut entries = Vec::new();
        let mut shared: HashMap<(u32, u32, u8), Arc<Routes>> = HashMap::new();
        let mut name = Name::root();
        let mut hashes = Suffixes::new(catalogue.key(), catalogue.form());
        for index in 0..self.table.names.len() {
            let steered = self.table.names[index].clone();
            name.set(&steered.name).expect("a name, as it was read");
            hashes.fill(&name);
            if let Some(why) = obstacle(catalogue, &name, &hashes) {
                problems.push(format!("{} is not steered: {why}", Presentation(&steered.name)));
                continue;
            }
            let class = (steered.map, steered.ttl, steered.answers);
            let routes = match shared.get(&class) {
                Some(routes) => Arc::clone(routes),
                None => {
                    let routes = Arc::new([true, false].map(|v4| {
                        let wanted = Wanted { v4, ttl: steered.ttl, answers: steered.answers };
                        self.routes(steered.map, wanted)
                    }));
                    shared.insert(class, Arc::clone(&routes));
                    routes
                }
            };
            entries.push((hashes.suffix(0), Entry { name: steered.name, map: steered.map, routes }));
        }
        (Steering::new(self.table.heed.clone(), self.table.maps.clone(), entries), problems)
    }

    fn routes(&mut self, map: u32, wanted: Wanted) -> Box<[Option<Arc<Answers>>]> {
        let map = Arc::clone(&self.table.maps[map as usize]);
        map.routes.iter().map(|pools| self.route(pools, wanted)).collect()
    }

    /// What the first pool with somebody alive answers. Whom it has of the other family only matters to that family: a
    /// client that is near stays near, over IPv4.
    fn route(&mut self, pools: &[u32], wanted: Wanted) -> Option<Arc<Answers>> {
        let alive = |pool: &&u32| {
            let targets = &self.table.pools[**pool as usize].targets;
            targets.iter().any(|target| self.is_up(*target as usize) && self.weight(*target as usize) > 0)
        };
        match (pools.iter().find(alive), self.table.when_all_are_dead) {
            (Some(pool), _) => self.answers(*pool, wanted, Living::Those),
            (None, WhenAllAreDead::All) => self.answers(*pools.first()?, wanted, Living::All),
            (None, WhenAllAreDead::Zone) => None,
        }
    }

    fn answers(&mut self, pool: u32, wanted: Wanted, living: Living) -> Option<Arc<Answers>> {
        if let Some(answers) = self.answers.get(&(pool, wanted, living)) {
            return answers.clone();
        }
        let targets: Vec<_> = self.table.pools[pool as usize]
            .targets
            .iter()
            .map(|target| *target as usize)
            .filter(|target| living == Living::All || self.is_up(*target))
            .map(|target| {
                // Where nobody is left, somebody whose weight was taken away is better than nobody.
                let weight = self.weight(target);
                (&self.table.targets[target], if living == Living::All { weight.max(1) } else { weight })
            })
            .collect();
        let answers = Answers::new(&targets, wanted).map(Arc::new);
        self.answers.insert((pool, wanted, living), answers.clone());
        answers
    }
}

/// Why a name cannot be steered.
fn obstacle(catalogue: &Catalogue, name: &Name, hashes: &Suffixes) -> Option<&'static str> {
    let Some(zone) = catalogue.deepest(name, hashes, 0) else {
        return Some("it lies in no zone of ours");
    };
    if is_signed(zone) {
        return Some("its zone is signed, and an answer chosen at the time of asking has no signature");
    }
    match zone.locate(name, hashes) {
        Found::Exact(_, node) if node.entry(Rtype::CNAME).is_some() => {
            Some("it has a CNAME in its zone; steer the name that this leads to")
        }
        Found::Exact(..) => None,
        Found::Cut(..) => Some("it lies behind a delegation"),
        Found::Dname(..) => Some("it lies behind a DNAME"),
        Found::Wildcard(..) | Found::Nothing(_) => {
            Some("its zone does not have it; give it an address there, for when all targets are dead")
        }
    }
}

fn is_signed(zone: &Zone) -> bool {
    let apex = zone.apex_node();
    [Rtype::DNSKEY, Rtype::NSEC].iter().any(|rtype| apex.entry(*rtype).is_some())
        || zone.nsec3().is_some()
        || apex.entries().any(|entry| entry.signed().an > entry.plain().an)
}
