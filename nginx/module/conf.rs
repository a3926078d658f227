//! The directives: what may be written, what it means further in, what is refused at start-up.
//!
//! Called by `ffi` while nginx reads its configuration, so that `nginx -t` finds every mistake.
//! Nothing here runs while requests are served, except the getters of [`Conf`].

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proto::address::parse_ip;
use proto::fileid::STORE_PATHS_MAX;
use proto::ids::{GroupName, StorageId};
use proto::members::Member;
use proto::status::StorageState;
use proto::token::Key;

use crate::access::{Demand, Fail, Md5, Rules};
use crate::ffi::{Directive, Handler, ThreadPool};
use crate::legacy;
use crate::site::{self, Peer, Site};

/// Makes a location serve files by their ids.
pub(crate) const SERVE: &CStr = c"ngx_fastdfs_module";
/// The old configuration file, if it is not [`legacy::PATH`].
pub(crate) const FILE: &CStr = c"fastdfs_conf";
/// The group of this storage.
pub(crate) const GROUP: &CStr = c"fastdfs_group";
/// A store path of this storage; repeated in the order M00, M01, ...
pub(crate) const STORE_PATH: &CStr = c"fastdfs_store_path";
/// The file in which `fdfs_storaged` says who is in its group.
pub(crate) const MEMBERS: &CStr = c"fastdfs_members";
/// A storage of a group: `ADDRESS[:PORT] [group=G] [id=N] [url=BASE] [self]`.
pub(crate) const MEMBER: &CStr = c"fastdfs_member";
/// Whether an address begins with the group: on (`/group1/M00/...`) unless said otherwise.
pub(crate) const URL_GROUP: &CStr = c"fastdfs_url_have_group_name";
/// What is done about a file that is not here: `proxy`, `redirect` or `off`.
pub(crate) const MODE: &CStr = c"fastdfs_replica_mode";
/// Where the nginx of every member listens, if not on the port that took the request.
pub(crate) const PORT: &CStr = c"fastdfs_replica_port";
/// A name and a secret for strong links; the first one signs.
pub(crate) const LINK_KEY: &CStr = c"fastdfs_link_key";
/// The secret of the C module's token, and how many seconds it lives.
pub(crate) const MD5_SECRET: &CStr = c"fastdfs_md5_secret";
/// Which token a link must have: `off`, `md5`, `link` or `any`.
pub(crate) const TOKEN: &CStr = c"fastdfs_token";
/// The answer to a bad one: 400, 403, 404, 410, or a file.
pub(crate) const TOKEN_FAIL: &CStr = c"fastdfs_token_fail";
/// A header and its value that need no token.
pub(crate) const BYPASS: &CStr = c"fastdfs_token_bypass";
/// Whether a file's sum is compared with its name before it is sent first: `once` or `off`.
pub(crate) const VERIFY: &CStr = c"fastdfs_verify";
/// Whether `Cache-Control` is added.
pub(crate) const CACHE_CONTROL: &CStr = c"fastdfs_cache_control";

/// What is done about a file that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Proxy,
    Redirect,
    Off,
}

/// What holds in one location, and what is inherited by those inside it.
#[derive(Debug, Default)]
pub(crate) struct Conf {
    serves: bool,
    pub(crate) file: Option<PathBuf>,
    pub(crate) group: Option<GroupName>,
    /// Group, if said, and the `data` directory with a slash at its end.
    pub(crate) store_paths: Vec<(Option<GroupName>, Vec<u8>)>,
    members: Vec<PathBuf>,
    pub(crate) peers: Vec<(Option<GroupName>, Peer)>,
    pub(crate) url_group: Option<bool>,
    pub(crate) mode: Option<Mode>,
    port: Option<u16>,
    pub(crate) rules: Rules,
    verify: Option<bool>,
    cache_control: Option<bool>,
    /// The extension of FLV files, where an old configuration supports them.
    pub(crate) flv: Option<String>,
    pub(crate) single_range: bool,
    /// Made of the above when all is read.
    site: Option<Rc<Site>>,
    /// The handler of nginx's proxy in this location.
    pub(crate) proxy: Option<Handler>,
    /// A handler for media that stands in the same location, `mp4` or `flv`.
    pub(crate) media: Option<Handler>,
    pub(crate) threads: Option<ThreadPool>,
}

impl Conf {
    /// Takes one directive. The error is what `nginx -t` says, before file and line.
    pub(crate) fn set(&mut self, directive: &mut Directive<'_>) -> Result<(), String> {
        let name = directive.name();
        if self.is_set(name) {
            return Err(format!("\"{}\" directive is duplicate", printable(name)));
        }
        let value = directive.word(1);
        match name {
            _ if name == SERVE.to_bytes() => {
                let (proxy, media) = directive.install_handler()?;
                (self.serves, self.proxy, self.media) = (true, proxy, media);
            }
            _ if name == FILE.to_bytes() => self.file = Some(path(directive)?),
            _ if name == GROUP.to_bytes() => self.group = Some(group(value, name)?),
            _ if name == STORE_PATH.to_bytes() => self.add_store_path(directive)?,
            _ if name == MEMBERS.to_bytes() => self.members.push(path(directive)?),
            _ if name == MEMBER.to_bytes() => self.peers.push(peer(directive)?),
            _ if name == MODE.to_bytes() => {
                let all =
                    [("proxy", Mode::Proxy), ("redirect", Mode::Redirect), ("off", Mode::Off)];
                self.mode = Some(choice(value, name, &all)?);
            }
            _ if name == PORT.to_bytes() => self.port = Some(port(value, name)?),
            _ if name == LINK_KEY.to_bytes() => self.add_key(directive)?,
            _ if name == MD5_SECRET.to_bytes() => self.rules.md5 = Some(md5(directive)?),
            _ if name == TOKEN.to_bytes() => {
                let all = [
                    ("off", Demand::Off),
                    ("md5", Demand::Md5),
                    ("link", Demand::Link),
                    ("any", Demand::Any),
                ];
                self.rules.demand = Some(choice(value, name, &all)?);
            }
            _ if name == TOKEN_FAIL.to_bytes() => self.rules.fail = Some(fail(value)?),
            _ if name == BYPASS.to_bytes() => {
                let header = value.to_ascii_lowercase();
                self.rules.bypass = Some((header, directive.word(2).to_vec()));
            }
            _ if name == VERIFY.to_bytes() => {
                let once = choice(value, name, &[("once", true), ("off", false)])?;
                self.verify = Some(once);
                self.threads = if once { Some(directive.thread_pool()?) } else { None };
            }
            _ if name == CACHE_CONTROL.to_bytes() => self.cache_control = Some(flag(value, name)?),
            _ => self.url_group = Some(flag(value, name)?),
        }
        Ok(())
    }

    /// Whether a directive that may stand once at a level stands there already.
    fn is_set(&self, name: &[u8]) -> bool {
        [
            (SERVE, self.serves),
            (FILE, self.file.is_some()),
            (GROUP, self.group.is_some()),
            (URL_GROUP, self.url_group.is_some()),
            (MODE, self.mode.is_some()),
            (PORT, self.port.is_some()),
            (MD5_SECRET, self.rules.md5.is_some()),
            (TOKEN, self.rules.demand.is_some()),
            (TOKEN_FAIL, self.rules.fail.is_some()),
            (BYPASS, self.rules.bypass.is_some()),
            (VERIFY, self.verify.is_some()),
            (CACHE_CONTROL, self.cache_control.is_some()),
        ]
        .iter()
        .any(|(other, set)| other.to_bytes() == name && *set)
    }

    fn add_store_path(&mut self, directive: &mut Directive<'_>) -> Result<(), String> {
        let named = match directive.word(2).strip_prefix(b"group=") {
            Some(name) => Some(group(name, STORE_PATH.to_bytes())?),
            None if directive.word(2).is_empty() => None,
            None => return Err(unknown(directive.word(2), STORE_PATH)),
        };
        let path = directive.full_path().ok_or("out of memory")?;
        let about = format!("directory \"{}\" of \"fastdfs_store_path\"", printable(path));
        let data = data_dir(path).map_err(|why| format!("{about}: {why}"))?;
        let same = |(group, other): &(Option<GroupName>, _)| *other == data && *group == named;
        if self.store_paths.iter().any(same) {
            return Err(format!("{about}: given twice"));
        }
        if usize::from(STORE_PATHS_MAX) <= self.store_paths.len() {
            return Err(format!("{about}: more than {STORE_PATHS_MAX} store paths"));
        }
        self.store_paths.push((named, data));
        Ok(())
    }

    fn add_key(&mut self, directive: &mut Directive<'_>) -> Result<(), String> {
        let name = printable(directive.word(1));
        let secret = match directive.word(2).strip_prefix(b"file:") {
            Some(path) => {
                let path = Path::new(OsStr::from_bytes(path));
                let text = std::fs::read(path).map_err(|error| {
                    format!("file \"{}\" of \"fastdfs_link_key\": {error}", path.display())
                })?;
                text.trim_ascii().to_vec()
            }
            None => directive.word(2).to_vec(),
        };
        if self.rules.keys.iter().any(|key| key.name() == name) {
            return Err(format!("\"fastdfs_link_key\" {name} is given twice"));
        }
        let key = Key::new(&name, &secret).ok_or_else(|| {
            format!(
                "invalid \"fastdfs_link_key\" \"{name}\", it needs a name of 1 to 16 letters, \
                 digits, - and _, and a secret of at least 16 bytes"
            )
        })?;
        self.rules.keys.push(key);
        Ok(())
    }

    /// Fills what is unset from `outer`, then checks that a location which serves can serve.
    pub(crate) fn merge(&mut self, outer: &Self, location: &[u8]) -> Result<(), String> {
        let own = self.describes_a_store();
        self.inherit(outer);
        if !self.serves {
            // An `if` inside a location that serves has settings of its own and the same store.
            self.site.clone_from(&outer.site);
            self.proxy = self.proxy.or(outer.proxy);
            self.media = self.media.or(outer.media);
            self.flv.clone_from(&outer.flv);
            return Ok(());
        }
        let here = format!("\"ngx_fastdfs_module\" in location \"{}\"", printable(location));
        if !self.describes_a_store() {
            let path = self.file.clone().unwrap_or_else(|| PathBuf::from(legacy::PATH));
            legacy::read(&path, self).map_err(|why| {
                format!("{here} needs a \"fastdfs_group\", a \"fastdfs_members\", or {why}")
            })?;
        } else if own && self.file.is_some() {
            return Err(format!("{here} has both a \"fastdfs_conf\" and a store of its own"));
        }
        self.rules.check().map_err(|what| format!("{here} {what}"))?;
        self.site = Some(Rc::new(self.build(&here)?));
        Ok(())
    }

    /// Takes the members of a file of `fdfs_storaged`.
    pub(crate) fn follow(&mut self, file: PathBuf) {
        self.members.push(file);
    }

    fn describes_a_store(&self) -> bool {
        self.group.is_some() || !self.store_paths.is_empty() || !self.members.is_empty()
    }

    fn inherit(&mut self, outer: &Self) {
        self.file = self.file.take().or_else(|| outer.file.clone());
        self.group = self.group.or(outer.group);
        self.url_group = self.url_group.or(outer.url_group);
        self.mode = self.mode.or(outer.mode);
        self.port = self.port.or(outer.port);
        self.cache_control = self.cache_control.or(outer.cache_control);
        if self.verify.is_none() {
            (self.verify, self.threads) = (outer.verify, outer.threads);
        }
        if self.store_paths.is_empty() {
            self.store_paths.clone_from(&outer.store_paths);
        }
        if self.members.is_empty() {
            self.members.clone_from(&outer.members);
        }
        if self.peers.is_empty() {
            self.peers.clone_from(&outer.peers);
        }
        self.rules.inherit(&outer.rules);
    }

    /// Puts the groups together, the default one first.
    fn build(&mut self, here: &str) -> Result<Site, String> {
        let mut site = Site::default();
        let read: Vec<_> = self.members.iter().map(|path| (path, site::read(path))).collect();
        let lone = match read.as_slice() {
            [(_, Ok(members))] => Some(members.group),
            _ => None,
        };
        let default = self.group.or(lone);
        let needs = |what: &str| format!("{here} needs a \"{what}\"");
        if let Some(name) = default {
            site.group(name);
        }
        for (name, data) in &self.store_paths {
            let name = name.or(default).ok_or_else(|| needs("fastdfs_group"))?;
            site.group(name).data_dirs.push(data.clone());
        }
        for (path, members) in &read {
            match (members, default) {
                (Ok(members), _) => {
                    let group = site.group(members.group);
                    if group.data_dirs.is_empty() {
                        for path in &members.store_paths {
                            let data = data_dir(path.as_bytes())
                                .map_err(|why| format!("store path \"{path}\": {why}"))?;
                            group.data_dirs.push(data);
                        }
                    }
                    group.follow((*path).clone(), Some(members));
                }
                // The storage may not have told yet, and what is needed to serve is there. Workers
                // look again, and report what they cannot read.
                (Err(_), Some(name)) if !self.store_paths.is_empty() => {
                    site.group(name).follow((*path).clone(), None);
                }
                (Err(why), _) => return Err(format!("\"fastdfs_members\" {why}")),
            }
        }
        for (name, peer) in &self.peers {
            let name = name.or(default).ok_or_else(|| needs("fastdfs_group"))?;
            site.group(name).add_peer(peer.clone());
        }
        if let Some(name) = default {
            self.group = Some(name);
            let group = site.group(name);
            group.recognise_own();
            if group.data_dirs.is_empty() && !group.has_peers() {
                return Err(needs("fastdfs_store_path"));
            }
        }
        Ok(site)
    }

    /// Whether `ngx_fastdfs_module` stands here itself.
    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    pub(crate) fn site(&self) -> Option<&Rc<Site>> {
        self.site.as_ref()
    }

    pub(crate) fn url_has_group(&self) -> bool {
        self.url_group.unwrap_or(true)
    }

    pub(crate) fn replica_mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::Proxy)
    }

    pub(crate) fn replica_port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn caches(&self) -> bool {
        self.cache_control.unwrap_or(true)
    }
}

/// The directory with the files of a store path; the path must be there, the directory need not.
pub(crate) fn data_dir(path: &[u8]) -> Result<Vec<u8>, String> {
    match std::fs::metadata(OsStr::from_bytes(path)) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err("not a directory".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    let mut data = path.strip_suffix(b"/").unwrap_or(path).to_vec();
    data.extend_from_slice(b"/data/");
    Ok(data)
}

fn path(directive: &mut Directive<'_>) -> Result<PathBuf, String> {
    let path = directive.full_path().ok_or("out of memory")?;
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

fn choice<T: Copy>(value: &[u8], name: &[u8], all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(value));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = all.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let (value, name) = (printable(value), printable(name));
        format!("invalid value \"{value}\" in \"{name}\", it must be {}", words.join(" or "))
    })
}

fn flag(value: &[u8], name: &[u8]) -> Result<bool, String> {
    choice(value, name, &[("on", true), ("off", false)])
}

fn unknown(word: &[u8], name: &CStr) -> String {
    format!("invalid parameter \"{}\" in \"{}\"", printable(word), printable(name.to_bytes()))
}

fn port(value: &[u8], name: &[u8]) -> Result<u16, String> {
    let port = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    port.filter(|port| *port != 0).ok_or_else(|| {
        let (value, name) = (printable(value), printable(name));
        format!("invalid port \"{value}\" in \"{name}\", it must be 1 to 65535")
    })
}

fn group(text: &[u8], name: &[u8]) -> Result<GroupName, String> {
    let (shown, name) = (printable(text), printable(name));
    let refusal = || {
        format!("invalid group \"{shown}\" in \"{name}\", it must be 1 to 16 letters and digits")
    };
    std::str::from_utf8(text).ok().and_then(GroupName::parse).ok_or_else(refusal)
}

/// `ADDRESS[:PORT] [group=G] [id=N] [url=BASE] [self]`.
fn peer(directive: &Directive<'_>) -> Result<(Option<GroupName>, Peer), String> {
    let at = printable(directive.word(1));
    let whole: Option<std::net::SocketAddr> = at.parse().ok();
    let address = whole.map(|socket| socket.ip()).or_else(|| parse_ip(&at));
    let address = address.ok_or_else(|| {
        format!("invalid address \"{at}\" in \"fastdfs_member\", it must be numeric")
    })?;
    let member = Member { address, id: None, state: StorageState::Active, own: false };
    let mut peer = Peer { member, port: whole.map(|socket| socket.port()), url: None };
    let mut named = None;
    for word in (2..).map(|at| directive.word(at)).take_while(|word| !word.is_empty()) {
        let text = printable(word);
        match text.split_once('=') {
            None if text == "self" => peer.member.own = true,
            Some(("group", name)) => named = Some(group(name.as_bytes(), MEMBER.to_bytes())?),
            Some(("id", id)) => {
                let id = StorageId::parse(id).filter(|id| id.number().is_some());
                peer.member.id = Some(id.ok_or_else(|| unknown(word, MEMBER))?);
            }
            Some(("url", url)) if url.starts_with("http://") || url.starts_with("https://") => {
                peer.url = Some(url.trim_end_matches('/').to_owned());
            }
            _ => return Err(unknown(word, MEMBER)),
        }
    }
    Ok((named, peer))
}

fn md5(directive: &Directive<'_>) -> Result<Md5, String> {
    let ttl = match directive.word(2) {
        b"" => Some(legacy::TTL_SECS),
        word => word.strip_prefix(b"ttl=").and_then(proto::query::number),
    };
    let ttl_secs = ttl.filter(|ttl| *ttl != 0);
    let ttl_secs = ttl_secs.ok_or_else(|| unknown(directive.word(2), MD5_SECRET))?;
    match directive.word(1) {
        b"" => Err("\"fastdfs_md5_secret\" is empty".to_owned()),
        secret => Ok(Md5 { secret: secret.to_vec(), ttl_secs }),
    }
}

fn fail(value: &[u8]) -> Result<Fail, String> {
    if value.starts_with(b"/") {
        return match std::fs::File::open(OsStr::from_bytes(value)) {
            Ok(_) => Ok(Fail::File(value.to_vec())),
            Err(error) => {
                Err(format!("file \"{}\" of \"fastdfs_token_fail\": {error}", printable(value)))
            }
        };
    }
    let all = [("400", 400), ("403", 403), ("404", 404), ("410", 410)];
    let status = choice(value, TOKEN_FAIL.to_bytes(), &all);
    status.map(Fail::Status).map_err(|why| why + " or an absolute path")
}

pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Conf;

    #[test]
    fn only_what_is_unset_is_inherited() {
        for (inner, outer, merged) in [
            (None, Some(false), false),
            (None, Some(true), true),
            (Some(false), Some(true), false),
            (Some(true), Some(false), true),
            (None, None, true),
        ] {
            let mut conf = Conf { url_group: inner, ..Conf::default() };
            conf.inherit(&Conf { url_group: outer, ..Conf::default() });
            assert_eq!(conf.url_has_group(), merged);
        }
    }

    #[test]
    fn a_location_that_serves_nothing_needs_nothing() {
        assert_eq!(Conf::default().merge(&Conf::default(), b"/"), Ok(()));
        let file = Some("/nowhere/mod_fastdfs.conf".into());
        let mut serving = Conf { serves: true, file, ..Conf::default() };
        let refusal = "\"ngx_fastdfs_module\" in location \"/a\" needs a \"fastdfs_group\", \
                       a \"fastdfs_members\", or \"/nowhere/mod_fastdfs.conf\": \
                       No such file or directory (os error 2)";
        assert_eq!(serving.merge(&Conf::default(), b"/a"), Err(refusal.to_owned()));
    }
}
