//! Figures for Prometheus: every worker process counts, tells Redis now and then, and the
//! worker `admin` prints what all of them told.
//!
//! ```text
//! metrics                     sorted set   worker:pid, its score the time of the last word
//! metrics:<worker>:<pid>      hash         counter -> value        expires
//! ```
//!
//! A process that dies takes its counters along; Prometheus knows counters that begin anew.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::ports::{Clock, Moment};
use net::shutdown::Stop;
use redis::Script;

use crate::app::App;
use crate::cache::Cache;
use crate::db::Stats;
use crate::error::WebError;
use crate::ids::UnixMs;

/// How often a process tells, and how long its word holds.
const TELL_EVERY: Duration = Duration::from_secs(3);
const HOLDS_MS: u64 = 30_000;

/// How old the counts of the whole drive may be.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// How long nobody tries again to count them after it failed.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Upper ends of the classes of duration, in milliseconds; the last class has none.
const BOUNDS_MS: [u64; 9] = [2, 5, 10, 25, 50, 100, 250, 1000, 5000];

/// KEYS set, hash; ARGV member, now, ms, then pairs.
const TELL: &str = "
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', tonumber(ARGV[2]) - tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
for at = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1";

/// KEYS set; ARGV the oldest that counts. Member, counter, value, one after another.
const READ: &str = "
local all = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')) do
    local pairs_of = redis.call('HGETALL', 'metrics:' .. member)
    for at = 1, #pairs_of, 2 do
        table.insert(all, member)
        table.insert(all, pairs_of[at])
        table.insert(all, pairs_of[at + 1])
    end
end
return all";

/// What one process has done since it began.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers by the hundred of their status, 1xx first.
    statuses: [AtomicU64; 5],
    /// Answers by duration.
    durations: [AtomicU64; BOUNDS_MS.len() + 1],
    duration_ms: AtomicU64,
    under_way: AtomicU64,
    stored_files: AtomicU64,
    stored_bytes: AtomicU64,
}

/// One request being answered.
pub(crate) struct Timed<'a> {
    metrics: &'a Metrics,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.metrics.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn begin(&self) -> Timed<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Timed { metrics: self }
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.statuses.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BOUNDS_MS.len());
        if let Some(count) = self.durations.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.duration_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// A file has become visible.
    pub(crate) fn stored(&self, bytes: u64) {
        self.stored_files.fetch_add(1, Ordering::Relaxed);
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut all = Vec::new();
        for (class, count) in (1..).zip(&self.statuses) {
            all.push((format!("requests_total,status={class}xx"), value(count)));
        }
        let mut sum = 0u64;
        let bounds = BOUNDS_MS.iter().map(|ms| seconds(*ms)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.durations) {
            sum = sum.saturating_add(value(count));
            all.push((format!("request_seconds_bucket,le={bound}"), sum));
        }
        all.push(("request_seconds_count".to_owned(), sum));
        all.push(("request_milliseconds_total".to_owned(), value(&self.duration_ms)));
        all.push(("requests_under_way".to_owned(), value(&self.under_way)));
        all.push(("stored_files_total".to_owned(), value(&self.stored_files)));
        all.push(("stored_bytes_total".to_owned(), value(&self.stored_bytes)));
        all
    }
}

fn seconds(ms: u64) -> String {
    let (whole, rest) = (ms / 1000, ms % 1000);
    if rest == 0 { format!("{whole}") } else { format!("{whole}.{rest:03}") }
}

/// Tells what this process has done, until `stop`.
pub(crate) async fn run(app: Arc<App>, name: &'static str, mut stop: Stop) {
    let tell = Script::new(TELL);
    let member = format!("{name}:{}", std::process::id());
    let keys = ["metrics".to_owned(), format!("metrics:{member}")];
    loop {
        let mut args = vec![member.clone(), app.now().0.to_string(), HOLDS_MS.to_string()];
        for (counter, value) in app.metrics.counters() {
            args.extend([counter, value.to_string()]);
        }
        let told: Result<i64, _> = app.cache.run(&tell, &keys, &args).await;
        if let Err(error) = told {
            log::debug!("tell figures: {error}");
        }
        tokio::select! {
            biased;
            () = stop.raised() => return,
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
    }
}

/// What all workers told, as Prometheus reads it.
pub(crate) async fn workers(cache: &Cache, now: UnixMs) -> Result<String, WebError> {
    let oldest = now.0.saturating_sub(HOLDS_MS);
    let read = Script::new(READ);
    let flat: Vec<String> = cache.run(&read, &["metrics".to_owned()], &[oldest]).await?;
    let mut rows: Vec<(String, String)> = Vec::new();
    for [member, counter, value] in flat.as_chunks::<3>().0 {
        let (worker, pid) = member.split_once(':').unwrap_or((member, ""));
        let (name, label) = counter.split_once(',').unwrap_or((counter, ""));
        let label = match label.split_once('=') {
            Some((key, value)) => format!(",{key}=\"{value}\""),
            None => String::new(),
        };
        let labels = format!("worker=\"{worker}\",pid=\"{pid}\"{label}");
        rows.push((name.to_owned(), format!("fastdisk_{name}{{{labels}}} {value}\n")));
    }
    // A family must stand together, under its type.
    rows.sort();
    let mut out = String::new();
    let mut last = String::new();
    for (name, row) in rows {
        let family = name.strip_suffix("_bucket").or(name.strip_suffix("_count"));
        let family = family.unwrap_or(&name).to_owned();
        if family != last {
            let kind = match family.as_str() {
                "request_seconds" => "histogram",
                "requests_under_way" => "gauge",
                _ => "counter",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# TYPE fastdisk_{family} {kind}");
            last = family;
        }
        out.push_str(&row);
    }
    Ok(out)
}

/// What was counted last, for a while: to count reads whole tables.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    // Held while it is counted: who asks meanwhile waits for that, and counts nothing. None for
    // what failed: with a database that hangs all who wait would try it one after another.
    last: tokio::sync::Mutex<Option<(Moment, Option<Stats>)>>,
}

impl Counted {
    /// Counts with `count` unless that was done, or failed, not long ago.
    pub(crate) async fn get<E>(
        &self,
        clock: &dyn Clock,
        count: impl Future<Output = Result<Stats, E>>,
    ) -> Result<Stats, WebError>
    where
        WebError: From<E>,
    {
        let mut last = self.last.lock().await;
        // Not before: whoever waited asks what was found meanwhile.
        let now = clock.moment();
        match *last {
            Some((at, Some(stats))) if now.since(at) < COUNT_EVERY => return Ok(stats),
            Some((at, None)) if now.since(at) < FAILED_FOR => {
                return Err(WebError::Busy("the drive could not be counted a moment ago"));
            }
            _ => {}
        }
        let counted = count.await;
        *last = Some((clock.moment(), counted.as_ref().ok().copied()));
        Ok(counted?)
    }
}

/// Counts of the whole drive.
pub(crate) fn drive(stats: &Stats) -> String {
    let figures = [
        ("users", stats.users),
        ("users_disabled", stats.users_disabled),
        ("files", stats.files),
        ("folders", stats.folders),
        ("file_bytes", stats.file_bytes),
        ("blobs", stats.blobs),
        ("blob_bytes", stats.blob_bytes),
        ("uploads_open", stats.uploads),
        ("garbage_files", stats.garbage),
    ];
    let line = |(name, value): &(&str, u64)| {
        format!("# TYPE fastdisk_{name} gauge\nfastdisk_{name} {value}\n")
    };
    figures.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use net::ports::UnixTime;

    use super::*;
    use crate::db::DbError;

    /// A clock that is set by hand.
    struct Hand(AtomicU64);

    impl Hand {
        fn set(&self, ms: u64) -> &Self {
            self.0.store(ms, Ordering::Relaxed);
            self
        }
    }

    impl Clock for Hand {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(0)
        }

        fn moment(&self) -> Moment {
            Moment(Duration::from_millis(self.0.load(Ordering::Relaxed)))
        }
    }

    #[tokio::test]
    async fn the_drive_is_not_counted_anew_for_each_who_asks() {
        let (counted, clock) = (Counted::default(), Hand(AtomicU64::new(0)));
        let files = |files| async move { Ok::<_, DbError>(Stats { files, ..Stats::default() }) };
        let get = async |ms, number| counted.get(clock.set(ms), files(number)).await.unwrap().files;
        assert_eq!(get(6_000, 1).await, 1);
        assert_eq!(get(65_999, 2).await, 1);
        assert_eq!(get(66_000, 3).await, 3);
    }

    #[tokio::test]
    async fn who_waited_for_a_count_that_failed_does_not_try_it_at_once() {
        let (counted, clock) = (Counted::default(), Hand(AtomicU64::new(0)));
        let tries = AtomicU64::new(0);
        // Each takes ten seconds to fail, as where the database hangs.
        let fails = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            clock.set(10_000);
            Err::<Stats, _>(DbError::Slow)
        };
        let (first, second) =
            tokio::join!(counted.get(&clock, fails()), counted.get(&clock, fails()));
        assert!(matches!(first, Err(WebError::Db(DbError::Slow))), "{first:?}");
        assert!(matches!(second, Err(WebError::Busy(_))), "{second:?}");
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        let works = async { Ok::<_, DbError>(Stats { files: 7, ..Stats::default() }) };
        assert_eq!(counted.get(clock.set(11_000), works).await.unwrap().files, 7);
    }

    #[test]
    fn answers_are_counted_by_status_and_duration() {
        let metrics = Metrics::default();
        let timed = metrics.begin();
        metrics.answered(201, Duration::from_millis(2));
        metrics.answered(503, Duration::from_secs(60));
        metrics.stored(7);
        let all: std::collections::BTreeMap<_, _> = metrics.counters().into_iter().collect();
        assert_eq!(all["requests_total,status=2xx"], 1);
        assert_eq!(all["requests_total,status=5xx"], 1);
        assert_eq!(all["request_seconds_bucket,le=0.002"], 1);
        assert_eq!(all["request_seconds_bucket,le=5"], 1);
        assert_eq!(all["request_seconds_bucket,le=+Inf"], 2);
        assert_eq!((all["requests_under_way"], all["stored_bytes_total"]), (1, 7));
        drop(timed);
        assert!(metrics.counters().contains(&("requests_under_way".to_owned(), 0)));
    }
}
