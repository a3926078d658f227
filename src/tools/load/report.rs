//! What a run was and what came of it, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::limits::Limits;
use super::process::Used;
use super::run::{Outcome, Plan};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    operation: &'static str,
    sizes: String,
    connections: u32,
    threads: u32,
    /// Operations a second that were asked for; none in a closed loop.
    rate: Option<f64>,
    seed: u64,
    secs: f64,
    operations: u64,
    ops_per_sec: f64,
    bytes_per_sec: f64,
    errors: u64,
    failures: BTreeMap<String, u64>,
    latency_ms: Latency,
    servers: Vec<Server>,
    limits: Option<Limits>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Server {
    #[serde(flatten)]
    used: Used,
    cpu_micros_per_op: Option<f64>,
}

impl Report {
    pub(super) fn of(plan: &Plan, outcome: &Outcome, limits: Option<Limits>) -> Self {
        let Outcome { tally, elapsed, used } = outcome;
        let secs = elapsed.as_secs_f64();
        let operations = tally.operations();
        let per_sec = |count: u64| if 0.0 < secs { count as f64 / secs } else { 0.0 };
        let server = |used: &Used| Server {
            used: used.clone(),
            cpu_micros_per_op: used
                .cpu_secs
                .filter(|_| operations != 0)
                .map(|cpu| cpu * 1e6 / operations as f64),
        };
        Self {
            operation: plan.operation.name(),
            sizes: plan.sizes.to_string(),
            connections: plan.connections,
            threads: plan.threads,
            rate: plan.rate,
            seed: plan.seed,
            secs,
            operations,
            ops_per_sec: per_sec(operations),
            bytes_per_sec: per_sec(tally.bytes),
            errors: tally.errors(),
            failures: tally.failures().clone(),
            latency_ms: Latency {
                mean: tally.mean_ms(),
                p50: tally.quantile_ms(0.5),
                p90: tally.quantile_ms(0.9),
                p99: tally.quantile_ms(0.99),
                p999: tally.quantile_ms(0.999),
                max: tally.max_ms(),
            },
            servers: used.iter().map(server).collect(),
            limits,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match self.rate {
            Some(rate) => format!("{rate} a second"),
            None => "as fast as answers come".to_owned(),
        };
        let Self { operation, sizes, connections, secs, .. } = self;
        writeln!(f, "{operation}, {sizes}, {connections} connections, {pace}, {secs:.2} s")?;
        writeln!(
            f,
            "  operations    {} ({:.0}/s), {:.1} MB/s, {} failed",
            self.operations,
            self.ops_per_sec,
            self.bytes_per_sec / 1e6,
            self.errors
        )?;
        for (text, count) in &self.failures {
            writeln!(f, "    {count} x {text}")?;
        }
        let Latency { mean, p50, p90, p99, p999, max } = self.latency_ms;
        writeln!(
            f,
            "  latency, ms   mean {mean:.3}  p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  \
             p99.9 {p999:.3}  max {max:.3}"
        )?;
        for Server { used, cpu_micros_per_op } in &self.servers {
            let cpu = cpu_micros_per_op.map(|micros| format!("{micros:.1} us of CPU each"));
            let memory = used.rss_max.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
            let unknown = || "gone".to_owned();
            let (cpu, memory) = (cpu.unwrap_or_else(unknown), memory.unwrap_or_else(unknown));
            writeln!(f, "  {:13} {cpu}, {memory} of memory", used.name)?;
        }
        let Some(limits) = &self.limits else { return Ok(()) };
        let share = |limit: f64| if 0.0 < limit { self.ops_per_sec / limit } else { 0.0 };
        writeln!(
            f,
            "  bare servers  {:.0}/s, {:.1} MB/s: this run reached {:.2} of it",
            limits.bare_ops_per_sec,
            limits.bare_bytes_per_sec / 1e6,
            share(limits.bare_ops_per_sec)
        )?;
        writeln!(
            f,
            "  loopback      {:.0} MB/s, with sendfile {:.0} MB/s",
            limits.loopback_bytes_per_sec / 1e6,
            limits.loopback_sendfile_bytes_per_sec / 1e6
        )?;
        let files = &limits.files;
        write!(
            f,
            "  files         {} bytes, {} threads: create {:.0}/s, with rename {:.0}/s, \
             with fsync {:.0}/s",
            files.size,
            files.threads,
            files.create_per_sec,
            files.rename_per_sec,
            files.sync_per_sec
        )
    }
}
