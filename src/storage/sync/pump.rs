//! The work of one session with a peer: records out of the log, answers in, the mark behind them.
//!
//! Owned by `sender`, which opens and ends sessions. Nothing here connects anew after a failure
//! and nothing is retried: whatever fails ends the session.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use net::{client::ClientError, client::replicate::Link, ports::Moment, shutdown::Stop};
use proto::status::StorageState;
use tokio::{sync::watch, task::JoinSet};

use super::{
    deliver::{DeliverError, Outcome, deliver},
    mark::Course,
    pace::Pace,
    plan::{Stance, Ticket, Window, is_wanted, stance},
    quarantine,
    sender::{Ended, Sender, SessionError, connect},
};
use crate::{
    binlog::{
        Position,
        reader::{Item, Reader, What},
    },
    progress::Lag,
};

/// Records read from the log at once.
const READ_BATCH: usize = 256;
/// How often everything under way is waited for, so that a record on the connection that says
/// who we are is behind all others: only then may the peer take its time for granted.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(500);

/// What a record under way comes back with.
struct Landed {
    ticket: Ticket,
    item: Item,
    link: Option<Link>,
    is_main: bool,
    outcome: Outcome,
}

/// The work of one session.
pub(super) struct Pump<'a> {
    pub(super) sender: &'a mut Sender,
    pub(super) course: Course,
    reader: Option<Reader>,
    /// Read and not yet begun, in order.
    ahead: VecDeque<Item>,
    window: Window,
    pace: Pace,
    under_way: JoinSet<Landed>,
    main: Option<Link>,
    idle: Vec<Link>,
    announced: Moment,
    /// The peer had the last file before we sent it.
    already: bool,
    traffic: Moment,
}

impl<'a> Pump<'a> {
    pub(super) fn new(sender: &'a mut Sender, course: Course, main: Link) -> Self {
        let shared = &sender.shared;
        let dir = shared.dir();
        let reader = Reader::new(Arc::clone(&shared.store.disk), &dir, course.position());
        let now = shared.world.clock.moment();
        let window = Window::new(shared.config.sync_threads);
        let pace = Pace::new(shared.config.sync_interval, shared.config.sync_threads);
        Self {
            course,
            reader: Some(reader),
            ahead: VecDeque::new(),
            window,
            pace,
            under_way: JoinSet::new(),
            main: Some(main),
            idle: Vec::new(),
            announced: now,
            already: false,
            traffic: now,
            sender,
        }
    }

    /// Sends until something fails or the peer is not to be sent anything any more.
    pub(super) async fn run(&mut self, stop: &mut Stop) -> Result<Ended, SessionError> {
        let mut end = self.sender.shared.store.log.end();
        let outcome = self.steps(stop, &mut end).await;
        // Records under way are waited for: an answer that was given is not to be lost.
        while let Some(landed) = self.under_way.join_next().await {
            let landed = landed.expect("a panic has already ended the process");
            let failed = self.landed(landed).await;
            if let (Ok(_), Err(error)) = (&outcome, failed) {
                log::debug!("storage {}: {error}", self.sender.id);
            }
        }
        outcome
    }

    async fn steps(
        &mut self,
        stop: &mut Stop,
        end: &mut watch::Receiver<Position>,
    ) -> Result<Ended, SessionError> {
        loop {
            let fills = self.course.role().fills;
            match stance(self.sender.state(), fills) {
                Stance::Send => {}
                Stance::End => return Ok(Ended::Gone),
                // One that waits to be filled again has lost what it had: from the beginning.
                Stance::Wait | Stance::Begin => return Ok(Ended::Paused),
            }
            let open = self.sender.shared.config.sync_window.is_open(self.sender.shared.minute());
            if open {
                let end = *end.borrow_and_update();
                self.begin_records(end).await?;
            }
            let at_end = self.ahead.is_empty() && self.window.is_empty();
            if at_end && open {
                let end = *end.borrow();
                self.caught_up(end).await?;
            }
            let now = self.sender.shared.world.clock.moment();
            let pause = self.sender.shared.config.sync_wait;
            let pause = self.pace.rest(now).map_or(pause, |rest| rest.min(pause));
            tokio::select! {
                biased;
                () = stop.raised() => return Ok(Ended::Stopped),
                Some(landed) = self.under_way.join_next() => {
                    let landed = landed.expect("a panic has already ended the process");
                    self.landed(landed).await?;
                }
                changed = end.changed(), if at_end && open => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                }
                changed = self.sender.table.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                }
                () = tokio::time::sleep(pause), if self.window.is_empty() => self.alive().await?,
            }
        }
    }

    /// Begins as many records as may travel now.
    async fn begin_records(&mut self, end: Position) -> Result<(), SessionError> {
        let role = self.course.role();
        loop {
            if self.ahead.is_empty() && !self.read(end).await? {
                return Ok(());
            }
            let Some(item) = self.ahead.front() else { return Ok(()) };
            match &item.what {
                What::Record(record) if is_wanted(record, &role) => {
                    let now = self.sender.shared.world.clock.moment();
                    let waits = self.must_gather(now) || !self.pace.may_begin(now);
                    if waits || !self.window.has_room(record) {
                        return Ok(());
                    }
                    let item = self.ahead.pop_front().expect("it was there a moment ago");
                    self.begin(item).await?;
                }
                What::Record(_) => {
                    self.window.skip(item.next);
                    self.ahead.pop_front();
                    self.course.count(1, 0);
                }
                What::Damaged { text, why } => {
                    let (text, why, at) = (text.clone(), why.clone(), item.next);
                    self.aside(at, &why, &text).await?;
                    self.window.skip(at);
                    self.ahead.pop_front();
                }
                What::Missing => {
                    let at = item.next;
                    log::error!(
                        "a file of the binlog before {at} is missing: storage {} may lack what \
                         stood in it, compare with `fdfs resync`",
                        self.sender.id
                    );
                    self.aside(at, "a file of the binlog is missing", "").await?;
                    self.window.skip(at);
                    self.ahead.pop_front();
                }
            }
            let passed = self.window.passed();
            if passed.is_some() {
                self.tell(None, passed);
            }
            self.pass(passed).await?;
        }
    }

    /// Whether the next record has to wait for all before it, because it is time that the peer
    /// learns up to when it has everything.
    fn must_gather(&self, now: Moment) -> bool {
        !self.window.is_empty() && ANNOUNCE_EVERY <= now.since(self.announced)
    }

    /// Reads on in the log; false at its end.
    async fn read(&mut self, end: Position) -> Result<bool, SessionError> {
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        if end <= reader.position() {
            self.reader = Some(reader);
            return Ok(false);
        }
        let job = move || {
            let items = reader.batch(end, READ_BATCH);
            (reader, items)
        };
        let (reader, items) = self.sender.shared.store.gate.run(job).await;
        self.reader = Some(reader);
        self.ahead.extend(items?);
        Ok(!self.ahead.is_empty())
    }

    async fn begin(&mut self, item: Item) -> Result<(), SessionError> {
        let What::Record(record) = item.what.clone() else { return Ok(()) };
        let is_main = self.window.is_empty() && self.main.is_some();
        let link = if is_main { self.main.take() } else { self.idle.pop() };
        let ticket = self.window.start(&record, item.next);
        self.pace.begin();
        let tries = match self.sender.trouble {
            Some((at, tries)) if at == item.next => tries.saturating_add(1),
            _ => 1,
        };
        if is_main {
            self.announced = self.sender.shared.world.clock.moment();
        }
        let (shared, id, peer) =
            (Arc::clone(&self.sender.shared), self.sender.id, self.sender.peer());
        let probe = self.already;
        self.under_way.spawn(async move {
            let link = match (link, peer) {
                (Some(link), _) => Ok(link),
                (None, Some(peer)) => connect(&shared, id, peer).await,
                (None, None) => Err(ClientError::NoTracker),
            };
            match link {
                Err(error) => {
                    let outcome = Outcome::Failed(DeliverError::Client(error));
                    Landed { ticket, item, link: None, is_main, outcome }
                }
                Ok(mut link) => {
                    let outcome = deliver(&shared.store, &mut link, &record, probe, tries).await;
                    Landed { ticket, item, link: Some(link), is_main, outcome }
                }
            }
        });
        Ok(())
    }

    /// A record has come back.
    async fn landed(&mut self, landed: Landed) -> Result<(), SessionError> {
        let Landed { ticket, item, link, is_main, outcome } = landed;
        let (mut sent, mut keep) = (0, true);
        let failed = match outcome {
            Outcome::Skipped => None,
            Outcome::Done { already } => {
                self.already = already.unwrap_or(self.already);
                sent = 1;
                None
            }
            Outcome::Aside(why) => {
                let text = match &item.what {
                    What::Record(record) => record.to_string(),
                    _ => String::new(),
                };
                keep = false;
                self.aside(item.next, &why, &text).await?;
                None
            }
            Outcome::Failed(why) => Some(why),
        };
        if let (Some(mut link), true) = (link, keep && failed.is_none())
            && link.is_usable()
        {
            if is_main {
                self.main = Some(link);
            } else {
                self.idle.push(link);
            }
        }
        if let Some(why) = failed {
            let tries = match self.sender.trouble {
                Some((at, tries)) if at == item.next => tries.saturating_add(1),
                _ => 1,
            };
            if self
                .sender
                .trouble
                .is_none_or(|(at, _)| at == item.next || at < self.course.position())
            {
                self.sender.trouble = Some((item.next, tries));
            }
            let what = match &item.what {
                What::Record(record) => record.to_string(),
                _ => item.next.to_string(),
            };
            return Err(SessionError::Deliver { what, why });
        }
        self.traffic = self.sender.shared.world.clock.moment();
        self.window.answered(ticket);
        self.course.count(1, sent);
        let passed = self.window.passed();
        if self.window.is_empty() {
            self.pace.answered(self.traffic);
        }
        self.tell(Some(sent), passed);
        self.pass(passed).await?;
        if is_main && self.main.is_none() {
            let peer = self.sender.peer();
            if let Some(peer) = peer {
                self.main = Some(self.sender.introduced(peer).await?);
            }
        }
        Ok(())
    }

    /// Takes note of what is answered without a gap.
    async fn pass(&mut self, passed: Option<Position>) -> Result<(), SessionError> {
        let Some(at) = passed else { return Ok(()) };
        let rotated = self.course.position().file != at.file;
        self.course.move_to(at);
        if self.sender.trouble.is_some_and(|(trouble, _)| trouble <= at) {
            self.sender.trouble = None;
        }
        if rotated || self.sender.shared.config.mark_every <= self.course.unsaved() {
            self.course.save(&self.sender.shared).await?;
        }
        Ok(())
    }

    /// Tells that records were answered, so many of them sent, and how far the peer is.
    fn tell(&self, answered: Option<u64>, passed: Option<Position>) {
        let store = &self.sender.shared.store;
        let end = *store.log.end().borrow();
        store.progress.update(self.sender.id, |progress| {
            if let Some(sent) = answered {
                progress.sent = progress.sent.saturating_add(sent);
                progress.last_error = None;
            }
            progress.passed = passed.unwrap_or(progress.passed);
            if passed.is_some_and(|passed| end <= passed) {
                progress.lag = Lag::default(); // `lag` counts what there is, now and then
            }
        });
    }

    /// The peer has everything.
    async fn caught_up(&mut self, end: Position) -> Result<(), SessionError> {
        let role = self.course.role();
        if role.fills && !role.filled {
            log::info!("storage {} has its initial copy", self.sender.id);
            self.course.filled();
        }
        self.course.save(&self.sender.shared).await?;
        self.tell(None, Some(end.min(self.course.position())));
        if role.fills && self.sender.state() == StorageState::Syncing {
            self.sender.set_state(StorageState::Offline).await;
        }
        Ok(())
    }

    /// Nothing to send: keeps the connection from being forgotten on the way.
    async fn alive(&mut self) -> Result<(), SessionError> {
        let now = self.sender.shared.world.clock.moment();
        if now.since(self.traffic) < self.sender.shared.config.heart_beat_interval {
            return Ok(());
        }
        self.traffic = now;
        self.idle.clear();
        if let Some(main) = &mut self.main {
            main.active_test().await.map_err(SessionError::Idle)?;
        }
        Ok(())
    }

    /// Sets a record aside that the peer will never take.
    async fn aside(&mut self, at: Position, why: &str, text: &str) -> Result<(), SessionError> {
        let id = self.sender.id;
        log::error!("set aside for storage {id}, at {at}: {why}: {text}");
        let store = &self.sender.shared.store;
        let path = quarantine::path_beside(self.course.file().path());
        let (disk, now) = (Arc::clone(&store.disk), store.now());
        let (why, text) = (why.to_owned(), text.to_owned());
        let add = move || quarantine::add(&*disk, &path, now, at, &why, &text);
        store.gate.run(add).await?;
        store.progress.update(id, |progress| {
            progress.aside = progress.aside.saturating_add(1);
            progress.aside_at = Some(at);
        });
        Ok(())
    }
}
