//! `run_by_user` and `run_by_group`: the daemon goes on as another user.
//!
//! The program replaces itself by itself under that user, before it has opened anything: a
//! change inside a running process needs `unsafe`. Names are looked up in `/etc/passwd` and
//! `/etc/group`; numbers are taken as they are. Supplementary groups are dropped.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};
use proto::ini::Ini;

/// Who the daemon runs as; empty: whoever starts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunBy {
    pub user: String,
    pub group: String,
}

impl RunBy {
    pub fn parse(ini: &Ini) -> Self {
        let text = |key| ini.get(key).map_or(String::new(), |entry| entry.value.clone());
        Self { user: text("run_by_user"), group: text("run_by_group") }
    }
}

/// Starts this program again as `wanted` in place of this process; does nothing if it runs so
/// already. Returns only then, or with what makes it impossible.
pub(super) fn become_user(wanted: &RunBy) -> anyhow::Result<()> {
    if wanted.user.is_empty() && wanted.group.is_empty() {
        return Ok(());
    }
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
    let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let (mut uid, mut gid) = (own_user.as_raw(), own_group.as_raw());
    if !wanted.user.is_empty() {
        let user = find(&read("/etc/passwd")?, &wanted.user, &[2, 3]);
        match user.as_deref() {
            Some([id, group]) => (uid, gid) = (*id, *group),
            _ => match wanted.user.parse() {
                Ok(number) => uid = number,
                Err(_) => bail!("run_by_user = {}: there is no such user", wanted.user),
            },
        }
    }
    if !wanted.group.is_empty() {
        let group = find(&read("/etc/group")?, &wanted.group, &[2]);
        let number = group.and_then(|ids| ids.first().copied()).or(wanted.group.parse().ok());
        gid = number
            .with_context(|| format!("run_by_group = {}: there is no such group", wanted.group))?;
    }
    if (uid, gid) == (own_user.as_raw(), own_group.as_raw()) {
        return Ok(());
    }
    let program = std::env::current_exe().context("find this program")?;
    let args = std::env::args_os().skip(1);
    let failed: io::Error = Command::new(program).args(args).gid(gid).uid(uid).exec();
    Err(failed).with_context(|| {
        format!("run as user {uid}, group {gid} (run_by_user, run_by_group): start as root")
    })
}

/// The numbers at `fields` of the line that begins with `name` or has it as its number.
fn find(table: &str, name: &str, fields: &[usize]) -> Option<Vec<u32>> {
    let mut lines = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|words| words.first() == Some(&name) || words.get(2) == Some(&name))?;
    fields.iter().map(|field| line.get(*field)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let table = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34::/:/bin/false\n";
        assert_eq!(find(table, "www-data", &[2, 3]), Some(vec![33, 34]));
        assert_eq!(find(table, "33", &[2, 3]), Some(vec![33, 34]));
        assert_eq!(find(table, "www", &[2, 3]), None);
    }

    #[test]
    fn whoever_runs_already_so_stays_and_strangers_are_refused() {
        become_user(&RunBy::default()).unwrap();
        let own = |id: u32| id.to_string();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        become_user(&RunBy { user: own(uid.as_raw()), group: own(gid.as_raw()) }).unwrap();
        let nobody = RunBy { user: "no such user".into(), group: String::new() };
        assert!(become_user(&nobody).unwrap_err().to_string().contains("no such user"));
    }
}
