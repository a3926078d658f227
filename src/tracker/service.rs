//! Connections: a request becomes an event, its answer becomes bytes.
//!
//! One task per connection; its requests are handled one after the other. Nothing is decided
//! here but what the frame of a message decides.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use log::{debug, info};
use net::conn::{Conn, ConnError};
use net::metrics::Page;
use net::ports::Fut;
use net::shutdown::Stop;
use proto::command::Command;
use proto::header::Header;
use proto::status::Status;
use proto::tracker::beat::Connections;
use proto::tracker::join::Join;

use crate::cluster::{Answer, Event, Session};
use crate::effects::Shared;

mod answer; // answers to bytes
mod event; // bytes to events

/// The reference reserves places for connections in steps of this many.
const ALLOCATION_STEP: u32 = 256;

/// What must be settled with the other trackers before a storage may join. A trait, because
/// connections know nothing of other trackers.
pub(crate) trait BeforeJoin: std::fmt::Debug + Send + Sync {
    /// Returns when the join may go on, or the status that turns it away.
    fn settle<'a>(&'a self, session: &'a Session, join: &'a Join) -> Fut<'a, Result<(), Status>>;
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Service {
    shared: Arc<Shared>,
    before_join: Arc<dyn BeforeJoin>,
    /// Bytes of a request's body at most.
    body_len_max: usize,
    connections_max: u32,
    current: AtomicU32,
    max: AtomicU32,
}

impl Service {
    pub(crate) fn new(
        shared: Arc<Shared>,
        before_join: Arc<dyn BeforeJoin>,
        package_len_max: usize,
        connections_max: usize,
    ) -> Self {
        Self {
            shared,
            before_join,
            body_len_max: package_len_max.saturating_sub(Header::LEN),
            connections_max: u32::try_from(connections_max).unwrap_or(u32::MAX),
            current: AtomicU32::new(0),
            max: AtomicU32::new(0),
        }
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(&self, mut conn: Conn, mut stop: Stop) {
        let peer = conn.peer();
        let local = conn.stream().tcp().and_then(|tcp| tcp.local_addr().ok());
        let local = local.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| local.ip());
        let mut session = Session::new(peer.ip().to_canonical(), local.to_canonical());
        let open = self.current.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.max.fetch_max(open, Ordering::Relaxed);
        let ended = self.requests(&mut conn, &mut session, &mut stop).await;
        self.current.fetch_sub(1, Ordering::Relaxed);
        match ended {
            Ok(()) => debug!("{peer} has left"),
            Err(error) if error.is_ordinary() => debug!("{peer}: {error}"),
            Err(error) => info!("closed the connection of {peer}: {error}"),
        }
        // While the process ends, storages are not taken offline: they did not leave.
        if session.is_missed() && !stop.is_raised() {
            self.shared.change(|cluster, _| cluster.closed(&mut session)).await;
        }
    }

    async fn requests(
        &self,
        conn: &mut Conn,
        session: &mut Session,
        stop: &mut Stop,
    ) -> Result<(), ConnError> {
        while let Some(header) = conn.next_request(stop).await? {
            let body = conn.body(header.body_len, self.body_len_max).await?;
            match self.reply(session, header.cmd, &body).await {
                Ok(body) => conn.answer(&body).await?,
                Err(status) => {
                    debug!("{} cmd {}: {status}", conn.peer(), header.cmd);
                    conn.refuse(status).await?;
                }
            }
        }
        Ok(())
    }

    /// The body of the answer, or the status that refuses the request.
    async fn reply(&self, session: &mut Session, cmd: u8, body: &[u8]) -> Result<Vec<u8>, Status> {
        let command = Command::try_from(cmd).map_err(|_| Status::EINVAL)?;
        let uses_ids = self.shared.uses_ids();
        let mut out = Vec::new();
        let answer = match event::decode(command, body, session, uses_ids)? {
            event::Decoded::Done => return Ok(out),
            event::Decoded::Event(Event::TrackerStat(filter, _)) => {
                let event = Event::TrackerStat(filter, self.connections());
                self.shared.apply(session, event).await?
            }
            event::Decoded::Event(event) => {
                if let Event::Join(join) = &event {
                    self.before_join.settle(session, join).await?;
                }
                self.shared.apply(session, event).await?
            }
        };
        answer::encode(&answer, self.shared.address_width(), &mut out);
        debug_assert!(answer != Answer::Empty || out.is_empty(), "an empty answer has no body");
        Ok(out)
    }

    /// Writes the page of metrics.
    pub(crate) fn metrics(&self, page: &mut Page) {
        let (groups, leads) = self.shared.look(|cluster| (cluster.overview(), cluster.leads()));
        crate::metrics::gather(&groups, leads, self.connections(), page);
    }

    /// How many connections there are, and were at most.
    pub(crate) fn connections(&self) -> Connections {
        let max = self.max.load(Ordering::Relaxed);
        let allocated = max.div_ceil(ALLOCATION_STEP).saturating_mul(ALLOCATION_STEP);
        Connections {
            allocated: allocated.min(self.connections_max),
            current: self.current.load(Ordering::Relaxed),
            max,
        }
    }
}
