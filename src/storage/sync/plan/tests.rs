//! The sender's decisions, case by case.

use super::*;

const A: &str = "M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log";
const B: &str = "M00/00/00/oYYBAGsDaG6AVDJ1AAAAD-F9eSI970.log";

fn record(letter: char, rest: &str) -> Record {
    Record::parse(&format!("1795385452 {letter} {rest}")).unwrap()
}

fn at(offset: u64) -> Position {
    Position { file: 0, offset }
}

fn file(len: u64) -> Local {
    Local::Plain { len, is_link: false }
}

#[test]
fn only_the_filler_of_a_new_member_passes_on_what_it_received_whatever_its_time() {
    let fills = Role { fills: true, filled: false };
    let filled = Role { filled: true, ..fills };
    for letter in "CDUAMTLR".chars() {
        let own = record(letter, A);
        let theirs = record(letter.to_ascii_lowercase(), A);
        for role in [fills, filled, Role::default()] {
            assert!(is_wanted(&own, &role), "{letter}");
        }
        assert_eq!(is_wanted(&theirs, &fills), !"AMT".contains(letter), "{letter}");
        for role in [filled, Role::default()] {
            assert!(!is_wanted(&theirs, &role), "{letter} {role:?}");
        }
    }
}

#[test]
fn states_of_a_peer_lead_to_stances() {
    use StorageState as S;
    for (state, filling, other) in [
        (S::Init, Stance::Wait, Stance::Wait),
        (S::WaitSync, Stance::Begin, Stance::Wait),
        (S::Syncing, Stance::Send, Stance::Wait),
        (S::Offline, Stance::Wait, Stance::Wait),
        (S::Online, Stance::Wait, Stance::Wait),
        (S::Active, Stance::Send, Stance::Send),
        (S::Recovery, Stance::Wait, Stance::Wait),
        (S::Deleted, Stance::End, Stance::End),
        (S::IpChanged, Stance::End, Stance::End),
        (S::None, Stance::End, Stance::End),
    ] {
        assert_eq!((stance(state, true), stance(state, false)), (filling, other), "{state:?}");
    }
}

#[test]
fn a_position_is_passed_when_everything_before_it_is_answered() {
    let mut window = Window::new(3);
    let one = window.start(&record('C', A), at(10));
    let two = window.start(&record('C', B), at(20));
    window.skip(at(30));
    assert_eq!(window.passed(), None);
    window.answered(two);
    assert_eq!(window.passed(), None, "the first is still under way");
    window.answered(one);
    assert_eq!(window.passed(), Some(at(30)));
    assert!(window.is_empty());
    window.skip(at(40));
    assert_eq!(window.passed(), Some(at(40)));
}

#[test]
fn records_of_one_file_wait_for_each_other() {
    let mut window = Window::new(3);
    let first = window.start(&record('A', &format!("{A} 0 5")), at(1));
    assert!(!window.has_room(&record('M', &format!("{A} 1 2"))));
    assert!(!window.has_room(&record('R', &format!("{B} {A}"))));
    assert!(!window.has_room(&record('L', &format!("{B} {A}"))));
    assert!(window.has_room(&record('C', B)));
    assert!(window.has_room(&record('C', &format!("{A}-m"))), "metadata are a file of their own");
    window.answered(first);
    assert!(window.has_room(&record('D', A)));
    for offset in 2..4 {
        window.start(&record('C', &format!("{B}{offset}")), at(offset));
    }
    assert!(!window.has_room(&record('C', B)), "it is full");
}

#[test]
fn records_become_tasks_by_what_lies_here() {
    let link = Local::Plain { len: 9, is_link: true };
    let part = |append, offset, len| Task::Part { append, offset, len };
    let numbers = format!("{A} 10 5");
    for (letter, rest, local, wanted) in [
        ('C', A, file(7), Task::Whole { len: 7, over: false }),
        ('C', A, Local::Missing, Task::Skip),
        ('C', A, Local::Other, Task::Skip),
        ('U', A, file(7), Task::Whole { len: 7, over: true }),
        ('D', A, Local::Missing, Task::Delete),
        ('D', A, file(7), Task::Skip),
        ('D', A, Local::Dangling, Task::Skip),
        ('A', &numbers, file(15), part(true, 10, 5)),
        ('A', &numbers, file(14), part(true, 10, 4)),
        ('M', &numbers, file(11), part(false, 10, 1)),
        ('A', &numbers, file(10), Task::Skip),
        ('A', &numbers, Local::Missing, Task::Skip),
        ('M', &numbers, file(99), part(false, 10, 5)),
        ('T', &numbers, file(5), Task::Truncate { old: 10, new: 5 }),
        ('T', &numbers, file(99), Task::Truncate { old: 10, new: 5 }),
        ('T', &numbers, Local::Missing, Task::Skip),
        ('L', &format!("{A} {B}"), link.clone(), Task::Link(Some(B.to_owned()))),
        ('L', A, Local::Dangling, Task::Link(None)),
        ('L', &format!("{A} {B}"), file(9), Task::Skip),
        ('R', &format!("{A} {B}"), file(9), Task::Rename(B.to_owned())),
        ('r', &format!("{A} {B}"), file(9), Task::Whole { len: 9, over: false }),
        ('R', &format!("{A} {B}"), Local::Missing, Task::Skip),
        ('c', A, link, Task::Whole { len: 9, over: false }),
    ] {
        assert_eq!(task(&record(letter, rest), &local), Ok(wanted), "{letter} {rest} {local:?}");
    }
    for letter in "AMT".chars() {
        assert!(task(&record(letter, A), &file(9)).is_err(), "{letter} without numbers");
        assert!(task(&record(letter, &format!("{A} 1 x")), &file(9)).is_err(), "{letter}");
    }
}

#[test]
fn names_that_are_none_are_poison() {
    assert!(checked(&record('C', A), 1).is_ok());
    assert!(checked(&record('C', "M01/00/00/x12345"), 1).is_err(), "no such store path");
    assert!(checked(&record('C', "M00/../../etc/passwd"), 1).is_err());
    assert!(checked(&record('R', A), 1).is_err());
    assert!(checked(&record('L', A), 1).is_ok(), "old records of links have one name");
    assert!(checked(&record('L', &format!("{A} nonsense")), 1).is_err());
}

#[test]
fn answers_lead_on() {
    let whole = Task::Whole { len: 1, over: false };
    let part = Task::Part { append: true, offset: 0, len: 1 };
    let truncate = Task::Truncate { old: 1, new: 0 };
    let rename = Task::Rename(String::new());
    for (task, status, wanted) in [
        (&whole, Status::OK, Verdict::Done),
        (&whole, Status::EEXIST, Verdict::Already),
        (&part, Status::EEXIST, Verdict::Done),
        (&part, Status::ENOENT, Verdict::SendWhole { over: true }),
        (&truncate, Status::EEXIST, Verdict::AskLength),
        (&truncate, Status::ENOENT, Verdict::SendWhole { over: true }),
        (&rename, Status::EEXIST, Verdict::Done),
        (&rename, Status::ENOENT, Verdict::SendWhole { over: false }),
        (&Task::Delete, Status::ENOENT, Verdict::Done),
        (&Task::Link(None), Status::ENOENT, Verdict::Done),
        (&whole, Status::ENOSPC, Verdict::Later),
    ] {
        assert_eq!(verdict(task, status, 1), wanted, "{task:?} {status}");
    }
    assert_eq!(verdict(&whole, Status::ENOSPC, u32::MAX), Verdict::Later, "space comes back");
    assert_eq!(verdict(&whole, Status::EINVAL, 1), Verdict::Later);
    assert_eq!(verdict(&whole, Status::EINVAL, 2), Verdict::Aside);
    assert_eq!(verdict(&whole, Status::EIO, 9), Verdict::Later);
    assert_eq!(verdict(&whole, Status::EIO, 10), Verdict::Aside);
}

#[test]
fn a_copy_of_another_length_is_cut_all_the_same() {
    assert_eq!(cut(5, 5), Verdict::Done);
    assert_eq!(cut(5, 9), Verdict::CutFrom(9));
    assert_eq!(cut(5, 4), Verdict::SendWhole { over: true });
}

#[test]
fn a_window_may_cross_midnight() {
    let day = DailyWindow { from: 8 * 60, to: 17 * 60 };
    let night = DailyWindow { from: 23 * 60, to: 6 * 60 };
    for (minute, by_day, by_night) in [
        (0, false, true),
        (6 * 60, false, true),
        (6 * 60 + 1, false, false),
        (8 * 60, true, false),
        (17 * 60, true, false),
        (17 * 60 + 1, false, false),
        (23 * 60 - 1, false, false),
        (23 * 60, false, true),
        (24 * 60 - 1, false, true),
    ] {
        assert_eq!(day.is_open(minute), by_day, "{minute} by day");
        assert_eq!(night.is_open(minute), by_night, "{minute} by night");
        assert!(DailyWindow::ALWAYS.is_open(minute));
    }
}

#[test]
fn waits_grow_to_a_limit() {
    let wait = |n| back_off(n, Duration::from_millis(100), Duration::from_secs(5)).as_millis();
    assert_eq!(
        [0, 1, 2, 3, 6, 7, 40, u32::MAX].map(wait),
        [100, 100, 200, 400, 3200, 5000, 5000, 5000]
    );
}
