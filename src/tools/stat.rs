//! The programs for monitoring: fdfs_tracker_stat, fdfs_storage_stat and fdfs_volumn_stat
//! (tools.md 4). Each asks one tracker and prints a line for each of its answers, and nothing
//! at all if nobody matches.

use net::client::Client;
use net::ports::World;
use proto::status::StorageState;
use proto::tracker::stat::{
    StatusFilter, StorageFilter, StorageLines, TrackerFilter, TrackerStat, VolumeFilter,
};

use crate::zone::Zone;
use crate::{DEFAULT_CONFIG, Doing as _, Failure, connect, say};

mod report; // the text

const TRACKER_USAGE: &str = "[-c <config_file>] [-A | -N] [-L | -F] [-d]\n\
    \t-A: active ones, -N: the others; -L: the leader, -F: followers; -d: version and times";
const STORAGE_USAGE: &str = "[-c <config_file>] [-A | -N] [-T | -t] [-d]\n\
    \t-A: ACTIVE ones, -N: the others; -T: trunk servers, -t: the others; -d: version and times";
const VOLUMN_USAGE: &str = "[-c <config_file>] [-A | -N] [-D | -d] [-T | -t]\n\
    \t-A: with space for uploads, -N or -F: without; -D, -d: on disk; -T, -t: in trunk files";

/// fdfs_tracker_stat.
pub(crate) async fn trackers(world: &World, args: &[&str]) -> Result<(), Failure> {
    let Some(given) = parse(args, "ANLFd", TRACKER_USAGE, "fdfs_tracker_stat")? else {
        return Ok(());
    };
    let filter = TrackerFilter { active: given.either("A", "N"), leader: given.either("L", "F") };
    let rows = given.connect(world).await?.trackers().tracker_stat(&filter).await;
    let rows: Vec<TrackerStat> = rows.doing("get tracker stat")?;
    print(&report::trackers(&rows, given.details().as_ref()));
    Ok(())
}

/// fdfs_storage_stat.
pub(crate) async fn storages(world: &World, args: &[&str]) -> Result<(), Failure> {
    let Some(given) = parse(args, "ANTtd", STORAGE_USAGE, "fdfs_storage_stat")? else {
        return Ok(());
    };
    let active = StorageState::Active as u8;
    let status = given
        .either("A", "N")
        .map(|wanted| if wanted { StatusFilter::Is(active) } else { StatusFilter::IsNot(active) });
    let filter = StorageFilter { trunk: given.either("T", "t"), status };
    let rows = given.connect(world).await?.trackers().storage_stat(&filter).await;
    let rows: StorageLines = rows.doing("get storage stat")?;
    print(&report::storages(&rows, given.details().as_ref()));
    Ok(())
}

/// fdfs_volumn_stat.
pub(crate) async fn volumes(world: &World, args: &[&str]) -> Result<(), Failure> {
    let Some(given) = parse(args, "ANFDdTt", VOLUMN_USAGE, "fdfs_volumn_stat")? else {
        return Ok(());
    };
    let filter = VolumeFilter {
        disk: given.either("D", "d"),
        trunk: given.either("T", "t"),
        space: given.either("A", "NF"),
    };
    let rows = given.connect(world).await?.trackers().volume_stat(&filter).await;
    print(&report::volumes(&rows.doing("get volumn stat")?));
    Ok(())
}

/// A report stands between empty lines; without anything to report there is none.
fn print(text: &str) {
    if !text.is_empty() {
        say(&format!("\n{text}"));
    }
}

/// What stands on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    conf: String,
    /// The letters, in their order.
    letters: String,
}

impl Given {
    /// True for a letter of `yes`, false for one of `no`; the last one given counts.
    fn either(&self, yes: &str, no: &str) -> Option<bool> {
        let last =
            self.letters.chars().rfind(|&letter| yes.contains(letter) || no.contains(letter));
        last.map(|letter| yes.contains(letter))
    }

    /// The zone for the times of `-d`, if it was given.
    fn details(&self) -> Option<Zone> {
        self.letters.contains('d').then(Zone::of_system)
    }

    async fn connect(&self, world: &World) -> Result<Client, Failure> {
        connect(world, &self.conf).await
    }
}

/// Reads options, alone or several behind one dash. None after `-h`, which is answered here.
fn parse(args: &[&str], known: &str, usage: &str, name: &str) -> Result<Option<Given>, Failure> {
    let wrong = || Failure::Usage(usage.to_owned());
    let mut given = Given { conf: DEFAULT_CONFIG.to_owned(), letters: String::new() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut letters =
            arg.strip_prefix('-').filter(|text| !text.is_empty()).ok_or_else(wrong)?;
        while let Some(letter) = letters.chars().next() {
            letters = letters.get(letter.len_utf8()..).unwrap_or_default();
            match letter {
                'h' => {
                    say(&format!("Usage: {name} {usage}"));
                    return Ok(None);
                }
                'c' if letters.is_empty() => {
                    (*rest.next().ok_or_else(wrong)?).clone_into(&mut given.conf);
                }
                'c' => std::mem::take(&mut letters).clone_into(&mut given.conf),
                letter if known.contains(letter) => given.letters.push(letter),
                _ => return Err(wrong()),
            }
        }
    }
    Ok(Some(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_alone_or_together() {
        for (line, want) in [
            ("", Some((DEFAULT_CONFIG, ""))),
            ("-A -d", Some((DEFAULT_CONFIG, "Ad"))),
            ("-Ad -c a.conf", Some(("a.conf", "Ad"))),
            ("-dca.conf -N", Some(("a.conf", "dN"))),
            ("-c", None),
            ("-x", None),
            ("-", None),
            ("a.conf", None),
        ] {
            let args: Vec<&str> = line.split_whitespace().collect();
            let given = parse(&args, "ANd", "", "").ok().flatten();
            let given = given.as_ref().map(|g| (g.conf.as_str(), g.letters.as_str()));
            assert_eq!(given, want, "{line}");
        }
        assert_eq!(parse(&["-Ah"], "A", "", "").unwrap(), None);
    }

    #[test]
    fn of_two_that_exclude_each_other_the_last_counts() {
        for (letters, want) in
            [("", None), ("A", Some(true)), ("AN", Some(false)), ("FA", Some(true)), ("d", None)]
        {
            let given = Given { conf: String::new(), letters: letters.to_owned() };
            assert_eq!(given.either("A", "NF"), want, "{letters}");
        }
    }
}
