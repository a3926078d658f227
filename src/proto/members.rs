//! The `members` file: who is in a storage's group, and where its own files lie.
//!
//! `fdfs_storaged` writes it whole whenever a tracker tells it of a change; the nginx module
//! reads it and so needs no socket to a tracker. Text, so that an operator can read it too:
//!
//! ```text
//! version = 1
//! group_name = group1
//! store_path = /data/a                       one line per store path, in the order M00, M01, ...
//! member = 10.0.0.1 state=ACTIVE self        the storage that wrote the file
//! member = 10.0.0.2 id=100002 state=OFFLINE  id only if the group's storages have numbers
//! ```

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::IpAddr;

use crate::address::parse_ip;
use crate::fileid::{STORE_PATHS_MAX, Source, SourceId};
use crate::ids::{GroupName, StorageId};
use crate::ini::{Entry, Ini, IniError};
use crate::status::StorageState;

/// The format; a reader refuses another one.
const VERSION: i64 = 1;
/// Storages of one group, with room for those on their way out.
pub const MEMBERS_MAX: usize = 64;

/// One storage of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub address: IpAddr,
    /// Only where storages have numbers.
    pub id: Option<StorageId>,
    pub state: StorageState,
    /// The storage on this machine.
    pub own: bool,
}

impl Member {
    /// Whether this member made the files whose names begin with `source`.
    pub fn made(&self, source: SourceId) -> bool {
        let number = self.id.and_then(|id| id.number());
        match (source.source(), number) {
            (Source::Server(wanted), Some(number)) => wanted == number,
            _ => SourceId::of_ip(self.address) == source,
        }
    }

    /// Whether it may have files: not one that is new, or gone for good.
    pub fn may_serve(&self) -> bool {
        use StorageState::{Active, Offline, Online, Recovery, Syncing};
        matches!(self.state, Active | Online | Offline | Recovery | Syncing)
    }

    /// The value of a `member` line.
    pub fn parse(entry: &Entry) -> Result<Self, IniError> {
        const NEED: &str = "must be an address, then id=, state= or self";
        let mut words = entry.value.split_ascii_whitespace();
        let address = words.next().and_then(parse_ip).ok_or_else(|| entry.refuse(NEED))?;
        let mut member = Self { address, id: None, state: StorageState::Active, own: false };
        for word in words {
            match word.split_once('=') {
                None if word == "self" => member.own = true,
                Some(("id", id)) => {
                    member.id = Some(StorageId::parse(id).ok_or_else(|| entry.refuse(NEED))?);
                }
                Some(("state", name)) => {
                    let state = StorageState::ALL.into_iter().find(|state| state.name() == name);
                    member.state = state.ok_or_else(|| entry.refuse(NEED))?;
                }
                _ => return Err(entry.refuse(NEED)),
            }
        }
        Ok(member)
    }
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    pub group: GroupName,
    /// Absolute paths, the first being M00; `data` is a directory below each.
    pub store_paths: Vec<String>,
    pub members: Vec<Member>,
}

impl Members {
    pub fn parse(text: &str) -> Result<Self, IniError> {
        let ini = Ini::parse(text)?;
        ini.require("version")?.int_within(VERSION, VERSION, "must be 1")?;
        let group = ini.require("group_name")?;
        let group = GroupName::parse(&group.value)
            .ok_or_else(|| group.refuse("must be 1 to 16 letters and digits"))?;
        let mut store_paths = Vec::new();
        for entry in ini.all("store_path") {
            let fits = store_paths.len() < usize::from(STORE_PATHS_MAX);
            if !fits || !entry.value.starts_with('/') {
                return Err(entry.refuse("must be one of at most 256 absolute paths"));
            }
            store_paths.push(entry.value.clone());
        }
        ini.require("store_path")?;
        let mut members = Vec::new();
        for entry in ini.all("member") {
            if MEMBERS_MAX <= members.len() {
                return Err(entry.refuse("must be one of at most 64"));
            }
            members.push(Member::parse(entry)?);
        }
        Ok(Self { group, store_paths, members })
    }

    /// The text of the file.
    pub fn print(&self) -> String {
        let mut out = String::from(
            "# Written by fdfs_storaged for the nginx module, and replaced when anything of it\n\
             # changes. Changes made by hand are lost.\n",
        );
        // Writing to a string cannot fail.
        let _ = writeln!(out, "version = {VERSION}\ngroup_name = {}", self.group);
        for path in &self.store_paths {
            let _ = writeln!(out, "store_path = {path}");
        }
        for member in &self.members {
            let id = member.id.map(|id| [" id=", id.as_str()].concat()).unwrap_or_default();
            let own = if member.own { " self" } else { "" };
            let address = member.address.to_string();
            let _ = writeln!(out, "member = {address}{id} state={}{own}", member.state.name());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1\ngroup_name = group1\nstore_path = /data/a\n\
        store_path = /data/b c\nmember = 10.0.0.1 state=ACTIVE self\n\
        member = 10.0.0.2 id=100002 state=OFFLINE\nmember = fe80::1 state=RECOVERY\n";

    #[test]
    fn what_is_printed_is_read() {
        let members = Members::parse(TEXT).unwrap();
        assert!(members.print().ends_with(TEXT), "{}", members.print());
        assert_eq!(Members::parse(&members.print()), Ok(members.clone()));
        assert_eq!(members.store_paths, ["/data/a", "/data/b c"]);
        let [first, second, _] = members.members.as_slice() else { panic!("three lines") };
        assert!(first.own && !second.own);
        assert_eq!(second.id.and_then(|id| id.number()), Some(100_002));
    }

    #[test]
    fn a_source_is_found_by_address_or_number() {
        let members = Members::parse(TEXT).unwrap().members;
        let who = |source: SourceId| members.iter().position(|member| member.made(source));
        assert_eq!(who(SourceId([10, 0, 0, 1])), Some(0));
        assert_eq!(who(SourceId([10, 0, 0, 2])), Some(1));
        assert_eq!(who(SourceId::of_number(100_002)), Some(1));
        assert_eq!(who(SourceId::of_number(100_001)), None);
        assert_eq!(who(SourceId::of_ip("fe80::1".parse().unwrap())), Some(2));
        assert_eq!(who(SourceId([127, 0, 0, 1])), None);
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        for (from, to, why) in [
            ("version = 1", "version = 2", "line 1: version = 2: must be 1"),
            ("version = 1\n", "", "version is missing"),
            (
                "group1",
                "group-1",
                "line 2: group_name = group-1: must be 1 to 16 letters and digits",
            ),
            (
                "/data/a",
                "data",
                "line 3: store_path = data: must be one of at most 256 absolute paths",
            ),
            ("10.0.0.1", "host", "must be an address, then id=, state= or self"),
            ("ACTIVE", "AWAKE", "must be an address, then id=, state= or self"),
            (" self", " me", "must be an address, then id=, state= or self"),
        ] {
            let error = Members::parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
        }
        let many = [TEXT, &"member = 10.0.0.3\n".repeat(MEMBERS_MAX)].concat();
        assert!(Members::parse(&many).unwrap_err().to_string().ends_with("at most 64"));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = Members::parse(&text);
            let _ = Members::parse(&[TEXT, &text].concat());
        }
    }
}
