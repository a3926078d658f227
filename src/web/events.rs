//! `GET /api/events`: what changes in the caller's drive, as server-sent events.
//!
//! One subscription to Redis a process feeds all streams of it. A stream that falls behind is
//! ended: the page comes back and asks anew. Every quarter of a minute the right to listen is
//! looked at again, so a session that ends takes its streams along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use net::shutdown::Stop;
use tokio::sync::broadcast;

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

/// Who listens in this process.
#[derive(Default)]
pub(crate) struct Hub {
    streams: Mutex<HashMap<u64, broadcast::Sender<Bytes>>>,
}

impl Hub {
    /// One more stream of `user`; None if there are `most`.
    fn join(&self, user: UserId, most: u64) -> Option<broadcast::Receiver<Bytes>> {
        let mut streams = self.streams.lock().expect("no code panics while holding this lock");
        streams.retain(|_, sender| 0 < sender.receiver_count());
        let sender = streams.entry(user.0).or_insert_with(|| broadcast::channel(BEHIND_MAX).0);
        let room = u64::try_from(sender.receiver_count()).is_ok_and(|count| count < most);
        room.then(|| sender.subscribe())
    }

    fn tell(&self, user: UserId, text: Bytes) {
        let streams = self.streams.lock().expect("no code panics while holding this lock");
        if let Some(sender) = streams.get(&user.0) {
            // Nobody listening any more is no error.
            sender.send(text).ok();
        }
    }

    /// Ends all streams.
    fn close(&self) {
        self.streams.lock().expect("no code panics while holding this lock").clear();
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
        tokio::time::sleep(RESUBSCRIBE_AFTER).await;
    }
    app.hub.close();
}

async fn listen(app: &App) {
    let mut messages = match app.cache.subscribe(CHANNELS).await {
        Ok(messages) => messages,
        Err(error) => return log::warn!("listen for events: {error}"),
    };
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
    let events = app.hub.join(user.id, most).ok_or(WebError::TooManyAttempts(60))?;
    let follower = Follower { app: app.clone(), request, events };
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
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            event = self.events.recv() => event.ok(),
            () = tokio::time::sleep(BEAT_EVERY) => {
                self.app.user(&self.request).await.ok()?;
                Some(Bytes::from_static(b": still here\n\n"))
            }
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
        let mut first = hub.join(one, 2).unwrap();
        let mut second = hub.join(one, 2).unwrap();
        assert!(hub.join(one, 2).is_none(), "one too many");
        let mut other = hub.join(two, 2).unwrap();
        hub.tell(one, Bytes::from_static(b"x"));
        hub.tell(UserId(3), Bytes::from_static(b"y"));
        assert_eq!(&first.recv().await.unwrap()[..], b"x");
        assert_eq!(&second.recv().await.unwrap()[..], b"x");
        assert!(other.try_recv().is_err());
        drop((first, second));
        assert!(hub.join(one, 1).is_some(), "who left makes room");
        hub.close();
        assert!(other.recv().await.is_err());
    }
}
