//! Tests of the tests: the generator's numbers are pinned, and every rule of the checker is
//! tried with a history that it must accept and one that it must refuse.

mod support;

use std::collections::BTreeMap;

use support::checker::{Facts, Held, Members, held, logs, pairs, seen};
use support::history::{Content, Event, Kind, Outcome, Phase, sha256};
use support::seed::{Seed, parse, splitmix64, with_state};

#[test]
fn the_generators_are_pinned() {
    // The published first values of splitmix64 from 1234567 and of xoshiro256** from 1, 2, 3, 4.
    let mut state = 1_234_567;
    let first = [(); 3].map(|()| splitmix64(&mut state));
    assert_eq!(
        first,
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
    );
    let mut rng = with_state([1, 2, 3, 4]);
    let first = [(); 4].map(|()| rng.next());
    assert_eq!(first, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    // Ours: a name leads to the same child in every build.
    assert_eq!(Seed(1).child("net"), Seed(0xf3aa_bfdb_4a01_018e));
    assert_ne!(Seed(1).child("net"), Seed(1).child("disk"));
    let below: Vec<u64> = (0..1000).map(|_| rng.below(10)).collect();
    assert!((0..10).all(|n| below.contains(&n)) && below.iter().all(|n| *n < 10));
}

#[test]
fn seeds_are_read_in_both_notations() {
    assert_eq!(parse("0x5eed"), Some(0x5eed));
    assert_eq!(parse("24301"), Some(0x5eed));
    assert_eq!(parse("seed"), None);
}

#[test]
fn contents_are_a_function_of_their_seed() {
    let content = Content { seed: 7, len: 13 };
    assert_eq!(content.bytes().len(), 13);
    assert_eq!(content.bytes(), content.bytes());
    assert_ne!(content.bytes(), Content { seed: 8, len: 13 }.bytes());
    assert!(Content { seed: 7, len: 20 }.bytes().starts_with(&content.bytes()[..8]));
}

const A: Content = Content { seed: 1, len: 100 };
const B: Content = Content { seed: 2, len: 50 };
const C: Content = Content { seed: 3, len: 7 };
const ID: &str = "group1/M00/00/00/a";

/// A history under construction: each step is a call and its end, one time unit apart.
#[derive(Default)]
struct Told(Vec<Event>);

impl Told {
    fn step(
        mut self,
        kind: Kind,
        via: &str,
        content: Option<Content>,
        end: Phase,
        out: Outcome,
    ) -> Self {
        let t = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let target = if matches!(kind, Kind::Upload | Kind::List) { "" } else { ID };
        let call = Event {
            t,
            client: 1,
            op: t,
            phase: Phase::Call,
            kind,
            target: target.to_owned(),
            via: via.to_owned(),
            content,
            outcome: Outcome::default(),
        };
        self.0.push(call.clone());
        self.0.push(Event { t: t + 1, phase: end, outcome: out, ..call });
        self
    }

    fn uploaded(self) -> Self {
        self.step(Kind::Upload, "tracker", Some(A), Phase::Ok, Outcome::id(ID))
    }

    fn upload_unknown(self) -> Self {
        self.step(Kind::Upload, "tracker", Some(B), Phase::Unknown, Outcome::default())
    }

    fn deleted(self, end: Phase) -> Self {
        self.step(Kind::Delete, "m1", None, end, Outcome::default())
    }

    fn appended(self, content: Content, end: Phase) -> Self {
        self.step(Kind::Append, "m1", Some(content), end, Outcome::default())
    }

    fn read(self, via: &str, bytes: &[u8]) -> Self {
        self.step(Kind::Read, via, None, Phase::Ok, Outcome::read(bytes))
    }

    fn refused(self, kind: Kind, via: &str, status: u8) -> Self {
        self.step(kind, via, None, Phase::Fail, Outcome::refused(status))
    }

    fn metadata(self, content: Content, end: Phase) -> Self {
        self.step(Kind::SetMetadata, "m1", Some(content), end, Outcome::default())
    }

    fn listed(self, id: &str, content: Content) -> Self {
        let listed = vec![(id.to_owned(), content.len as u64, sha256(&content.bytes()))];
        let out = Outcome { listed, ..Outcome::default() };
        self.step(Kind::List, "m1", None, Phase::Ok, out)
    }
}

/// `promise` is what must be found broken; empty: nothing.
fn check_seen(name: &str, told: Told, facts: &Facts, promise: &str) {
    let found = seen(&told.0, facts);
    let right = if promise.is_empty() {
        found.is_empty()
    } else {
        found.len() == 1 && found[0].contains(promise)
    };
    assert!(right, "{name}: wanted {promise:?}, found {found:?}");
}

fn told() -> Told {
    Told::default()
}

#[test]
fn every_observation_is_judged_both_ways() {
    let calm = Facts::default();
    let mut flipped = A.bytes();
    flipped[42] ^= 1;
    let longer = [A.bytes(), B.bytes()].concat();

    check_seen("right bytes", told().uploaded().read("m1", &A.bytes()), &calm, "");
    check_seen("a flipped bit", told().uploaded().read("m1", &flipped), &calm, "P4");
    check_seen("a short read", told().uploaded().read("m1", &A.bytes()[..99]), &calm, "P4");
    check_seen(
        "after an append",
        told().uploaded().appended(B, Phase::Ok).read("m1", &longer),
        &calm,
        "",
    );
    check_seen(
        "append lost",
        told().uploaded().appended(B, Phase::Ok).read("m1", &A.bytes()),
        &calm,
        "P4",
    );
    for bytes in [&A.bytes(), &longer] {
        let open = told().uploaded().appended(B, Phase::Unknown).read("m1", bytes);
        check_seen("append unknown", open, &calm, "");
    }
    check_seen(
        "append torn",
        told().uploaded().appended(B, Phase::Unknown).read("m1", &longer[..120]),
        &calm,
        "P4",
    );
    check_seen("never uploaded", told().read("m1", &A.bytes()), &calm, "P6");
}

#[test]
fn every_refusal_and_listing_is_judged_both_ways() {
    let calm = Facts::default();
    let cut = Facts { cut_off: vec![(0, 100)], ..Facts::default() };
    let quiet = Facts { converged_at: Some(2), ..Facts::default() };
    let later = Facts { converged_at: Some(50), ..Facts::default() };
    let full = Facts { allowed: vec![(Kind::Upload, 28)], ..Facts::default() };

    check_seen(
        "routed, not found",
        told().uploaded().refused(Kind::Read, "tracker", 2),
        &calm,
        "P9",
    );
    check_seen("routed, cut off", told().uploaded().refused(Kind::Read, "tracker", 2), &cut, "");
    check_seen(
        "routed, deleted",
        told().uploaded().deleted(Phase::Unknown).refused(Kind::Read, "tracker", 2),
        &calm,
        "",
    );
    check_seen("direct, early", told().uploaded().refused(Kind::Read, "m2", 2), &later, "");
    check_seen("direct, converged", told().uploaded().refused(Kind::Read, "m2", 2), &quiet, "P7");

    check_seen("listed", told().uploaded().listed(ID, A), &calm, "");
    check_seen("listed, unanswered", told().upload_unknown().listed("x", B), &calm, "");
    check_seen(
        "listed, half",
        told().upload_unknown().listed("x", Content { len: 49, ..B }),
        &calm,
        "P6",
    );
    check_seen("listed stranger", told().uploaded().listed("x", B), &calm, "P6");

    let deleted = |end| told().uploaded().deleted(end);
    check_seen("read after delete", deleted(Phase::Ok).read("m1", &A.bytes()), &calm, "P8");
    check_seen("another member", deleted(Phase::Ok).read("m2", &A.bytes()), &calm, "");
    check_seen("delete unknown", deleted(Phase::Unknown).read("m1", &A.bytes()), &calm, "");

    check_seen("known status", told().refused(Kind::Upload, "m1", 28), &full, "");
    check_seen("odd status", told().refused(Kind::Upload, "m1", 99), &full, "status 99");
}

fn copy(bytes: &[u8], metadata: &[(String, String)]) -> Held {
    Held { length: bytes.len() as u64, sha256: sha256(bytes), metadata: metadata.to_vec() }
}

/// Members m1, m2, …, each with what it holds under `id`.
fn members(id: &str, copies: &[Option<Held>]) -> Members {
    let mut members = Members::new();
    for (index, copy) in copies.iter().enumerate() {
        let files: BTreeMap<String, Held> =
            copy.iter().map(|copy| (id.to_owned(), copy.clone())).collect();
        members.insert(format!("m{}", index + 1), files);
    }
    members
}

fn check_held(name: &str, told: Told, members: &Members, promise: &str) {
    let found = held(&told.0, members);
    let right = if promise.is_empty() {
        found.is_empty()
    } else {
        !found.is_empty() && found.iter().all(|f| f.contains(promise))
    };
    assert!(right, "{name}: wanted {promise:?}, found {found:?}");
}

#[test]
fn every_end_is_judged_both_ways() {
    let a = || Some(copy(&A.bytes(), &[]));
    let b = || Some(copy(&B.bytes(), &[]));
    let both = members(ID, &[a(), a()]);
    let one = members(ID, &[a(), None]);
    let none = members(ID, &[None, None]);
    let wrong = members(ID, &[b(), b()]);

    check_held("uploaded", told().uploaded(), &both, "");
    check_held("lost", told().uploaded(), &none, "P1");
    check_held("not replicated", told().uploaded(), &one, "P7");
    check_held("other bytes", told().uploaded(), &wrong, "P4");

    check_held("deleted", told().uploaded().deleted(Phase::Ok), &none, "");
    check_held("came back", told().uploaded().deleted(Phase::Ok), &one, "P8");
    for end in [&both, &none] {
        check_held("delete unknown", told().uploaded().deleted(Phase::Unknown), end, "");
    }
    check_held("delete halfway", told().uploaded().deleted(Phase::Unknown), &one, "P7");
    check_held("delete refused", told().uploaded().deleted(Phase::Fail), &none, "P1");

    check_held("unknown, absent", told().upload_unknown(), &none, "");
    check_held("unknown, whole", told().upload_unknown(), &members("x", &[b(), b()]), "");
    check_held("unknown, halfway", told().upload_unknown(), &members("x", &[b(), None]), "P7");
    let torn = Some(copy(&B.bytes()[..20], &[]));
    check_held(
        "unknown, torn",
        told().upload_unknown(),
        &members("x", &[torn.clone(), torn]),
        "P6",
    );
    check_held("stranger", told(), &both, "P6");
}

#[test]
fn changes_of_content_are_judged_both_ways() {
    // The place of both is 60 of the 100 bytes.
    let (over, cut) = (Content { seed: 60, len: 30 }, Content { seed: 60, len: 0 });
    let story = |kind, content| {
        told().uploaded().step(kind, "m1", Some(content), Phase::Ok, Outcome::default())
    };
    let of = |bytes: &[u8]| members(ID, &[Some(copy(bytes, &[])), Some(copy(bytes, &[]))]);
    let mut modified = A.bytes();
    modified[60..90].copy_from_slice(&over.bytes());
    check_held("modified", story(Kind::Modify, over), &of(&modified), "");
    check_held("not modified", story(Kind::Modify, over), &of(&A.bytes()), "P4");
    check_held("truncated", story(Kind::Truncate, cut), &of(&A.bytes()[..60]), "");
    check_held("not truncated", story(Kind::Truncate, cut), &of(&A.bytes()), "P4");
    let long = Content { seed: 60, len: 70 };
    let longer = [&A.bytes()[..60], &long.bytes()].concat();
    check_held("made longer", story(Kind::Modify, long), &of(&longer), "");

    let stale = || story(Kind::Truncate, cut).read("m1", &A.bytes());
    check_seen("older than acknowledged", stale(), &Facts::default(), "P4");
    let facts = Facts { cut_off: vec![(0, 9)], ..Facts::default() };
    check_seen("older where the change may not have arrived", stale(), &facts, "");
}

#[test]
fn appends_and_metadata_are_judged_both_ways() {
    let story = |end| told().uploaded().appended(B, Phase::Ok).appended(C, end);
    let whole = |parts: &[Content]| {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes()).collect();
        members(ID, &[Some(copy(&bytes, &[])), Some(copy(&bytes, &[]))])
    };
    check_held("appends", story(Phase::Ok), &whole(&[A, B, C]), "");
    check_held("unknown one there", story(Phase::Unknown), &whole(&[A, B, C]), "");
    check_held("unknown one absent", story(Phase::Unknown), &whole(&[A, B]), "");
    check_held("acknowledged one absent", story(Phase::Unknown), &whole(&[A, C]), "P4");
    check_held("out of order", story(Phase::Ok), &whole(&[A, C, B]), "P4");
    let uneven = members(
        ID,
        &[
            Some(copy(&[A.bytes(), B.bytes(), C.bytes()].concat(), &[])),
            Some(copy(&[A.bytes(), B.bytes()].concat(), &[])),
        ],
    );
    check_held("unequal", story(Phase::Unknown), &uneven, "P7");

    let (first, last) = (Content { seed: 5, len: 2 }, Content { seed: 6, len: 3 });
    let with = |content: Option<Content>| {
        let pairs = content.map(pairs).unwrap_or_default();
        members(ID, &[Some(copy(&A.bytes(), &pairs)), Some(copy(&A.bytes(), &pairs))])
    };
    let set = |end| told().uploaded().metadata(first, Phase::Ok).metadata(last, end);
    check_held("metadata", set(Phase::Ok), &with(Some(last)), "");
    check_held("old metadata", set(Phase::Ok), &with(Some(first)), "P1");
    check_held("metadata unknown, old", set(Phase::Unknown), &with(Some(first)), "");
    check_held("metadata unknown, new", set(Phase::Unknown), &with(Some(last)), "");
    check_held("no metadata", set(Phase::Unknown), &with(None), "P1");
}

#[test]
fn error_lines_and_panics_in_logs_are_found() {
    let log = "2026 INFO storage: ready\n2026 ERROR storage: sync: I/O error\n";
    assert_eq!(logs(log, &[]).len(), 1);
    assert!(logs(log, &["sync: I/O error"]).is_empty());
    assert!(logs("2026 INFO fine\n2026 WARN odd\n", &[]).is_empty());
    assert_eq!(logs("thread 'main' panicked at src/x.rs:1", &[]).len(), 1);
}
