//! The same figures twice: as OpenMetrics text for Prometheus, and as JSON for a person with `jq`.

use core::fmt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::{Figure, Figures, Kind};

/// What the OpenMetrics text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures of one moment.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// By worker; each lists the same figures in the same order, or none yet.
    pub(crate) workers: Vec<Vec<Figure>>,
    /// Of the process as a whole.
    pub(crate) process: Vec<Figure>,
}

/// A worker's figures as a list.
pub(crate) fn list(counters: &impl Figures) -> Vec<Figure> {
    let mut figures = Vec::new();
    counters.visit(&mut |figure| figures.push(figure));
    figures
}

impl Samples {
    /// As OpenMetrics text, every name with `prefix` and every worker's figure with its number.
    pub(crate) fn open_metrics(self, prefix: &str) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(prefix);
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    /// As JSON: each worker's figures, what they add up to, and the process's.
    pub(crate) fn json(&self) -> Value {
        let object = |figures: &[Figure]| -> Value {
            figures.iter().map(|figure| (key(figure), number(figure.value))).collect::<Map<_, _>>().into()
        };
        let mut total: Vec<Figure> = Vec::new();
        for figure in self.workers.iter().flatten().filter(|figure| figure.kind == Kind::Counter) {
            match total.iter_mut().find(|seen| key(seen) == key(figure)) {
                Some(seen) => seen.value += figure.value,
                None => total.push(*figure),
            }
        }
        json!({
            "workers": self.workers.iter().map(|figures| object(figures)).collect::<Vec<_>>(),
            "total": object(&total),
            "process": object(&self.process),
        })
    }
}

/// `responses.2xx`, or just the name.
fn key(figure: &Figure) -> String {
    figure.label.map_or_else(|| figure.name.to_owned(), |(_, label)| format!("{}.{label}", figure.name))
}

/// A whole number without a fraction where it is one.
fn number(value: f64) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, and below 2^53"
    )]
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        Value::from(value as u64)
    } else {
        Value::from(value)
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        family(&mut encoder, &[(None, &self.process)])?;
        let workers: Vec<_> = self
            .workers
            .iter()
            .enumerate()
            .filter(|(_, figures)| !figures.is_empty())
            .map(|(index, figures)| (Some(index.to_string()), figures.as_slice()))
            .collect();
        let workers: Vec<_> = workers.iter().map(|(index, figures)| (index.as_deref(), *figures)).collect();
        family(&mut encoder, &workers)
    }
}

/// Writes the figures of sources that list the same ones: one family per name, with every source's samples in it.
fn family(encoder: &mut DescriptorEncoder<'_>, sources: &[(Option<&str>, &[Figure])]) -> fmt::Result {
    let Some((_, first)) = sources.first() else { return Ok(()) };
    let mut at = 0;
    while let Some(head) = first.get(at) {
        let namesakes = first[at..].iter().take_while(|figure| figure.name == head.name).count();
        let metric = match head.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut descriptor = encoder.encode_descriptor(head.name, head.help, None, metric)?;
        for (worker, figures) in sources {
            for figure in figures.iter().skip(at).take(namesakes) {
                let labels: Vec<(&str, &str)> =
                    worker.map(|index| ("worker", index)).into_iter().chain(figure.label).collect();
                if labels.is_empty() {
                    sample(&mut descriptor, figure)?;
                } else {
                    sample(&mut descriptor.encode_family(&labels)?, figure)?;
                }
            }
        }
        at += namesakes;
    }
    Ok(())
}

fn sample(encoder: &mut MetricEncoder<'_>, figure: &Figure) -> fmt::Result {
    match figure.kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&figure.value, None),
        Kind::Gauge => encoder.encode_gauge(&figure.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let worker = |sent, ok| {
            vec![
                Figure::counter("sent_bytes", "Bytes sent", sent),
                Figure::counter("responses", "Responses", ok).labelled("class", "2xx"),
                Figure::counter("responses", "Responses", 1).labelled("class", "4xx"),
                Figure::gauge("connections", "Connections now", 3),
            ]
        };
        Samples {
            workers: vec![worker(10, 5), worker(20, 6)],
            process: vec![Figure::ratio("uptime_seconds", "Time since start", 1.5)],
        }
    }

    #[test]
    fn a_family_is_described_once_and_holds_every_workers_sample() {
        let text = samples().open_metrics("atlas").unwrap();
        let expected = "\
# HELP atlas_uptime_seconds Time since start
# TYPE atlas_uptime_seconds gauge
atlas_uptime_seconds 1.5
# HELP atlas_sent_bytes Bytes sent
# TYPE atlas_sent_bytes counter
atlas_sent_bytes_total{worker=\"0\"} 10.0
atlas_sent_bytes_total{worker=\"1\"} 20.0
# HELP atlas_responses Responses
# TYPE atlas_responses counter
atlas_responses_total{worker=\"0\",class=\"2xx\"} 5.0
atlas_responses_total{worker=\"0\",class=\"4xx\"} 1.0
atlas_responses_total{worker=\"1\",class=\"2xx\"} 6.0
atlas_responses_total{worker=\"1\",class=\"4xx\"} 1.0
# HELP atlas_connections Connections now
# TYPE atlas_connections gauge
atlas_connections{worker=\"0\"} 3.0
atlas_connections{worker=\"1\"} 3.0
# EOF
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_worker_that_has_not_reported_yet_is_left_out() {
        let mut samples = samples();
        samples.workers.insert(0, Vec::new());
        let text = samples.open_metrics("atlas").unwrap();
        assert!(!text.contains("worker=\"0\"") && text.contains("atlas_sent_bytes_total{worker=\"2\"} 20.0"));
    }

    #[test]
    fn the_total_adds_counters_and_leaves_gauges_to_their_workers() {
        let json = samples().json();
        assert_eq!(json["total"]["sent_bytes"], 30);
        assert_eq!(json["total"]["responses.2xx"], 11);
        assert_eq!(json["total"].get("connections"), None);
        assert_eq!(json["workers"][1]["connections"], 3);
        assert_eq!(json["process"]["uptime_seconds"], 1.5);
    }
}
