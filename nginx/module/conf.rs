//! The directives: what may be written, what it means further in, what is refused at start-up.
//!
//! Called by `ffi` while nginx reads its configuration, so that `nginx -t` finds every mistake.
//! Nothing here runs while requests are served, except the getters of [`Conf`].

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;

use proto::fileid::STORE_PATHS_MAX;
use proto::ids::{GroupName, StorePath};

use crate::ffi::Directive;

/// Makes a location serve files by their ids.
pub(crate) const SERVE: &CStr = c"ngx_fastdfs_module";
/// The group of this storage.
pub(crate) const GROUP: &CStr = c"fastdfs_group";
/// A store path of this storage; repeated in the order M00, M01, ...
pub(crate) const STORE_PATH: &CStr = c"fastdfs_store_path";
/// Whether an address begins with the group: on (`/group1/M00/...`) unless said otherwise.
pub(crate) const URL_GROUP: &CStr = c"fastdfs_url_have_group_name";

/// Unset, off and on are different: only unset inherits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Flag {
    #[default]
    Unset,
    Off,
    On,
}

impl Flag {
    fn parse(text: &[u8]) -> Option<Self> {
        match text.to_ascii_lowercase().as_slice() {
            b"on" => Some(Self::On),
            b"off" => Some(Self::Off),
            _ => None,
        }
    }

    fn merge(self, outer: Self) -> Self {
        if self == Self::Unset { outer } else { self }
    }
}

/// What holds in one location, and what is inherited by those inside it.
#[derive(Debug, Default)]
pub(crate) struct Conf {
    serves: bool,
    group: Option<GroupName>,
    /// The `data` directories, each with a slash at its end; inherited as a whole or not at all.
    data_dirs: Vec<Vec<u8>>,
    url_group: Flag,
}

impl Conf {
    /// Takes one directive. The error is what `nginx -t` says, before file and line.
    pub(crate) fn set(&mut self, directive: &mut Directive<'_>) -> Result<(), String> {
        let name = directive.name();
        let duplicate = Err(format!("\"{}\" directive is duplicate", printable(name)));
        match name {
            name if name == SERVE.to_bytes() => {
                if self.serves {
                    return duplicate;
                }
                self.serves = true;
                directive.install_handler();
            }
            name if name == GROUP.to_bytes() => {
                if self.group.is_some() {
                    return duplicate;
                }
                self.group = Some(group(directive.value())?);
            }
            name if name == URL_GROUP.to_bytes() => {
                if self.url_group != Flag::Unset {
                    return duplicate;
                }
                let value = directive.value();
                self.url_group = Flag::parse(value).ok_or_else(|| {
                    let (value, name) = (printable(value), printable(name));
                    format!("invalid value \"{value}\" in \"{name}\", it must be \"on\" or \"off\"")
                })?;
            }
            _ => self.add_store_path(directive)?,
        }
        Ok(())
    }

    fn add_store_path(&mut self, directive: &mut Directive<'_>) -> Result<(), String> {
        let path = directive.full_path().ok_or("out of memory")?;
        let shown = printable(path);
        let about = format!("directory \"{shown}\" of \"fastdfs_store_path\"");
        match std::fs::metadata(OsStr::from_bytes(path)) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("{about}: not a directory")),
            Err(error) => return Err(format!("{about}: {error}")),
        }
        let mut data = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        data.extend_from_slice(b"/data/");
        if self.data_dirs.contains(&data) {
            return Err(format!("{about}: given twice"));
        }
        if usize::from(STORE_PATHS_MAX) <= self.data_dirs.len() {
            return Err(format!("{about}: more than {STORE_PATHS_MAX} store paths"));
        }
        self.data_dirs.push(data);
        Ok(())
    }

    /// Fills what is unset from `outer`, then checks that a location which serves can serve.
    pub(crate) fn merge(&mut self, outer: &Self, location: &[u8]) -> Result<(), String> {
        self.group = self.group.or(outer.group);
        self.url_group = self.url_group.merge(outer.url_group);
        if self.data_dirs.is_empty() {
            self.data_dirs.clone_from(&outer.data_dirs);
        }
        if !self.serves {
            return Ok(());
        }
        let here = format!("\"ngx_fastdfs_module\" in location \"{}\"", printable(location));
        if self.group.is_none() {
            return Err(format!("{here} needs a \"fastdfs_group\""));
        }
        if self.data_dirs.is_empty() {
            return Err(format!("{here} needs a \"fastdfs_store_path\""));
        }
        Ok(())
    }

    /// Whether `ngx_fastdfs_module` stands here itself.
    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    pub(crate) fn group(&self) -> Option<GroupName> {
        self.group
    }

    pub(crate) fn url_has_group(&self) -> bool {
        self.url_group != Flag::Off
    }

    /// Number of store paths, the first being M00.
    pub(crate) fn store_paths(&self) -> u16 {
        u16::try_from(self.data_dirs.len()).unwrap_or(STORE_PATHS_MAX)
    }

    /// The data directory of a store path, with a slash at its end.
    pub(crate) fn data_dir(&self, path: StorePath) -> Option<&[u8]> {
        self.data_dirs.get(usize::from(path.0)).map(Vec::as_slice)
    }
}

fn group(text: &[u8]) -> Result<GroupName, String> {
    let shown = printable(text);
    let refusal = || {
        format!(
            "invalid group \"{shown}\" in \"fastdfs_group\", it must be 1 to 16 letters and digits"
        )
    };
    std::str::from_utf8(text).ok().and_then(GroupName::parse).ok_or_else(refusal)
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Conf, Flag};

    #[test]
    fn only_unset_inherits() {
        for (inner, outer, merged) in [
            (Flag::Unset, Flag::Off, Flag::Off),
            (Flag::Unset, Flag::On, Flag::On),
            (Flag::Off, Flag::On, Flag::Off),
            (Flag::On, Flag::Off, Flag::On),
            (Flag::Unset, Flag::Unset, Flag::Unset),
        ] {
            assert_eq!(inner.merge(outer), merged);
        }
    }

    #[test]
    fn a_location_that_serves_nothing_needs_nothing() {
        assert_eq!(Conf::default().merge(&Conf::default(), b"/"), Ok(()));
        let mut serving = Conf { serves: true, ..Conf::default() };
        let refusal = "\"ngx_fastdfs_module\" in location \"/a\" needs a \"fastdfs_group\"";
        assert_eq!(serving.merge(&Conf::default(), b"/a"), Err(refusal.to_owned()));
    }
}
