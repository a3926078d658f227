//! Live events: what changed, told to the other tabs and devices of the same user.
//!
//! Called by every handler that changes something a page may be showing. Published through
//! Redis, where the worker `events` listens; nobody waits for it, and when Redis is away the
//! event is lost and nothing else: pages ask anew after a reconnect.

use redis::Script;
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::ids::{NodeId, UserId};

/// Channels are `ev:<user id>`; this matches them all.
pub(crate) const CHANNELS: &str = "ev:*";

/// KEYS channel; ARGV message.
const PUBLISH: &str = "return redis.call('PUBLISH', KEYS[1], ARGV[1])";

/// Something a page may be showing has changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    kind: &'static str,
    data: Value,
}

impl Event {
    /// What is in these folders; None is the root folder.
    pub(crate) fn files(folders: impl IntoIterator<Item = Option<NodeId>>) -> Self {
        let name = |id: Option<NodeId>| id.map_or("root".to_owned(), |id| id.to_string());
        let mut folders: Vec<String> = folders.into_iter().map(name).collect();
        folders.sort_unstable();
        folders.dedup();
        Self { kind: "files", data: json!({ "folders": folders }) }
    }

    /// What is in the recycle bin.
    #[allow(dead_code, reason = "for the routes that change it")]
    pub(crate) fn trash() -> Self {
        Self::plain("trash")
    }

    /// The user's shares.
    #[allow(dead_code, reason = "for the routes that change it")]
    pub(crate) fn shares() -> Self {
        Self::plain("shares")
    }

    /// Resumable uploads began or ended.
    pub(crate) fn uploads() -> Self {
        Self::plain("uploads")
    }

    /// Name, quota, space used, settings.
    pub(crate) fn account() -> Self {
        Self::plain("account")
    }

    fn plain(kind: &'static str) -> Self {
        Self { kind, data: json!({}) }
    }

    /// As it travels: the kind, a line break, the data.
    fn message(&self) -> String {
        format!("{}\n{}", self.kind, self.data)
    }
}

/// Publishes events.
#[derive(Clone)]
pub(crate) struct Notify {
    cache: Cache,
    publish: Script,
}

impl Notify {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, publish: Script::new(PUBLISH) }
    }

    /// Tells the pages of `user`; returns at once.
    pub(crate) fn tell(&self, user: UserId, event: &Event) {
        let (this, channel, message) = (self.clone(), [format!("ev:{user}")], event.message());
        tokio::spawn(async move {
            let told: Result<i64, _> = this.cache.run(&this.publish, &channel, &[message]).await;
            if let Err(error) = told {
                log::debug!("tell of a change: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_kind_and_data() {
        let event = Event::files([Some(NodeId(7)), None, Some(NodeId(7))]);
        assert_eq!(event.message(), "files\n{\"folders\":[\"7\",\"root\"]}");
        assert_eq!(Event::account().message(), "account\n{}");
    }
}
