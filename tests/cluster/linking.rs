//! Links between stored files, as a directory taken over from the reference has them: they are
//! brought to the others like everything else, also by records that do not say where they lead.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::cluster::Daemon;
use crate::support::history::Content;
use crate::support::wait::eventually;
use crate::{CONVERGE, World};

/// Where a member keeps a logic name.
fn path(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.dir.join("store0/data").join(name.trim_start_matches("M00/"))
}

#[test]
fn links_reach_every_other_member() {
    let world = World::prepare("linking", 3, "");
    world.start_all(2);
    let client = world.client(1);
    for seed in 0..6 {
        let stored = world.runtime.block_on(client.upload(Content { seed, len: 1_000 }));
        stored.expect("it is taken");
    }
    world.cluster.storages[2].start();
    world.wait_for_active(3);
    world.converge();
    let [member, others @ ..] = &world.cluster.storages[..] else { panic!("there are three") };
    assert!(member.stop().success());
    let log = member.dir.join("base/data/sync/binlog.000");
    let known = fs::read_to_string(&log).expect("it has a log");
    let sources: Vec<_> = known.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let (first, second) = (sources[0], sources[1]);
    let mut file = File::options().append(true).open(&log).expect("the directory is ours");
    let mut links = Vec::new();
    // One whose record says where it leads, and one of old whose record does not.
    for (source, says) in [(first, true), (second, false)] {
        let link = source.replace(".bin", "_link.bin");
        symlink(path(member, source), path(member, &link)).expect("the directory is ours");
        let end = if says { format!(" {source}") } else { String::new() };
        writeln!(file, "1700000000 L {link}{end}").expect("the directory is ours");
        links.push((link, source));
    }
    drop(file);
    member.start();
    world.wait_for_active(3);
    for (link, source) in &links {
        for other in others {
            let (at, wanted) = (path(other, link), path(other, source));
            eventually("the link is there", CONVERGE, || {
                (fs::read_link(&at).ok()? == wanted).then_some(())
            });
            let line = format!("1700000000 l {link} {source}");
            eventually("it is recorded, with where it leads", CONVERGE, || {
                let log = fs::read_to_string(other.dir.join("base/data/sync/binlog.000")).ok()?;
                log.lines().any(|known| known == line).then_some(())
            });
        }
    }
    // What a link leads to is what is read, at each member.
    let id = format!("group1/{}", links[0].0);
    let id = proto::fileid::FileId::parse(&id).expect("a file id");
    for daemon in &world.cluster.storages {
        let whole = world.runtime.block_on(client.read(&id, Some(daemon.address)));
        assert_eq!(whole.expect("it is there"), fs::read(path(daemon, first)).expect("a file"));
    }
    world.converge();
}
