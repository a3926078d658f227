//! Live events: what changed, told to the other tabs and devices of the same user.
//!
//! Called by every handler that changes something a page may be showing, after the commit.
//! Published through Redis, where the worker `events` listens; nobody waits for it, and when Redis
//! is away the event is lost and nothing else: pages ask anew after a reconnect.

use redis::Script;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::cache::Cache;
use crate::db::{Kind, Node};
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
        Self::named(folders.into_iter().map(name).collect())
    }

    fn named(mut folders: Vec<String>) -> Self {
        folders.sort_unstable();
        folders.dedup();
        Self { kind: "files", data: json!({ "folders": folders }) }
    }

    /// What is in the recycle bin.
    pub(crate) fn trash() -> Self {
        Self::plain("trash")
    }

    /// The user's shares.
    pub(crate) fn shares() -> Self {
        Self::plain("shares")
    }

    /// Resumable uploads began or ended.
    pub(crate) fn uploads() -> Self {
        Self::plain("uploads")
    }

    /// Name, quota, settings, sessions, tokens, second factor; space that came back.
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
        self.publish(user, vec![event.message()]);
    }

    /// What one request changes for `user`, told as one when the value goes.
    pub(crate) fn changes(&self, user: UserId) -> Changes {
        Changes {
            notify: self.clone(),
            user,
            folders: Vec::new(),
            all: false,
            trash: false,
            account: false,
        }
    }

    /// Publishes in this order.
    fn publish(&self, user: UserId, messages: Vec<String>) {
        // There is no runtime left when a worker drops what it had under way as it ends.
        let Ok(runtime) = Handle::try_current() else { return };
        let (this, channel) = (self.clone(), [format!("ev:{user}")]);
        runtime.spawn(async move {
            for message in messages {
                let told: Result<i64, _> =
                    this.cache.run(&this.publish, &channel, &[message]).await;
                if let Err(error) = told {
                    return log::debug!("tell of a change: {error}");
                }
            }
        });
    }
}

/// What a request about many things has changed so far. Told once, however the request ends: also
/// when a server goes away between two of its items, or the client does.
pub(crate) struct Changes {
    notify: Notify,
    user: UserId,
    folders: Vec<Option<NodeId>>,
    all: bool,
    trash: bool,
    account: bool,
}

impl Changes {
    /// What is in these folders.
    pub(crate) fn files(&mut self, folders: impl IntoIterator<Item = Option<NodeId>>) {
        for folder in folders {
            if !self.folders.contains(&folder) {
                self.folders.push(folder);
            }
        }
    }

    /// The name or the place of this one. Of a folder it changes the way to everything below.
    pub(crate) fn place(&mut self, node: &Node) {
        self.files([node.parent]);
        self.all |= node.kind == Kind::Folder;
    }

    /// What is in the recycle bin.
    pub(crate) fn trash(&mut self) {
        self.trash = true;
    }

    /// Space came back.
    pub(crate) fn account(&mut self) {
        self.account = true;
    }

    fn events(&mut self) -> Vec<Event> {
        let folders = std::mem::take(&mut self.folders);
        let files = match self.all {
            true => Some(Event::named(vec!["all".to_owned()])),
            false => (!folders.is_empty()).then(|| Event::files(folders)),
        };
        let trash = self.trash.then(Event::trash);
        let account = self.account.then(Event::account);
        [files, trash, account].into_iter().flatten().collect()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let messages: Vec<String> = self.events().iter().map(Event::message).collect();
        if !messages.is_empty() {
            self.notify.publish(self.user, messages);
        }
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

    #[tokio::test]
    async fn what_a_request_changed_is_told_as_one_and_in_order() {
        let notify = Notify::new(Cache::new("redis://127.0.0.1:1/").unwrap());
        let mut changes = notify.changes(UserId(1));
        assert_eq!(changes.events(), []);
        changes.account();
        changes.files([None, Some(NodeId(7))]);
        changes.trash();
        changes.files([Some(NodeId(7)), None]);
        let files = Event::files([None, Some(NodeId(7))]);
        assert_eq!(changes.events(), [files, Event::trash(), Event::account()]);
        changes.all = true;
        assert_eq!(changes.events()[0].message(), "files\n{\"folders\":[\"all\"]}");
    }
}
