//! `.data_init_flag`: when this storage was born, where its initial copy comes from, and the
//! marks of its store paths (storage.md 5.3).
//!
//! Pure: text in, value out. Keys we do not know are kept as they are, so that the reference
//! finds them again.

use std::{collections::BTreeMap, fmt::Write as _};

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

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Unix seconds of the very first start.
    pub join_time: i64,
    /// A source for the initial copy was assigned, or none is needed.
    pub sync_old_done: bool,
    pub sync_source: Option<StorageId>,
    pub sync_until: i64,
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
            } else if !KEYS.iter().take(6).any(|known| *known == key) {
                others.push((key.to_owned(), value.to_owned()));
            }
        }
        Ok(Self {
            join_time: number("storage_join_time", required("storage_join_time")?)?,
            sync_old_done: required("sync_old_done")? != "0",
            sync_source: match source {
                "" => None,
                id => Some(StorageId::parse(id).ok_or(BadIdentity::Value("sync_src_server"))?),
            },
            sync_until: number("sync_until_timestamp", optional("sync_until_timestamp"))?,
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
    fn required_keys_are_required() {
        for key in ["storage_join_time", "sync_old_done", "sync_src_server"] {
            let lines = TEXT.lines().filter(|line| !line.starts_with(key));
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            assert_eq!(Identity::parse(&text), Err(BadIdentity::Missing(key)));
        }
    }
}
