//! `GET /metrics` of a daemon in the Prometheus text format, on an address of its own
//! (`metrics_listen`), which is one of this machine.
//!
//! Answers one request per connection and nothing but this page. The page is made by whoever
//! has the numbers; here are its form, the few words of HTTP, and the limits.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use proto::ini::{Entry, Ini, IniError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::ports::{Listener, Stream, World};
use crate::shutdown::Stop;

/// Connections at one time; further ones wait.
const CONNECTIONS_MAX: usize = 4;
/// Bytes of a request at most, and how long it may take with its answer.
const REQUEST_BYTES_MAX: u64 = 4096;
const EXCHANGE_TIME: Duration = Duration::from_secs(5);
/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The page in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Begins a family of values that grow only: `name` ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    /// Begins a family of values that go up and down.
    pub fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value of the family begun last. Label values hold neither quotes nor new lines.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(key, text)| format!("{key}=\"{text}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Makes the page; called for each request.
pub type Gather = Arc<dyn Fn(&mut Page) + Send + Sync>;

/// `metrics_listen`: an address of this machine with a port; `None`: nobody listens.
pub fn listen_at(ini: &Ini) -> Result<Option<SocketAddr>, IniError> {
    let need = "must be an address of this machine with a port, such as 127.0.0.1:9110";
    let at = |entry: &Entry| match entry.value.parse::<SocketAddr>() {
        Ok(at) if at.ip().is_loopback() => Ok(at),
        _ => Err(entry.refuse(need)),
    };
    ini.get("metrics_listen").filter(|entry| !entry.value.is_empty()).map(at).transpose()
}

/// Serves the page at `at` from now on, as one of `tasks`; nothing if it is `None`.
pub fn start(
    at: Option<SocketAddr>,
    timeout: Duration,
    world: &World,
    gather: Gather,
    tasks: &mut JoinSet<()>,
    stop: &Stop,
) -> anyhow::Result<()> {
    let Some(at) = at else { return Ok(()) };
    let listener = world.net.listen(at, timeout);
    let listener = listener.with_context(|| format!("listen on {at}, key metrics_listen"))?;
    log::info!("metrics at http://{}/metrics", listener.local_addr()?);
    tasks.spawn(serve(listener, gather, stop.clone()));
    Ok(())
}

/// Serves the page until `stop` is raised.
async fn serve(mut listener: Box<dyn Listener>, gather: Gather, mut stop: Stop) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            biased;
            () = stop.raised() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let gather = Arc::clone(&gather);
                tokio::spawn(async move {
                    // One that does not come to an end is of no interest to anybody.
                    let _ = tokio::time::timeout(EXCHANGE_TIME, exchange(stream, gather)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                log::warn!("accept for metrics: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn exchange(mut stream: Stream, gather: Gather) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut limited = (&mut stream).take(REQUEST_BYTES_MAX);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if limited.read_buf(&mut request).await? == 0 {
            break; // the end of the stream, or too much
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => {
            let mut page = Page::default();
            gather(&mut page);
            ("200 OK", page.text)
        }
        (Some(b"GET"), _) => ("404 Not Found", "only /metrics is here\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is understood\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(request: &str) -> String {
        let (mut near, far) = tokio::io::duplex(16 * 1024);
        let gather: Gather = Arc::new(|page| {
            page.counter("a_total", "What it counts.");
            page.value("a_total", &[("op", "upload"), ("ok", "yes")], 3);
            page.value("a_total", &[], 4);
        });
        let served = tokio::spawn(exchange(Box::new(far), gather));
        near.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_has_the_form_of_prometheus() {
        let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let page = "# HELP a_total What it counts.\n# TYPE a_total counter\n\
                    a_total{op=\"upload\",ok=\"yes\"} 3\na_total 4\n";
        assert!(answer.ends_with(&format!("\r\n\r\n{page}")), "{answer}");
        assert!(ask("GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
        assert!(ask("POST /metrics HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(&"x".repeat(5000)).await.starts_with("HTTP/1.1 405 "), "bounded");
    }

    #[test]
    fn only_addresses_of_this_machine_are_listened_on() {
        let at = |text: &str| listen_at(&Ini::parse(&format!("metrics_listen = {text}")).unwrap());
        assert_eq!(at("127.0.0.1:9110"), Ok(Some("127.0.0.1:9110".parse().unwrap())));
        assert_eq!(at(""), Ok(None));
        for bad in ["0.0.0.0:9110", "10.0.0.1:9110", "9110", "localhost:9110"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
