//! What this nginx knows of the store: its groups, where their files lie here, and who else has
//! them.
//!
//! Made by `conf` while nginx reads its configuration; `elsewhere` asks it for members. The
//! `members` file of a group is read again when it has changed, at most once a second and only
//! when a file is not here. Opens no connection: nginx's own proxy does.

use std::cell::RefCell;
use std::fs::Metadata;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use proto::fileid::{STORE_PATHS_MAX, SourceId};
use proto::ids::{GroupName, StorePath};
use proto::members::{Member, Members};

/// Bytes of a `members` file; a longer one is none.
const FILE_LEN_MAX: u64 = 256 * 1024;
/// How long a member that did not answer is asked last.
const DOWN_SECS: u64 = 10;

/// Every group that requests can name.
#[derive(Debug, Default)]
pub(crate) struct Site {
    groups: Vec<Group>,
}

/// One group; without store paths if none of its storages is on this machine.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    /// The `data` directories, each with a slash at its end.
    pub(crate) data_dirs: Vec<Vec<u8>>,
    roster: RefCell<Roster>,
}

/// A member, and how its nginx is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    /// The port of its nginx, if it is not the one that every server listens on.
    pub(crate) port: Option<u16>,
    /// Where browsers reach it, such as `https://s2.example.com`.
    pub(crate) url: Option<String>,
}

#[derive(Debug, Default)]
struct Roster {
    /// From directives; they stand before those of the file.
    fixed: Vec<Peer>,
    told: Vec<Peer>,
    file: Option<PathBuf>,
    stamp: Option<Stamp>,
    looked: u64,
    down: Vec<(IpAddr, u64)>,
}

/// What changes when a file is replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp(u64, i64, i64, u64);

impl Stamp {
    fn of(about: &Metadata) -> Self {
        Self(about.ino(), about.mtime(), about.mtime_nsec(), about.size())
    }
}

impl Site {
    pub(crate) fn find(&self, name: GroupName) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group of this name, made if it is not there.
    pub(crate) fn group(&mut self, name: GroupName) -> &mut Group {
        let at = self.groups.iter().position(|group| group.name == name);
        let at = at.unwrap_or_else(|| {
            let roster = RefCell::default();
            self.groups.push(Group { name, data_dirs: Vec::new(), roster });
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }
}

impl Group {
    /// Number of store paths, the first being M00; any if there are none here.
    pub(crate) fn store_paths(&self) -> u16 {
        match u16::try_from(self.data_dirs.len()) {
            Ok(0) | Err(_) => STORE_PATHS_MAX,
            Ok(count) => count,
        }
    }

    pub(crate) fn data_dir(&self, path: StorePath) -> Option<&[u8]> {
        self.data_dirs.get(usize::from(path.0)).map(Vec::as_slice)
    }

    /// Adds a member that a directive or an old configuration names.
    pub(crate) fn add_peer(&mut self, peer: Peer) {
        self.roster.get_mut().fixed.push(peer);
    }

    pub(crate) fn has_peers(&mut self) -> bool {
        let roster = self.roster.get_mut();
        roster.file.is_some() || !roster.fixed.is_empty()
    }

    /// Takes the members of a file, and reads it again from time to time.
    pub(crate) fn follow(&mut self, file: PathBuf, members: Option<&Members>) {
        let roster = self.roster.get_mut();
        let about = members.and_then(|_| std::fs::metadata(&file).ok());
        roster.stamp = about.as_ref().map(Stamp::of);
        roster.file = Some(file);
        roster.told = members.map(|members| peers(&members.members)).unwrap_or_default();
    }

    /// Finds out which members are this machine, where nobody has said so.
    pub(crate) fn recognise_own(&mut self) {
        self.roster.get_mut().recognise_own();
    }

    /// The members that may have a file which `source` made, in the order in which to ask them:
    /// the source, then the others from a place that `spread` chooses, and last those that have
    /// not answered lately. Never this machine. What went wrong with the file goes to `report`.
    pub(crate) fn ask(
        &self,
        source: SourceId,
        spread: u32,
        now: u64,
        report: impl FnOnce(String),
    ) -> Vec<Peer> {
        let mut roster = self.roster.borrow_mut();
        roster.refresh(self.name, now, report);
        roster.down.retain(|(_, until)| now < *until);
        let mut all: Vec<&Peer> = roster.all().filter(|peer| peer.is_candidate()).collect();
        if !all.is_empty() {
            let by = usize::try_from(spread).unwrap_or(0) % all.len();
            all.rotate_left(by);
        }
        let down = |peer: &Peer| roster.down.iter().any(|(ip, _)| *ip == peer.member.address);
        // A stable sort: what is equal stays in the order of the rotation.
        all.sort_by_key(|peer| (down(peer), !peer.member.made(source)));
        all.into_iter().cloned().collect()
    }

    /// Whether this machine made the files of `source`.
    pub(crate) fn is_own(&self, source: SourceId) -> bool {
        let roster = self.roster.borrow();
        roster.all().any(|peer| peer.member.own && peer.member.made(source))
    }

    /// Remembers for a while that a member did not answer.
    pub(crate) fn did_not_answer(&self, at: IpAddr, now: u64) {
        let mut roster = self.roster.borrow_mut();
        roster.down.retain(|(ip, _)| *ip != at);
        roster.down.push((at, now.saturating_add(DOWN_SECS)));
    }
}

impl Peer {
    fn is_candidate(&self) -> bool {
        !self.member.own && self.member.may_serve()
    }

    /// Where its nginx listens, if all of them listen on `port` unless said otherwise.
    pub(crate) fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.member.address, self.port.unwrap_or(port))
    }
}

impl Roster {
    fn all(&self) -> impl Iterator<Item = &Peer> {
        let known = |peer: &&Peer| {
            let fixed = self.fixed.iter();
            !fixed.into_iter().any(|other| other.member.address == peer.member.address)
        };
        self.fixed.iter().chain(self.told.iter().filter(known))
    }

    /// Reads the file again if it has changed. A file that cannot be read or understood leaves
    /// everything as it was.
    fn refresh(&mut self, group: GroupName, now: u64, report: impl FnOnce(String)) {
        let Some(path) = self.file.clone().filter(|_| self.looked != now) else { return };
        self.looked = now;
        let Ok(about) = std::fs::metadata(&path) else { return };
        let stamp = Some(Stamp::of(&about));
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match read(&path) {
            Ok(members) if members.group == group => {
                self.told = peers(&members.members);
                self.recognise_own();
            }
            Ok(members) => {
                let (path, other) = (path.display(), members.group);
                report(format!("\"{path}\" is now about {other}: kept the old members"));
            }
            Err(why) => report(format!("{why}: kept the old members")),
        }
    }

    fn recognise_own(&mut self) {
        if self.all().any(|peer| peer.member.own) {
            return;
        }
        for peer in self.fixed.iter_mut().chain(&mut self.told) {
            // Only an address of this machine can be bound to; no packet is sent.
            peer.member.own = UdpSocket::bind((peer.member.address, 0)).is_ok();
        }
    }
}

fn peers(members: &[Member]) -> Vec<Peer> {
    members.iter().map(|member| Peer { member: *member, port: None, url: None }).collect()
}

/// Reads a `members` file. The error names it.
pub(crate) fn read(path: &std::path::Path) -> Result<Members, String> {
    let shown = path.display();
    let about = std::fs::metadata(path).map_err(|error| format!("\"{shown}\": {error}"))?;
    if FILE_LEN_MAX < about.len() {
        return Err(format!("\"{shown}\": longer than {FILE_LEN_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("\"{shown}\": {error}"))?;
    Members::parse(&text).map_err(|error| format!("\"{shown}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1\ngroup_name = group1\nstore_path = /s\n\
        member = 10.0.0.1 self\nmember = 10.0.0.2\nmember = 10.0.0.3\nmember = 10.0.0.4 \
        state=DELETED\nmember = 10.0.0.5\n";

    fn group(text: &str) -> Group {
        let members = Members::parse(text).expect("the tests use good ones");
        let mut site = Site::default();
        site.group(members.group).follow(PathBuf::from("/nowhere/members"), Some(&members));
        site.groups.remove(0)
    }

    fn order(group: &Group, source: u8, spread: u32, now: u64) -> Vec<u8> {
        let asked = group.ask(SourceId([10, 0, 0, source]), spread, now, |_| {});
        let last = |peer: Peer| match peer.member.address {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        };
        asked.into_iter().map(last).collect()
    }

    #[test]
    fn the_source_is_asked_first_and_this_machine_never() {
        let group = group(TEXT);
        assert_eq!(order(&group, 3, 0, 1), [3, 2, 5]);
        assert_eq!(order(&group, 3, 1, 1), [3, 5, 2]);
        assert_eq!(order(&group, 1, 0, 1), [2, 3, 5]);
        assert_eq!(order(&group, 1, 2, 1), [5, 2, 3]);
        assert_eq!(order(&group, 9, 0, 1), [2, 3, 5], "a stranger is never asked");
        assert!(group.is_own(SourceId([10, 0, 0, 1])) && !group.is_own(SourceId([10, 0, 0, 2])));
    }

    #[test]
    fn who_did_not_answer_is_asked_last_for_a_while() {
        let group = group(TEXT);
        group.did_not_answer("10.0.0.3".parse().expect("an address"), 100);
        assert_eq!(order(&group, 3, 0, 109), [2, 5, 3]);
        assert_eq!(order(&group, 3, 0, 110), [3, 2, 5]);
    }

    #[test]
    fn directives_go_before_the_file() {
        let mut group = group(TEXT);
        let [member] =
            Members::parse("version = 1\ngroup_name = a\nstore_path = /\nmember = 10.0.0.2")
                .expect("a good one")
                .members[..]
        else {
            panic!("one line")
        };
        group.add_peer(Peer { member, port: Some(81), url: None });
        let asked = group.ask(SourceId([10, 0, 0, 2]), 0, 1, |_| {});
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[0].socket(80), "10.0.0.2:81".parse().expect("an address"));
        assert_eq!(asked[1].socket(80).port(), 80);
    }
}
