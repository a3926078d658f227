//! The file is not here, or not as it was stored: which members to ask, and the final answer.
//!
//! Called by `handler`. Only members that this nginx was told of are ever asked, the source of
//! the file first, through nginx's own proxy or by sending the client there. A request that
//! another server has sent here goes no further.

use std::net::SocketAddr;
use std::rc::Rc;

use proto::fileid::Kind;
use proto::ids::GroupName;
use proto::query::Query;
use proto::token;

use crate::access::HOP;
use crate::conf::{Conf, Mode};
use crate::ffi::{Level, Request, Status};
use crate::handler::{Refusal, Wanted};
use crate::site::{Peer, Site};
use crate::verify;

/// The parameter by which servers of the C module know that a client was sent to them.
const MARK: &str = "redirect";
/// Where servers listen, if neither the configuration nor the listener says it.
const PORT: u16 = 80;

/// One request on its way to other members.
#[derive(Debug)]
pub(crate) struct Hop {
    site: Rc<Site>,
    group: GroupName,
    peers: Vec<SocketAddr>,
    asked: usize,
    /// The header that ends a circle; see `access`.
    pub(crate) pass: String,
    /// What the name says about the size, if it does.
    size: Option<u64>,
    /// Somebody who may have the file could not be asked, or is known to have it.
    unreachable: bool,
    /// The last answer was refused by us, not by the member.
    refused: bool,
}

/// What is done with the head of a member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Pass,
    /// Not the size that the name says.
    WrongSize,
    /// Absent there, but not everybody could be asked: no proof that it is gone.
    NotFinal,
}

/// Answers a request for a file that cannot be served from here.
pub(crate) fn next(
    request: &mut Request<'_>,
    conf: &Conf,
    wanted: &Wanted,
    why: Refusal,
) -> Result<Status, Refusal> {
    let Some(site) = conf.site() else { return Err(why) };
    let Some(group) = site.find(wanted.group) else { return Err(why) };
    if request.header(HOP.as_bytes()).is_some() {
        // The header can be forged: nobody may keep what it leads to.
        request.set_cache_control("no-store")?;
        return Err(why);
    }
    let source = wanted.record.source;
    if Query::new(request.args()).raw(MARK).is_some() {
        let here = matches!(why, Refusal::NotHere(_) | Refusal::Open { .. });
        let is_final = !here || group.is_own(source);
        return Err(if is_final { why } else { Refusal::Circle });
    }
    let mode = conf.replica_mode();
    if mode == Mode::Off {
        return Err(why);
    }
    let mut report = None;
    let peers = group.ask(source, wanted.record.crc32, request.now(), |text| report = Some(text));
    if let Some(text) = report {
        request.log(Level::Warn, 0, &text);
    }
    if peers.is_empty() {
        return Err(why);
    }
    // A copy that is damaged or cannot be read shows that the file is not gone.
    let mut known = true;
    // The client is served all the same, so this is where damage is reported.
    match why {
        Refusal::NotHere(_) => known = false,
        Refusal::Open { errno, .. } => known = !is_absent(errno),
        Refusal::Damaged { size } => {
            let what = format!("the file has {size} bytes, its name says otherwise: damaged");
            request.log(Level::Critical, 0, &what);
        }
        Refusal::Sum { found, named } => {
            request.log(Level::Critical, 0, &verify::complaint(found, named));
        }
        _ => {}
    }
    let port = conf.replica_port().or_else(|| request.local_port()).unwrap_or(PORT);
    match (mode, conf.proxy) {
        (Mode::Redirect, _) => {
            let target = target(request, &peers, port);
            request.redirect(&target)
        }
        (_, Some(proxy)) => {
            let hop = Hop {
                site: Rc::clone(site),
                group: wanted.group,
                peers: peers.iter().map(|peer| peer.socket(port)).collect(),
                asked: 0,
                pass: pass(request, conf, wanted),
                size: (wanted.kind == Kind::Normal && wanted.name.slot().is_none())
                    .then(|| wanted.record.size.size()),
                unreachable: known,
                refused: false,
            };
            Ok(request.proxy(proxy, hop))
        }
        (_, None) => Err(why),
    }
}

/// Whether an error of opening says that the file is not there.
pub(crate) fn is_absent(errno: i32) -> bool {
    use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    let kind = std::io::Error::from_raw_os_error(errno).kind();
    matches!(kind, NotFound | NotADirectory | InvalidFilename)
}

/// What tells the next server not to go on, and, signed, that the client may have the file.
fn pass(request: &Request<'_>, conf: &Conf, wanted: &Wanted) -> String {
    let file = [wanted.group.as_str(), wanted.name.as_str()].join("/");
    let key = conf.rules.keys.first();
    key.map_or_else(|| "1".to_owned(), |key| token::sign_hop(key, &file, request.now()))
}

/// Where a client is sent: the same address at the first member, with the scheme it came with.
fn target(request: &Request<'_>, peers: &[Peer], port: u16) -> String {
    let (target, query) = request.target();
    let scheme = if request.is_tls() { "https" } else { "http" };
    let base = peers.first().map(|peer| match &peer.url {
        Some(url) => url.clone(),
        None => {
            let socket = peer.socket(port);
            let plain = if request.is_tls() { 443 } else { PORT };
            match socket {
                _ if socket.port() != plain => format!("{scheme}://{socket}"),
                SocketAddr::V4(socket) => format!("{scheme}://{}", socket.ip()),
                SocketAddr::V6(socket) => format!("{scheme}://[{}]", socket.ip()),
            }
        }
    });
    let separator = match query {
        b"" => '?',
        _ => '&',
    };
    let target = String::from_utf8_lossy(target).into_owned();
    format!("{}{target}{separator}{MARK}=1", base.unwrap_or_default())
}

impl Hop {
    /// How many members can be asked.
    pub(crate) fn tries(&self) -> usize {
        self.peers.len()
    }

    /// The next member.
    pub(crate) fn ask_next(&mut self) -> Option<SocketAddr> {
        let peer = self.peers.get(self.asked).copied();
        self.asked += 1;
        peer
    }

    /// A member has answered, or has failed to.
    pub(crate) fn ended(&mut self, failed: bool, now: u64) {
        let ours = std::mem::take(&mut self.refused);
        if !failed || ours {
            return;
        }
        self.unreachable = true;
        let last = self.asked.checked_sub(1).and_then(|at| self.peers.get(at));
        if let (Some(peer), Some(group)) = (last, self.site.find(self.group)) {
            group.did_not_answer(peer.ip(), now);
        }
    }

    /// Whether an answer may go to the client. `left` is how many others can still be asked.
    pub(crate) fn judge(&mut self, status: u32, len: Option<u64>, left: usize) -> Judgement {
        let judgement = match (status, len, self.size) {
            (200, Some(len), Some(size)) if len != size => Judgement::WrongSize,
            (404, ..) if self.unreachable && left == 0 => Judgement::NotFinal,
            _ => Judgement::Pass,
        };
        self.refused = judgement != Judgement::Pass;
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop() -> Hop {
        let group = GroupName::parse("group1").expect("it is good");
        Hop {
            site: Rc::default(),
            group,
            peers: vec!["10.0.0.1:80".parse().expect("an address"); 2],
            asked: 0,
            pass: String::new(),
            size: Some(10),
            unreachable: false,
            refused: false,
        }
    }

    #[test]
    fn every_member_is_asked_once() {
        let mut hop = hop();
        assert_eq!((0..9).filter(|_| hop.ask_next().is_some()).count(), hop.tries());
    }

    #[test]
    fn absence_is_final_only_if_everybody_was_asked() {
        let mut all = hop();
        assert_eq!(all.judge(404, Some(150), 0), Judgement::Pass);
        let mut some = hop();
        some.ask_next();
        some.ended(true, 0);
        assert_eq!(some.judge(404, Some(150), 1), Judgement::Pass, "nginx asks the next");
        assert_eq!(some.judge(404, Some(150), 0), Judgement::NotFinal);
        assert_eq!(some.judge(200, Some(10), 0), Judgement::Pass);
    }

    #[test]
    fn another_size_is_another_file() {
        let mut hop = hop();
        for (status, len, judgement) in [
            (200, Some(10), Judgement::Pass),
            (200, Some(11), Judgement::WrongSize),
            (200, None, Judgement::Pass),
            (206, Some(3), Judgement::Pass),
            (304, None, Judgement::Pass),
        ] {
            assert_eq!(hop.judge(status, len, 0), judgement, "{status} {len:?}");
        }
    }
}
