//! Pictures that are being made, each once for all who ask for it meanwhile.
//!
//! Used by `thumb`, in one process: a worker with several may make a picture in each. Knows nothing
//! of pictures but their addresses, and keeps none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::WebError;

/// What became of a picture; None: it is being made.
type Made = Option<Result<Bytes, Refused>>;

/// Why there is none, for all who waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NoThumbnail,
    Busy,
}

/// The pictures under way, by their address.
#[derive(Debug, Default)]
pub(crate) struct Making {
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Made>>>>,
}

impl Making {
    /// The picture at `place`: made by `make` on a task of its own, unless that is under way.
    pub(crate) async fn join<F>(
        &self,
        place: &str,
        make: impl FnOnce() -> F,
    ) -> Result<Bytes, WebError>
    where
        F: Future<Output = Result<Bytes, WebError>> + Send + 'static,
    {
        let mut made = self.find(place, make);
        match made.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(picture))) => Ok(picture.clone()),
            Ok(Some(Err(Refused::NoThumbnail))) => Err(WebError::NoThumbnail),
            // Or the task ended without a word, which only a panic does.
            _ => Err(WebError::Busy("no picture can be made now")),
        }
    }

    fn find<F>(&self, place: &str, make: impl FnOnce() -> F) -> watch::Receiver<Made>
    where
        F: Future<Output = Result<Bytes, WebError>> + Send + 'static,
    {
        let mut all = self.under_way.lock().expect("no code panics while holding this lock");
        if let Some(made) = all.get(place) {
            return made.clone();
        }
        let (tell, made) = watch::channel(None);
        all.insert(place.to_owned(), made.clone());
        let mine = Mine { place: place.to_owned(), under_way: self.under_way.clone() };
        let making = make();
        tokio::spawn(async move {
            let done = making.await.map_err(|error| refused(&error));
            tell.send_replace(Some(done));
            drop(mine);
        });
        made
    }
}

fn refused(error: &WebError) -> Refused {
    match error {
        WebError::NoThumbnail => Refused::NoThumbnail,
        WebError::Busy(_) => Refused::Busy,
        other => {
            log::warn!("make a picture: {other}");
            Refused::Busy
        }
    }
}

/// The place of a picture among those under way, also if making it panics.
struct Mine {
    place: String,
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Made>>>>,
}

impl Drop for Mine {
    fn drop(&mut self) {
        let mut all = self.under_way.lock().expect("no code panics while holding this lock");
        all.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_picture_is_made_once_for_all_who_ask_meanwhile() {
        let making = Arc::new(Making::default());
        let count = Arc::new(AtomicU32::new(0));
        let (go, went) = watch::channel(false);
        let ask = |place: &'static str, fails: bool| {
            let (making, count, mut went) = (making.clone(), count.clone(), went.clone());
            tokio::spawn(async move {
                let make = || async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    went.wait_for(|go| *go).await.unwrap();
                    if fails { Err(WebError::NoThumbnail) } else { Ok(Bytes::from_static(b"x")) }
                };
                making.join(place, make).await
            })
        };
        let same: Vec<_> = (0..10).map(|_| ask("same", false)).collect();
        let none: Vec<_> = (0..10).map(|_| ask("none", true)).collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        go.send_replace(true);
        for one in same {
            assert_eq!(&one.await.unwrap().unwrap()[..], b"x");
        }
        for one in none {
            assert!(matches!(one.await.unwrap(), Err(WebError::NoThumbnail)));
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
        while !making.under_way.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(ask("same", false).await.unwrap().is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn one_that_panics_ends_for_all_who_wait() {
        let making = Making::default();
        let made = making.join("place", || async { panic!("as if") });
        assert!(matches!(made.await, Err(WebError::Busy(_))));
        assert!(making.under_way.lock().unwrap().is_empty());
    }
}
