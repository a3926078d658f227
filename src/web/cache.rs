//! Redis: one connection that comes back by itself, and scripts that do a thing at once.
//!
//! Used by `session` and `throttle`; handlers never name it. Keys are namespaced and hold ids and
//! hashes, never names. Losing everything here ends sessions and forgets limits, nothing else.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use net::ports::Random;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, RedisResult, Script, ToRedisArgs};

use crate::hex::hex;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Longest wait for an answer: a request is waiting behind it.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Attempts of one command to get a connection, a tenth of a second apart.
const CONNECTS_MAX: usize = 2;

/// How long the mark of a call lives: longer than the call and its repetition take.
pub(crate) const CALL_MARK_MS: u64 = 30_000;

/// A key that one call of a script leaves behind which counts: run again it finds that it has
/// counted already.
pub(crate) fn call_mark(random: &dyn Random) -> String {
    let mut bytes = [0; 12];
    random.fill(&mut bytes);
    format!("call:{}", hex(&bytes))
}

/// Redis. Cheap to clone: all clones share one connection, on which commands do not wait for
/// one another.
#[derive(Clone)]
pub(crate) struct Cache {
    manager: ConnectionManager,
    client: Client,
}

impl Cache {
    /// Opens no connection yet, so a worker starts while Redis is away. Call inside the runtime.
    pub(crate) fn new(url: &str) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX))
            .set_number_of_retries(CONNECTS_MAX)
            .set_max_delay(Duration::from_millis(100));
        let client = Client::open(url)?;
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self { manager, client })
    }

    /// What is published on the channels that `pattern` matches, as channel and message, over a
    /// connection of its own; ends when that does.
    pub(crate) async fn subscribe(
        &self,
        pattern: &str,
    ) -> RedisResult<BoxStream<'static, (String, String)>> {
        let connecting = tokio::time::timeout(CONNECT_MAX, self.client.get_async_pubsub());
        let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let mut connection = connecting.await.map_err(timed_out)??;
        connection.psubscribe(pattern).await?;
        let messages = connection.into_on_message().filter_map(async |message| {
            Some((message.get_channel_name().to_owned(), message.get_payload().ok()?))
        });
        Ok(messages.boxed())
    }

    /// Runs a script: nothing else happens between its steps. If the connection had died it is
    /// run once more on a new one, so every script must be harmless when repeated: one that
    /// counts is told which call it is. What is given once, as a challenge, may get lost with an
    /// answer; it is never given twice.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[impl ToRedisArgs],
    ) -> RedisResult<T> {
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        // A clone is a handle; the connection is shared.
        let mut manager = self.manager.clone();
        match call.invoke_async(&mut manager).await {
            Err(error) if error.is_connection_dropped() || error.is_io_error() => {
                call.invoke_async(&mut manager).await
            }
            done => done,
        }
    }
}
