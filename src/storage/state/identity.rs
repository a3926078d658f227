//! `.data_init_flag`: when this storage was born, where its initial copy comes from, and the
//! marks of its store paths (storage.md 5.3).
//!
//! Pure: text in, value out. Keys we do not know are kept as they are, so that the reference
//! finds them again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
};

use proto::ids::StorageId;

/// The keys in the order in which they are written.
const KEYS: [&str; 9] = [
    "storage_join_time",
    "sync_old_done",
    "sync_src_server",
    "sync_until_timestamp",
    "last_ip_addr",
    "last_server_port",
    "current_trunk_file_id",
    "trunk_last_compress_time",
    "trunk_binlog_compress_stage",
];
const MARK: &str = "store_path_mark";
/// A key of our own, written only while there is an initial copy to wait for.
const WAITING: &str = "initial_copy_not_told";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Unix seconds of the very first start.
    pub join_time: i64,
    /// A source for the initial copy was assigned, or none is needed.
    pub sync_old_done: bool,
    pub sync_source: Option<StorageId>,
    pub sync_until: i64,
    /// There from the moment on that another one is to fill us until a tracker has said that it
    /// has: the trackers that still believe that we have what we had before.
    pub waiting: Option<BTreeSet<SocketAddr>>,
    /// `a` or `a,b`, as the tracker saw us last.
    pub last_ip: String,
    pub last_port: u16,
    /// Marks by number of the store path.
    pub marks: BTreeMap<u16, String>,
    /// The keys of trunk files, and what we do not know.
    others: Vec<(String, String)>,
}

/// Why a file is not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} has a bad value")]
    Value(&'static str),
}

impl Identity {
    /// A storage that was never here before.
    pub fn newborn(now: i64) -> Self {
        let others = KEYS.iter().skip(6).map(|key| ((*key).to_owned(), "0".to_owned()));
        Self {
            join_time: now,
            sync_old_done: false,
            sync_source: None,
            sync_until: 0,
            waiting: None,
            last_ip: String::new(),
            last_port: 0,
            marks: BTreeMap::new(),
            others: others.collect(),
        }
    }

    /// As a new member: another one fills us, and we are in service when we have all.
    pub fn begin_anew(&mut self) {
        self.sync_old_done = false;
        self.sync_source = None;
        self.sync_until = 0;
        // Who was waiting already has lacked something before, too.
        self.waiting = self.waiting.take().map(|_| BTreeSet::new());
    }

    /// The one that was to fill us was removed: if we have not got everything another one does, or
    /// nobody if none is left.
    pub fn lose_source(&mut self) {
        if self.is_whole() {
            return self.forget_source();
        }
        self.begin_anew();
        self.waiting = None;
    }

    /// This one is to fill us up to that time, or nobody needs to; `trackers` are to hear of it.
    pub fn arrange(&mut self, source: Option<StorageId>, until: i64, trackers: &[SocketAddr]) {
        self.sync_old_done = true;
        self.sync_source = source;
        self.sync_until = until;
        self.waiting = source.map(|_| trackers.iter().copied().collect());
    }

    /// The one that filled us is gone from the group.
    pub fn forget_source(&mut self) {
        self.sync_source = None;
        self.sync_until = 0;
    }

    /// Whether this tracker may believe that we have what we had before, or has to be asked who
    /// fills us.
    pub fn is_new_to(&self, tracker: SocketAddr) -> bool {
        let untold = self.waiting.as_ref().is_some_and(|all| all.contains(&tracker));
        !self.sync_old_done || untold
    }

    /// Whether we have all that the one that fills us had to send, as far as trackers have said.
    pub fn is_whole(&self) -> bool {
        self.sync_old_done && self.waiting.is_none()
    }

    /// This tracker has heard who fills us.
    pub fn told(&mut self, tracker: SocketAddr) {
        if let Some(all) = &mut self.waiting {
            all.remove(&tracker);
        }
    }

    /// This tracker has us in service. If it had heard that we are to be filled, we have been.
    pub fn in_service_at(&mut self, tracker: SocketAddr) {
        if !self.is_new_to(tracker) {
            self.waiting = None;
        }
    }

    pub fn parse(text: &str) -> Result<Self, BadIdentity> {
        let required = |key| super::value(text, key).ok_or(BadIdentity::Missing(key));
        let number = |key, value: &str| value.parse().map_err(|_| BadIdentity::Value(key));
        let optional = |key| super::value(text, key).unwrap_or("0");
        let source = required("sync_src_server")?;
        let mut marks = BTreeMap::new();
        let mut others = Vec::new();
        for (key, value) in super::pairs(text) {
            let path = key.strip_prefix(MARK).and_then(|number| number.parse().ok());
            if let Some(path) = path {
                marks.insert(path, value.to_owned());
            } else if key != WAITING && !KEYS.iter().take(6).any(|known| *known == key) {
                others.push((key.to_owned(), value.to_owned()));
            }
        }
        let waiting = super::value(text, WAITING).map(|all| {
            let each = all.split(',').filter(|tracker| !tracker.is_empty());
            each.map(str::parse).collect::<Result<_, _>>()
        });
        Ok(Self {
            join_time: number("storage_join_time", required("storage_join_time")?)?,
            sync_old_done: required("sync_old_done")? != "0",
            sync_source: match source {
                "" => None,
                id => Some(StorageId::parse(id).ok_or(BadIdentity::Value("sync_src_server"))?),
            },
            sync_until: number("sync_until_timestamp", optional("sync_until_timestamp"))?,
            waiting: waiting.transpose().map_err(|_| BadIdentity::Value(WAITING))?,
            last_ip: super::value(text, "last_ip_addr").unwrap_or("").to_owned(),
            last_port: u16::try_from(number("last_server_port", optional("last_server_port"))?)
                .map_err(|_| BadIdentity::Value("last_server_port"))?,
            marks,
            others,
        })
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "storage_join_time={}\nsync_old_done={}\nsync_src_server={}\n\
             sync_until_timestamp={}\nlast_ip_addr={}\nlast_server_port={}\n",
            self.join_time,
            u8::from(self.sync_old_done),
            self.sync_source.as_ref().map_or("", StorageId::as_str),
            self.sync_until,
            self.last_ip,
            self.last_port,
        );
        let marks = self.marks.iter().map(|(path, mark)| (format!("{MARK}{path}"), mark));
        let others = self.others.iter().map(|(key, value)| (key.clone(), value));
        for (key, value) in others.chain(marks) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={value}");
        }
        if let Some(waiting) = &self.waiting {
            let all: Vec<String> = waiting.iter().map(SocketAddr::to_string).collect();
            let _ = writeln!(text, "{WAITING}={}", all.join(","));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "storage_join_time=1795385437\nsync_old_done=1\nsync_src_server=\n\
        sync_until_timestamp=0\nlast_ip_addr=192.0.2.2\nlast_server_port=33001\n\
        current_trunk_file_id=0\ntrunk_last_compress_time=0\ntrunk_binlog_compress_stage=0\n\
        store_path_mark0=MTkyLjAuMi4yAAAA\nstore_path_mark7=x\n";

    #[test]
    fn the_reference_s_file_is_kept_as_it_is() {
        let identity = Identity::parse(TEXT).unwrap();
        assert_eq!(identity.join_time, 1_795_385_437);
        assert_eq!(identity.marks.get(&7).map(String::as_str), Some("x"));
        assert_eq!(identity.text(), TEXT);
    }

    #[test]
    fn a_newborn_writes_every_key() {
        let text = Identity::newborn(1).text();
        for key in KEYS {
            assert!(text.contains(&format!("{key}=")), "{key}");
        }
        assert_eq!(Identity::parse(&text), Ok(Identity::newborn(1)));
    }

    #[test]
    fn a_tracker_takes_us_for_new_until_it_has_heard_who_fills_us() {
        let trackers = [1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], 22122)));
        let mut identity = Identity::parse(TEXT).unwrap();
        assert!(!trackers.iter().any(|at| identity.is_new_to(*at)));
        identity.begin_anew();
        assert!(trackers.iter().all(|at| identity.is_new_to(*at)));
        identity.arrange(StorageId::parse("10.0.0.9"), 7, &trackers);
        identity.told(trackers[0]);
        let identity = Identity::parse(&identity.text()).unwrap();
        assert_eq!(trackers.map(|at| identity.is_new_to(at)), [false, true]);

        let mut filled = identity.clone();
        filled.in_service_at(trackers[1]);
        assert!(filled.waiting.is_some(), "it speaks of what was before");
        filled.in_service_at(trackers[0]);
        assert!(filled.waiting.is_none() && !filled.is_new_to(trackers[1]));
        assert!(!filled.text().contains(WAITING), "as the reference writes it");

        let mut again = identity;
        again.begin_anew();
        let mut again = Identity::parse(&again.text()).unwrap();
        assert!(again.waiting.is_some(), "it is known that there is something to be had");
        again.arrange(None, 0, &trackers);
        assert!(again.waiting.is_none() && !again.is_new_to(trackers[1]));
    }

    #[test]
    fn required_keys_are_required() {
        for key in ["storage_join_time", "sync_old_done", "sync_src_server"] {
            let lines = TEXT.lines().filter(|line| !line.starts_with(key));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            assert_eq!(Identity::parse(&text), Err(BadIdentity::Missing(key)));
        }
    }
}
