//! What happened in a run: operations, bytes, latencies without a rounded tail, failures.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds with three digits, up to this.
const LATENCY_MICROS_MAX: u64 = 3600 * 1_000_000;
/// Different failures that are told apart.
const FAILURES_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    pub(super) bytes: u64,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        let latencies = latencies.expect("the bounds are legal");
        Self { latencies, bytes: 0, failures: BTreeMap::new() }
    }

    pub(super) fn done(&mut self, bytes: u64, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX);
        self.latencies.saturating_record(micros.max(1));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn failed(&mut self, text: String) {
        let full = FAILURES_MAX <= self.failures.len() && !self.failures.contains_key(&text);
        *self.failures.entry(if full { "others".to_owned() } else { text }).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        self.latencies.add(&other.latencies).expect("every latency fits");
        self.bytes = self.bytes.saturating_add(other.bytes);
        for (text, count) in &other.failures {
            *self.failures.entry(text.clone()).or_default() += count;
        }
    }

    pub(super) fn operations(&self) -> u64 {
        self.latencies.len()
    }

    pub(super) fn errors(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(super) fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Milliseconds that this share (0 to 1) of the operations took at most.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        self.latencies.value_at_quantile(share) as f64 / 1000.0
    }

    pub(super) fn mean_ms(&self) -> f64 {
        self.latencies.mean() / 1000.0
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.latencies.max() as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::new();
        for millis in 1..=100 {
            let mut one = Tally::new();
            one.done(10, Duration::from_millis(millis));
            one.failed(format!("failure {}", millis % 50));
            sum.add(&one);
        }
        assert_eq!((sum.operations(), sum.bytes, sum.errors()), (100, 1000, 100));
        assert!((sum.quantile_ms(0.5) - 50.0).abs() < 0.1, "{}", sum.quantile_ms(0.5));
        assert!((sum.max_ms() - 100.0).abs() < 0.2);
        let mut many = Tally::new();
        (0..100).for_each(|n| many.failed(n.to_string()));
        assert!(many.failures().len() <= FAILURES_MAX + 1 && many.errors() == 100);
    }
}
