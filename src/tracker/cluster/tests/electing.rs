//! Several trackers in one thread: who leads, through deaths and partitions; and whose files a
//! tracker without data takes over.
//!
//! Trackers talk as their shells would: each task is carried out against the other clusters,
//! except over links that are cut. Time is counted in tasks.

use proptest::collection::vec;
use proptest::prelude::*;

use proto::tracker::beat::Connections;
use proto::tracker::leader::TrackerStatus;

use super::*;

/// Addresses in text order are 10.0.0.1, 10.0.0.12, 10.0.0.3: the last one wins a tie.
const TRACKERS: [&str; 3] = ["10.0.0.1", "10.0.0.12", "10.0.0.3"];
/// Turns within which trackers that can talk must agree: three pings that fail, the choice,
/// and a few attempts that disturb each other.
const TURNS_MAX: usize = 30;

fn host(text: &str) -> TrackerHost {
    TrackerHost { addresses: Addresses::one(ip(text)), port: 22122 }
}

/// A storage that lists all trackers joins the one at `tracker`.
fn join_at(tracker: &str) -> Join {
    let trackers = TRACKERS.map(host).to_vec();
    Join { trackers, tracker: Some(ip(tracker)), ..first_join("group1") }
}

struct Tracker {
    cluster: Cluster,
    heard: Heard,
    /// Its connection to the leader: which one, and the leader's side of it.
    link: Option<(usize, Session)>,
    up: bool,
    /// Turns to rest yet.
    rest: u64,
}

struct Trackers {
    all: Vec<Tracker>,
    now: UnixTime,
    /// Pairs that cannot talk, in one direction.
    cut: Vec<(usize, usize)>,
    dice: u32,
}

impl Trackers {
    /// All of them, started so many seconds ago, each with a storage.
    fn new(ages: &[i64]) -> Self {
        let start = |(text, age): (&&str, &i64)| {
            let mut cluster = Cluster::new(policy(), UnixTime(NOON.0 - age));
            let mut session = Session::new(ip("10.0.0.11"), ip(text));
            let join = Event::Join(Box::new(join_at(text)));
            cluster.apply(NOON, &mut session, join).0.unwrap();
            Tracker { cluster, heard: Heard::Nothing, link: None, up: true, rest: 0 }
        };
        let all = TRACKERS.iter().zip(ages).map(start).collect();
        Self { all, now: NOON, cut: Vec::new(), dice: 1 }
    }

    /// The status of the answer, or that there was no connection.
    fn ask(&mut self, from: usize, to: usize, event: Event) -> Option<Result<Answer, Refusal>> {
        let session = Session::new(ip(TRACKERS[from]), ip(TRACKERS[to]));
        self.ask_over(from, to, session, event).map(|(answer, _)| answer)
    }

    fn ask_over(
        &mut self,
        from: usize,
        to: usize,
        mut session: Session,
        event: Event,
    ) -> Option<(Result<Answer, Refusal>, Session)> {
        if !self.all[to].up || self.cut.contains(&(from, to)) {
            return None;
        }
        let answer = self.all[to].cluster.apply(self.now, &mut session, event).0;
        Some((answer, session))
    }

    fn told(&mut self, from: usize, peers: &[Peer], event: &Event) -> Vec<Told> {
        let mut all = Vec::new();
        for peer in peers {
            let told = match self.ask(from, peer.place, event.clone()) {
                None => Told::Unreachable,
                Some(Ok(_)) => Told::Accepted,
                Some(Err(_)) => Told::Refused,
            };
            all.push(told);
            if told == Told::Refused {
                break;
            }
        }
        all
    }

    fn ping(&mut self, from: usize, to: usize, hello: JoinLeader) -> bool {
        let link = self.all[from].link.take().filter(|(place, _)| *place == to);
        let session = match link {
            Some((_, session)) => session,
            None => {
                let fresh = Session::new(ip(TRACKERS[from]), ip(TRACKERS[to]));
                match self.ask_over(from, to, fresh, Event::JoinLeader(hello)) {
                    Some((Ok(_), session)) => session,
                    _ => return false,
                }
            }
        };
        match self.ask_over(from, to, session, Event::PingLeader(Connections::default())) {
            Some((Ok(_), session)) => {
                self.all[from].link = Some((to, session));
                true
            }
            _ => false,
        }
    }

    /// One task of one tracker, carried out.
    fn step(&mut self, ix: usize) {
        if !self.all[ix].up {
            return;
        }
        if 0 < self.all[ix].rest {
            self.all[ix].rest -= 1;
            return;
        }
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let heard = std::mem::replace(&mut self.all[ix].heard, Heard::Nothing);
        let task = self.all[ix].cluster.election(self.now, heard, self.dice >> 8).0;
        let next = |text: &str| text.parse().unwrap();
        self.all[ix].heard = match task {
            Task::Rest { millis } => {
                self.all[ix].rest = millis / 500;
                Heard::Nothing
            }
            Task::AskStatus(peers) => {
                let ask = |peer: &Peer| match self.ask(ix, peer.place, Event::TrackerStatus) {
                    Some(Ok(Answer::TrackerStatus(status))) => Some(status),
                    _ => None,
                };
                Heard::Statuses(peers.iter().map(ask).collect())
            }
            Task::Notify(peers, text) => {
                Heard::Notified(self.told(ix, &peers, &Event::NotifyNextLeader(next(&text))))
            }
            Task::Commit(peers, text) => {
                Heard::Committed(self.told(ix, &peers, &Event::CommitNextLeader(next(&text))))
            }
            Task::Ping(peer, hello) => Heard::Pinged(self.ping(ix, peer.place, hello)),
        };
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count * 4 {
            (0..self.all.len()).for_each(|ix| self.step(ix));
        }
    }

    /// Whom each living tracker believes to lead.
    fn views(&self) -> Vec<Option<usize>> {
        let up = self.all.iter().filter(|tracker| tracker.up);
        up.map(|tracker| tracker.cluster.trackers.leader).collect()
    }

    fn leaders(&self) -> Vec<usize> {
        let leads = |ix: &usize| self.all[*ix].up && self.all[*ix].cluster.trackers.is_leader();
        (0..self.all.len()).filter(leads).collect()
    }

    /// What storages do that are told of two leaders.
    fn complain(&mut self) {
        let leaders = self.leaders();
        if 1 < leaders.len() {
            for ix in leaders {
                let mut storage = Session::new(ip("10.0.0.11"), ip(TRACKERS[ix]));
                let answer = self.all[ix].cluster.apply(self.now, &mut storage, Event::Reselect).0;
                assert_eq!(answer, Ok(Answer::Empty));
            }
        }
    }
}

#[test]
fn trackers_agree_on_the_one_that_runs_longest() {
    for (ages, leads) in
        [([9000, 10, 10], 0), ([10, 9000, 10], 1), ([10, 10, 10], 2), ([10, 299, 10], 2)]
    {
        let mut trackers = Trackers::new(&ages);
        trackers.turns(TURNS_MAX);
        assert_eq!(trackers.views(), [Some(leads); 3], "ages {ages:?}");
        assert_eq!(trackers.leaders(), [leads]);
    }
}

#[test]
fn when_the_leader_dies_another_one_leads_and_keeps_leading() {
    let mut trackers = Trackers::new(&[9000, 10, 600]);
    trackers.turns(TURNS_MAX);
    trackers.all[0].up = false;
    trackers.turns(TURNS_MAX);
    assert_eq!(trackers.views(), [Some(2); 2]);
    // The old one is back, and adopts whoever leads although it has run longer.
    trackers.all[0].up = true;
    trackers.all[0].cluster.trackers.step_down();
    trackers.turns(TURNS_MAX);
    assert_eq!(trackers.views(), [Some(2); 3]);
}

#[test]
fn the_leader_knows_how_its_followers_do() {
    let mut trackers = Trackers::new(&[9000, 10, 10]);
    trackers.turns(TURNS_MAX);
    let filter = proto::tracker::stat::TrackerFilter { active: None, leader: None };
    let figures = Connections { allocated: 3, current: 2, max: 3 };
    let asked = |trackers: &mut Trackers, ix| {
        trackers.ask(1, ix, Event::TrackerStat(filter, figures)).unwrap()
    };
    assert_eq!(asked(&mut trackers, 1), Err(Refusal::NotLeader));
    let Ok(Answer::TrackerStats(stats)) = asked(&mut trackers, 0) else { panic!("no list") };
    let all: Vec<_> = stats.iter().map(|s| (s.host.as_str(), s.is_leader, s.is_active)).collect();
    let hosts = ["10.0.0.1:22122", "10.0.0.12:22122", "10.0.0.3:22122"];
    assert_eq!(all, [(hosts[0], true, true), (hosts[1], false, true), (hosts[2], false, true)]);
    assert_eq!((stats[0].connections, stats[1].up_time), (figures, UnixTime(NOON.0 - 10)));
    // Silent for more than three seconds.
    trackers.now = UnixTime(NOON.0 + 4);
    let Ok(Answer::TrackerStats(stats)) = asked(&mut trackers, 0) else { panic!("no list") };
    assert!(stats[0].is_active && !stats[1].is_active && !stats[2].is_active);
}

#[test]
fn followers_are_refused_in_the_order_of_the_specification() {
    let mut trackers = Trackers::new(&[9000, 10, 10]);
    trackers.turns(TURNS_MAX);
    let version = Version::parse("6.16.1").unwrap();
    let hello = |port| JoinLeader { up_time: NOON, version, port };
    let mut ask = |to: usize, from: &str, session: Option<Session>, event| {
        let fresh = || Session::new(ip(from), ip(TRACKERS[to]));
        let mut session = session.unwrap_or_else(fresh);
        let answer = trackers.all[to].cluster.apply(NOON, &mut session, event).0;
        (answer, session)
    };
    let figures = Connections::default();
    assert_eq!(ask(1, TRACKERS[2], None, Event::JoinLeader(hello(1))).0, Err(Refusal::NotLeader));
    assert_eq!(ask(1, TRACKERS[2], None, Event::PingLeader(figures)).0, Err(Refusal::NotLeader));
    assert_eq!(
        ask(0, "10.0.0.99", None, Event::JoinLeader(hello(22122))).0,
        Err(Refusal::NotFound)
    );
    assert_eq!(ask(0, TRACKERS[2], None, Event::PingLeader(figures)).0, Err(Refusal::Invalid));
    let (joined, session) = ask(0, TRACKERS[2], None, Event::JoinLeader(hello(22122)));
    assert_eq!(joined, Ok(Answer::Empty));
    let again = ask(0, TRACKERS[2], Some(session.clone()), Event::JoinLeader(hello(22122))).0;
    assert_eq!(again, Err(Refusal::Exists));
    // The first ping is told of every group, the next of nothing new.
    let (first, session) = ask(0, TRACKERS[2], Some(session), Event::PingLeader(figures));
    assert!(matches!(first, Ok(Answer::TrunkServers(list)) if list.len() == 1));
    assert_eq!(ask(0, TRACKERS[2], Some(session), Event::PingLeader(figures)).0, Ok(Answer::Empty));
}

#[test]
fn nobody_becomes_leader_without_being_announced() {
    let mut trackers = Trackers::new(&[10, 10, 10]);
    let at = |text: &str| -> SocketAddr { format!("{text}:22122").parse().unwrap() };
    let mut ask = |event| trackers.ask(2, 0, event).unwrap();
    let commit = Event::CommitNextLeader;
    assert_eq!(ask(commit(at(TRACKERS[2]))), Err(Refusal::Invalid));
    assert_eq!(ask(Event::NotifyNextLeader(at("10.0.0.99"))), Err(Refusal::NotFound));
    assert_eq!(ask(Event::NotifyNextLeader(at(TRACKERS[1]))), Ok(Answer::Empty));
    assert_eq!(ask(commit(at(TRACKERS[2]))), Err(Refusal::Invalid));
    assert_eq!(ask(commit(at(TRACKERS[1]))), Ok(Answer::Empty));
    assert_eq!(ask(commit(at(TRACKERS[1]))), Err(Refusal::Invalid), "only once");
    assert_eq!(trackers.views()[0], Some(1));
    // A leader that hears of another one makes way.
    trackers.all[0].cluster.trackers.leader = Some(0);
    let notify = Event::NotifyNextLeader(at(TRACKERS[2]));
    assert_eq!(trackers.ask(2, 0, notify).unwrap(), Err(Refusal::Invalid));
    assert_eq!(trackers.leaders(), []);
}

proptest! {
    #[test]
    fn trackers_agree_once_the_network_heals(
        ages in prop::array::uniform3(0..2000i64),
        storm in vec((0..3usize, 0..3usize, 0..4u8, 1..6usize), 0..24),
        dice in any::<u32>(),
    ) {
        let mut trackers = Trackers::new(&ages);
        trackers.dice = dice;
        for (a, b, what, turns) in storm {
            match what {
                0 => trackers.cut.push((a, b)),
                1 => trackers.cut.retain(|cut| *cut != (a, b)),
                2 => {
                    // A process that dies forgets who leads.
                    trackers.all[a].up = false;
                    trackers.all[a].link = None;
                    trackers.all[a].heard = Heard::Nothing;
                    trackers.all[a].cluster.trackers.step_down();
                }
                _ => trackers.all[a].up = true,
            }
            trackers.turns(turns);
        }
        trackers.cut.clear();
        trackers.all.iter_mut().for_each(|tracker| tracker.up = true);
        trackers.turns(TURNS_MAX);
        trackers.complain();
        trackers.turns(TURNS_MAX);
        let leaders = trackers.leaders();
        prop_assert_eq!(leaders.len(), 1, "{:?}", trackers.views());
        prop_assert_eq!(trackers.views(), vec![Some(leaders[0]); 3]);
    }
}

fn status(is_leader: bool, running_secs: i64, restart_secs: i64) -> Answered {
    Answered::Status(TrackerStatus { is_leader, running_secs, restart_secs })
}

/// A tracker that knows nothing, and was last seen so many seconds before its start.
fn empty_tracker(down_secs: Option<i64>) -> Cluster {
    let last_check = down_secs.map(|secs| UnixTime(NOON.0 - secs));
    Cluster::restore(policy(), NOON, &Saved { last_check, ..Saved::default() }).unwrap()
}

#[test]
fn a_tracker_without_data_asks_all_others_first() {
    let mut cluster = empty_tracker(None);
    let session = Session::new(ip("10.0.0.11"), ip(TRACKERS[0]));
    let join = join_at(TRACKERS[0]);
    let due = cluster.take_over_due(NOON, &session, &join).unwrap();
    let hosts: Vec<_> = due.iter().map(|peer| peer.host).collect();
    assert_eq!(hosts, [host(TRACKERS[1]), host(TRACKERS[2])], "all but itself");
    let mut effects = Vec::new();
    let mut decide = |cluster: &mut Cluster, now, answers: [Answered; 2]| {
        let answers: Vec<_> = due.iter().copied().zip(answers).collect();
        cluster.take_over_from(now, &answers, &mut effects)
    };
    use Answered::{Empty, Failed};
    let later = UnixTime(NOON.0 + 29);
    assert_eq!(decide(&mut cluster, NOON, [Failed, Empty]), Source::Later);
    assert_eq!(decide(&mut cluster, later, [Failed, Failed]), Source::Later);
    // One that leads, then the one that runs longest, then the one that was down shortest.
    for (answers, want) in [
        ([status(false, 0, 0), Failed], 0),
        ([status(false, 900, 0), status(true, 0, 0)], 1),
        ([status(false, 300, 0), status(false, 600, 0)], 1),
        ([status(false, 300, 0), status(false, 300, 300)], 0),
    ] {
        assert_eq!(decide(&mut cluster, NOON, answers), Source::From(due[want]), "{answers:?}");
    }
    assert!(cluster.take_over_due(later, &session, &join).is_some(), "not settled yet");
    assert_eq!(decide(&mut cluster, UnixTime(NOON.0 + 30), [Failed, Failed]), Source::Nobody);
    assert!(cluster.take_over_due(later, &session, &join).is_none(), "settled");
    let mut cluster = empty_tracker(None);
    assert_eq!(decide(&mut cluster, NOON, [Empty, Empty]), Source::Nobody);
    assert!(cluster.take_over_due(NOON, &session, &join).is_none());
}

#[test]
fn a_tracker_that_was_away_takes_over_only_from_a_better_one() {
    let session = Session::new(ip("10.0.0.11"), ip(TRACKERS[0]));
    let away = |secs| {
        let mut cluster = empty_tracker(Some(secs));
        cluster.groups.insert(group("group1"), Group::new(group("group1")));
        cluster
    };
    let due = |cluster: &mut Cluster| cluster.take_over_due(NOON, &session, &join_at(TRACKERS[0]));
    assert_eq!(due(&mut away(600)), None);
    let mut cluster = away(2000);
    let peers = due(&mut cluster).unwrap();
    let mut effects = Vec::new();
    let worse = [(peers[0], status(false, 0, 2100)), (peers[1], Answered::Failed)];
    assert_eq!(cluster.take_over_from(NOON, &worse, &mut effects), Source::Nobody);
    let mut cluster = away(2000);
    let peers = due(&mut cluster).unwrap();
    let better = [(peers[0], status(false, 0, 0)), (peers[1], Answered::Failed)];
    assert_eq!(cluster.take_over_from(NOON, &better, &mut effects), Source::From(peers[0]));
}

#[test]
fn what_is_taken_over_is_what_the_other_one_knows() {
    let mut known = World::new(policy());
    known.serve("10.0.0.11", first_join("group1"), &[(1000, 500)]);
    known.join("10.0.0.12", first_join("group1")).unwrap();
    let mut fetch = |peer: &str, event| known.apply(peer, event);
    let piece = |index| Event::SysFile(SysFilePiece { index, offset: 0 });
    assert_eq!(fetch("10.0.0.3", Event::SysFilesStart), Ok(Answer::Empty));
    assert_eq!(fetch("10.0.0.4", Event::SysFilesStart), Err(Refusal::Busy), "one at a time");
    let mut text = |index| match fetch("10.0.0.3", piece(index)) {
        Ok(Answer::SysFile(len, bytes)) => {
            assert_eq!(usize::try_from(len).unwrap(), bytes.len());
            String::from_utf8(bytes).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let saved = Saved {
        groups: Some(text(0)),
        storages: Some(text(1)),
        sync_times: Some(text(2)),
        changelog: text(3),
        last_check: None,
    };
    let mut cluster = empty_tracker(None);
    let effects = cluster.take_over(&saved).unwrap();
    assert!(effects.contains(&Effect::Save(StateFile::ChangeLog)));
    for file in [StateFile::Groups, StateFile::SyncTimes, StateFile::ChangeLog] {
        assert_eq!(cluster.file_text(file), known.cluster.file_text(file));
    }
    // The files are those of one moment, and free again when the connection ends.
    known.join("10.0.0.13", first_join("group2")).unwrap();
    let Ok(Answer::SysFile(_, groups)) = known.apply("10.0.0.3", piece(0)) else { panic!() };
    assert_eq!(String::from_utf8(groups).ok(), saved.groups);
    let mut session = known.sessions.remove("10.0.0.3").unwrap();
    known.cluster.closed(&mut session);
    assert_eq!(known.apply("10.0.0.4", Event::SysFilesStart), Ok(Answer::Empty));
    assert_eq!(known.apply("10.0.0.4", Event::SysFilesEnd), Ok(Answer::Empty));
    assert!(known.cluster.lent.is_none());
}
