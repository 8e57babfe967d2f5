//! Figures as `/stats` has them.

use serde_json::Value;
use std::collections::BTreeMap;

/// The figures of one moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// As the server says it.
    pub status: String,
    /// In seconds.
    pub uptime: f64,
    /// The process's, by name.
    pub process: BTreeMap<String, f64>,
    /// By name, as `/stats` has them.
    pub workers: Vec<BTreeMap<String, f64>>,
}

impl Stats {
    /// What `/stats` says.
    #[must_use]
    pub fn of(stats: &Value) -> Self {
        let numbers = |value: &Value| -> BTreeMap<String, f64> {
            let fields = value.as_object().into_iter().flatten();
            fields.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        };
        Self {
            status: stats["status"].as_str().unwrap_or("?").to_owned(),
            process: numbers(&stats["process"]),
            uptime: stats["process"]["uptime_seconds"].as_f64().unwrap_or(0.0),
            workers: stats["workers"].as_array().into_iter().flatten().map(numbers).collect(),
        }
    }

    /// A figure of all workers together; of all its labels, when `name` ends with a dot.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.workers.iter().map(|worker| of(worker, name)).sum()
    }
}

/// A figure of a worker's; of all its labels, when `name` ends with a dot.
#[must_use]
pub fn of(worker: &BTreeMap<String, f64>, name: &str) -> f64 {
    if name.ends_with('.') {
        return worker
            .range(name.to_owned()..)
            .take_while(|(key, _)| key.starts_with(name))
            .map(|(_, n)| n)
            .sum();
    }
    worker.get(name).copied().unwrap_or(0.0)
}
