//! `GET /api/events`: what changes in the caller's drive, as server-sent events.
//!
//! One subscription to Redis a process feeds all streams of it. A stream that falls behind is
//! ended: the page comes back and asks anew. Every quarter of a minute the right to listen is
//! looked at again, so a session that ends takes its streams along; listening prolongs none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use net::shutdown::Stop;
use tokio::sync::{broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::app::App;
use crate::error::WebError;
use crate::ids::UserId;
use crate::notify::CHANNELS;
use crate::request::{Method, Request};
use crate::response::Response;

/// Events a stream may be behind.
const BEHIND_MAX: usize = 64;
/// Between two signs of life: shorter than what proxies wait.
const BEAT_EVERY: Duration = Duration::from_secs(15);
/// Before Redis is asked again after it went away.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// How long a new stream waits for the subscription: at least until the next attempt.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(3);

/// Who listens in this process.
#[derive(Default)]
pub(crate) struct Hub {
    streams: Mutex<HashMap<u64, broadcast::Sender<Bytes>>>,
    /// Whether there is a subscription that feeds the streams; changes under their lock alone, so
    /// that no stream begins between its end and theirs.
    fed: watch::Sender<bool>,
}

/// Why there is no stream.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// Nothing would come: what is published now would be missed.
    NotFed,
    TooMany,
}

impl Hub {
    /// One more stream of `user`, if there are fewer than `most`.
    fn join(&self, user: UserId, most: u64) -> Result<broadcast::Receiver<Bytes>, Refused> {
        let mut streams = self.streams.lock().expect("no code panics while holding this lock");
        if !*self.fed.borrow() {
            return Err(Refused::NotFed);
        }
        streams.retain(|_, sender| 0 < sender.receiver_count());
        let sender = streams.entry(user.0).or_insert_with(|| broadcast::channel(BEHIND_MAX).0);
        let room = u64::try_from(sender.receiver_count()).is_ok_and(|count| count < most);
        room.then(|| sender.subscribe()).ok_or(Refused::TooMany)
    }

    /// The same, after waiting a moment for the subscription.
    async fn follow(&self, user: UserId, most: u64) -> Result<broadcast::Receiver<Bytes>, Refused> {
        let mut fed = self.fed.subscribe();
        // Without it `join` says so.
        let _late = tokio::time::timeout(SUBSCRIBED_WITHIN, fed.wait_for(|fed| *fed)).await;
        self.join(user, most)
    }

    fn tell(&self, user: UserId, text: Bytes) {
        let streams = self.streams.lock().expect("no code panics while holding this lock");
        if let Some(sender) = streams.get(&user.0) {
            // Nobody listening any more is no error.
            sender.send(text).ok();
        }
    }

    /// Streams may begin: from now on they miss nothing.
    fn open(&self) {
        let _streams = self.streams.lock().expect("no code panics while holding this lock");
        self.fed.send_replace(true);
    }

    /// Ends all streams, and lets none begin.
    fn close(&self) {
        let mut streams = self.streams.lock().expect("no code panics while holding this lock");
        self.fed.send_replace(false);
        streams.clear();
    }
}

/// Hands on what Redis publishes, until `stop`.
pub(crate) async fn run(app: Arc<App>, mut stop: Stop) {
    loop {
        tokio::select! {
            biased;
            () = stop.raised() => break,
            () = listen(&app) => {}
        }
        // Streams that may have missed something end; pages come back.
        app.hub.close();
        tokio::select! {
            biased;
            () = stop.raised() => break,
            () = tokio::time::sleep(RESUBSCRIBE_AFTER) => {}
        }
    }
    app.hub.close();
}

async fn listen(app: &App) {
    let mut messages = match app.cache.subscribe(CHANNELS).await {
        Ok(messages) => messages,
        Err(error) => return log::warn!("listen for events: {error}"),
    };
    app.hub.open();
    while let Some((channel, message)) = messages.next().await {
        let user = channel.strip_prefix("ev:").and_then(UserId::parse);
        if let (Some(user), Some((kind, data))) = (user, message.split_once('\n')) {
            app.hub.tell(user, Bytes::from(format!("event: {kind}\ndata: {data}\n\n")));
        }
    }
    log::warn!("the stream of events ended");
}

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "events"], Method::Get) => follow(app, request).await,
        (["api", "events"], _) => Err(WebError::WrongMethod("GET")),
        _ => Err(WebError::NoRoute),
    }
}

async fn follow(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let most = app.config.limits.events_per_user_max;
    let events = app.hub.follow(user.id, most).await.map_err(|refused| match refused {
        Refused::TooMany => WebError::TooManyAttempts(60),
        Refused::NotFed => WebError::Busy("no events come from Redis"),
    })?;
    let mut beat = tokio::time::interval(BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.reset();
    let follower = Follower { app: app.clone(), request, events, beat };
    let hello = Bytes::from_static(b"retry: 2000\n: hello\n\n");
    let first = stream::once(async move { Ok(hello) });
    let rest = stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Some((Ok(next), follower))
    });
    Ok(Response::stream("text/event-stream", first.chain(rest))
        .with_header("cache-control", "no-store")?
        .with_header("x-accel-buffering", "no")?)
}

/// One page that listens.
struct Follower {
    app: Arc<App>,
    request: Request,
    events: broadcast::Receiver<Bytes>,
    beat: Interval,
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            // Before the events: however many come, the right to hear them is looked at.
            _ = self.beat.tick() => {
                self.app.still(&self.request).await.ok()?;
                Some(Bytes::from_static(b": still here\n\n"))
            }
            event = self.events.recv() => event.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_user_who_is_meant_hears_it() {
        let hub = Hub::default();
        let (one, two) = (UserId(1), UserId(2));
        hub.open();
        let mut first = hub.join(one, 2).unwrap();
        let mut second = hub.join(one, 2).unwrap();
        assert_eq!(hub.join(one, 2).err(), Some(Refused::TooMany));
        let mut other = hub.join(two, 2).unwrap();
        hub.tell(one, Bytes::from_static(b"x"));
        hub.tell(UserId(3), Bytes::from_static(b"y"));
        assert_eq!(&first.recv().await.unwrap()[..], b"x");
        assert_eq!(&second.recv().await.unwrap()[..], b"x");
        assert!(other.try_recv().is_err());
        drop((first, second));
        assert!(hub.join(one, 1).is_ok(), "who left makes room");
        hub.close();
        assert!(other.recv().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn no_stream_begins_that_would_miss_something() {
        let hub = Arc::new(Hub::default());
        assert_eq!(
            hub.follow(UserId(1), 2).await.err(),
            Some(Refused::NotFed),
            "for three seconds"
        );
        let waiting = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.follow(UserId(1), 2).await }
        });
        tokio::task::yield_now().await;
        hub.open();
        let mut stream = waiting.await.unwrap().unwrap();
        hub.tell(UserId(1), Bytes::from_static(b"x"));
        assert_eq!(&stream.recv().await.unwrap()[..], b"x");
        hub.close();
        assert!(stream.recv().await.is_err());
        assert_eq!(hub.join(UserId(1), 2).err(), Some(Refused::NotFed));
    }
}
