//! The drive's configuration: `conf/fastdisk.toml` as written ([`RawConfig`]) and as meant
//! ([`Config`]).
//!
//! Called once at the start of every worker and by `fastdisk config`. Never opens what it names:
//! a server that is away is no reason to refuse a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The workers that exist; each must have a `[workers.NAME]` section and no other may.
pub(crate) const WORKERS: [&str; 11] = [
    "login", "register", "upload", "instant", "mydisk", "category", "download", "share", "admin",
    "events", "thumb",
];

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{key} = {value:?}: {want}")]
    Value { key: String, value: String, want: &'static str },
    #[error("[workers.{0}] is missing")]
    NoWorker(&'static str),
    #[error("[workers.{0}] names no worker; there are {WORKERS:?}")]
    UnknownWorker(String),
}

fn bad(key: &str, value: impl ToString, want: &'static str) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), value: value.to_string(), want }
}

/// The file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    site: RawSite,
    store: RawStore,
    database: RawDatabase,
    redis: RawRedis,
    memcached: RawMemcached,
    workers: BTreeMap<String, RawWorker>,
    limits: Limits,
    run: RawRun,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    listen: String,
    #[serde(default)]
    public_url: String,
    secret_file: String,
    trusted_proxies: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    private: bool,
    trackers: Vec<String>,
    #[serde(default)]
    group: String,
    timeout_s: u64,
    connect_timeout_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDatabase {
    private: bool,
    #[serde(default)]
    socket: String,
    #[serde(default)]
    address: String,
    user: String,
    #[serde(default)]
    password: String,
    name: String,
    connections_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRedis {
    private: bool,
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMemcached {
    private: bool,
    socket: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorker {
    listen: String,
    processes: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    dir: String,
    tracker_port: u16,
    storage_port: u16,
}

/// Every limit of the drive; `conf/fastdisk.toml` says what each is for. All are at least 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) quota_default_bytes: u64,
    pub(crate) upload_bytes_max: u64,
    pub(crate) uploads_per_user_max: u64,
    pub(crate) resumable_uploads_per_user_max: u64,
    pub(crate) upload_expires_s: u64,
    pub(crate) instant_per_user_max: u64,
    pub(crate) second_factors_per_user_max: u64,
    pub(crate) tokens_per_user_max: u64,
    pub(crate) token_failures_per_address_max: u64,
    pub(crate) events_per_user_max: u64,
    pub(crate) json_bytes_max: u64,
    pub(crate) multipart_parts_max: u64,
    pub(crate) multipart_header_bytes_max: u64,
    pub(crate) page_entries_max: u64,
    pub(crate) batch_items_max: u64,
    pub(crate) copy_nodes_max: u64,
    pub(crate) trash_retention_s: u64,
    pub(crate) zip_members_max: u64,
    pub(crate) zips_per_user_max: u64,
    pub(crate) thumb_source_bytes_max: u64,
    pub(crate) thumb_memory_bytes_max: u64,
    pub(crate) thumb_jobs_max: u64,
    pub(crate) requests_max: u64,
    pub(crate) password_jobs_max: u64,
    pub(crate) password_queue_max: u64,
    pub(crate) session_idle_s: u64,
    pub(crate) session_absolute_s: u64,
    pub(crate) sessions_per_user_max: u64,
    pub(crate) login_window_s: u64,
    pub(crate) login_failures_per_account_and_address_max: u64,
    pub(crate) login_failures_per_account_max: u64,
    pub(crate) login_failures_per_address_max: u64,
    pub(crate) login_failures_total_max: u64,
    pub(crate) registrations_per_address_max: u64,
    pub(crate) registrations_total_max: u64,
}

impl Limits {
    /// Name and value of each, in the order of the file.
    pub(crate) fn table(&self) -> [(&'static str, u64); 35] {
        [
            ("quota_default_bytes", self.quota_default_bytes),
            ("upload_bytes_max", self.upload_bytes_max),
            ("uploads_per_user_max", self.uploads_per_user_max),
            ("resumable_uploads_per_user_max", self.resumable_uploads_per_user_max),
            ("upload_expires_s", self.upload_expires_s),
            ("instant_per_user_max", self.instant_per_user_max),
            ("second_factors_per_user_max", self.second_factors_per_user_max),
            ("tokens_per_user_max", self.tokens_per_user_max),
            ("token_failures_per_address_max", self.token_failures_per_address_max),
            ("events_per_user_max", self.events_per_user_max),
            ("json_bytes_max", self.json_bytes_max),
            ("multipart_parts_max", self.multipart_parts_max),
            ("multipart_header_bytes_max", self.multipart_header_bytes_max),
            ("page_entries_max", self.page_entries_max),
            ("batch_items_max", self.batch_items_max),
            ("copy_nodes_max", self.copy_nodes_max),
            ("trash_retention_s", self.trash_retention_s),
            ("zip_members_max", self.zip_members_max),
            ("zips_per_user_max", self.zips_per_user_max),
            ("thumb_source_bytes_max", self.thumb_source_bytes_max),
            ("thumb_memory_bytes_max", self.thumb_memory_bytes_max),
            ("thumb_jobs_max", self.thumb_jobs_max),
            ("requests_max", self.requests_max),
            ("password_jobs_max", self.password_jobs_max),
            ("password_queue_max", self.password_queue_max),
            ("session_idle_s", self.session_idle_s),
            ("session_absolute_s", self.session_absolute_s),
            ("sessions_per_user_max", self.sessions_per_user_max),
            ("login_window_s", self.login_window_s),
            (
                "login_failures_per_account_and_address_max",
                self.login_failures_per_account_and_address_max,
            ),
            ("login_failures_per_account_max", self.login_failures_per_account_max),
            ("login_failures_per_address_max", self.login_failures_per_address_max),
            ("login_failures_total_max", self.login_failures_total_max),
            ("registrations_per_address_max", self.registrations_per_address_max),
            ("registrations_total_max", self.registrations_total_max),
        ]
    }
}

/// A place to listen on or connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// `host:port`, `[v6]:port`, or `unix:PATH` with the path relative to `base`.
    fn parse(key: &str, text: &str, base: &Path) -> Result<Self, ConfigError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Unix(socket_path(key, path, base)?));
        }
        Self::parse_tcp(text).ok_or_else(|| bad(key, text, "want host:port or unix:PATH"))
    }

    fn parse_tcp(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        // An IPv6 address without brackets would lose its last group to the port.
        if bare.is_none() && (host.is_empty() || host.contains(':')) {
            return None;
        }
        let port = port.parse().ok()?;
        Some(Self::Tcp { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The longest path the kernel takes for a unix socket, without its final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

fn socket_path(key: &str, text: &str, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = base.join(text);
    if text.is_empty() || SOCKET_PATH_BYTES_MAX < path.as_os_str().len() {
        return Err(bad(key, path.display(), "want the path of a socket, at most 107 bytes"));
    }
    Ok(path)
}

/// How a worker is started.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) listen: Address,
    pub(crate) processes: u16,
}

/// Where the database is and who we are to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) private: bool,
    pub(crate) server: Address,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) name: String,
    pub(crate) connections_max: usize,
}

// By hand, so that the password cannot reach a log line.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The cluster that keeps the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) private: bool,
    /// At least one.
    pub(crate) trackers: Vec<Address>,
    /// None: the tracker chooses.
    pub(crate) group: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// The settings, as meant. Having one means they are usable; every path is absolute.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: Address,
    /// Scheme and host people use, without a final slash; None: taken from each request.
    pub(crate) public_url: Option<String>,
    /// Holds the key that seals secrets in the database.
    pub(crate) secret_file: PathBuf,
    /// Addresses and networks whose word about a client's address is taken.
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) store: Store,
    pub(crate) database: Database,
    pub(crate) redis_private: bool,
    /// In the form the Redis client takes.
    pub(crate) redis_url: String,
    /// The socket alone, when the URL is one.
    pub(crate) redis_socket: Option<PathBuf>,
    pub(crate) memcached_private: bool,
    pub(crate) memcached_socket: PathBuf,
    /// One for each of [`WORKERS`].
    pub(crate) workers: BTreeMap<&'static str, Worker>,
    pub(crate) limits: Limits,
    pub(crate) run_dir: PathBuf,
    pub(crate) tracker_port: u16,
    pub(crate) storage_port: u16,
}

impl Config {
    /// Reads and checks the file at `path`; `run_dir` wins over the file's.
    pub(crate) fn load(path: &Path, run_dir: Option<PathBuf>) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let home = std::path::absolute(path).map_err(read)?;
        let home = home.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_owned();
        let raw: RawConfig = toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let run_dir = run_dir.unwrap_or_else(|| PathBuf::from(&raw.run.dir));
        raw.check(&home.join(run_dir))
    }
}

impl RawConfig {
    fn check(self, base: &Path) -> Result<Config, ConfigError> {
        check_text("run.dir", &base.to_string_lossy())?;
        for (name, value) in self.limits.table() {
            // The database keeps sizes in signed 64-bit columns.
            if value == 0 || i64::try_from(value).is_err() {
                return Err(bad(&format!("limits.{name}"), value, "want 1 to 2^63 - 1"));
            }
        }
        let (redis_url, redis_socket) = check_redis(&self.redis.url, base)?;
        Ok(Config {
            listen: Address::parse_tcp(&self.site.listen)
                .ok_or_else(|| bad("site.listen", &self.site.listen, "want host:port"))?,
            public_url: check_public_url(&self.site.public_url)?,
            secret_file: check_path("site.secret_file", &self.site.secret_file, base)?,
            trusted_proxies: check_networks(self.site.trusted_proxies)?,
            store: self.store.check()?,
            database: self.database.check(base)?,
            redis_private: self.redis.private,
            redis_url,
            redis_socket,
            memcached_private: self.memcached.private,
            memcached_socket: socket_path("memcached.socket", &self.memcached.socket, base)?,
            workers: check_workers(&self.workers, base)?,
            limits: self.limits,
            run_dir: base.to_owned(),
            tracker_port: self.run.tracker_port,
            storage_port: self.run.storage_port,
        })
    }
}

impl RawStore {
    fn check(self) -> Result<Store, ConfigError> {
        let mut trackers = Vec::new();
        for text in &self.trackers {
            let address = Address::parse_tcp(text)
                .ok_or_else(|| bad("store.trackers", text, "want host:port"))?;
            trackers.push(address);
        }
        if trackers.is_empty() {
            return Err(bad("store.trackers", "[]", "want at least one host:port"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if 16 < self.group.len() || !self.group.bytes().all(plain) {
            return Err(bad("store.group", self.group, "want up to 16 letters and digits"));
        }
        if self.timeout_s == 0 || self.connect_timeout_s == 0 {
            return Err(bad("store.timeout_s", 0, "want at least 1"));
        }
        Ok(Store {
            private: self.private,
            trackers,
            group: Some(self.group).filter(|g| !g.is_empty()),
            timeout: Duration::from_secs(self.timeout_s),
            connect_timeout: Duration::from_secs(self.connect_timeout_s),
        })
    }
}

impl RawDatabase {
    fn check(self, base: &Path) -> Result<Database, ConfigError> {
        let server = if self.socket.is_empty() {
            Address::parse_tcp(&self.address).ok_or_else(|| {
                bad("database.address", &self.address, "want host:port, or a socket")
            })?
        } else {
            Address::Unix(socket_path("database.socket", &self.socket, base)?)
        };
        check_text("database.user", &self.user)?;
        // stack.sh and `fastdisk migrate` write this name into statements that cannot bind it.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if self.name.is_empty() || 64 < self.name.len() || !self.name.bytes().all(plain) {
            return Err(bad("database.name", self.name, "want up to 64 letters, digits and _"));
        }
        if !(1..=1024).contains(&self.connections_max) {
            return Err(bad("database.connections_max", self.connections_max, "want 1 to 1024"));
        }
        Ok(Database {
            private: self.private,
            server,
            user: self.user,
            password: self.password,
            name: self.name,
            connections_max: self.connections_max,
        })
    }
}

fn check_workers(
    raw: &BTreeMap<String, RawWorker>,
    base: &Path,
) -> Result<BTreeMap<&'static str, Worker>, ConfigError> {
    if let Some(name) = raw.keys().find(|name| !WORKERS.contains(&name.as_str())) {
        return Err(ConfigError::UnknownWorker(name.clone()));
    }
    let mut workers = BTreeMap::new();
    for name in WORKERS {
        let worker = raw.get(name).ok_or(ConfigError::NoWorker(name))?;
        let key = format!("workers.{name}.listen");
        let listen = Address::parse(&key, &worker.listen, base)?;
        if !(1..=256).contains(&worker.processes) {
            let key = format!("workers.{name}.processes");
            return Err(bad(&key, worker.processes, "want 1 to 256"));
        }
        workers.insert(name, Worker { listen, processes: worker.processes });
    }
    Ok(workers)
}

/// The URL for the client, and the socket in it.
fn check_redis(text: &str, base: &Path) -> Result<(String, Option<PathBuf>), ConfigError> {
    if text.starts_with("redis://") {
        check_text("redis.url", text)?;
        return Ok((text.to_owned(), None));
    }
    match Address::parse("redis.url", text, base)? {
        Address::Unix(path) => Ok((format!("unix://{}", path.display()), Some(path))),
        Address::Tcp { .. } => Err(bad("redis.url", text, "want unix:PATH or redis://host:port")),
    }
}

fn check_public_url(text: &str) -> Result<Option<String>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains('/') => {
            check_text("site.public_url", host)?;
            Ok(Some(text.to_ascii_lowercase()))
        }
        _ => Err(bad("site.public_url", text, "want https://host or http://host, no path")),
    }
}

fn check_path(key: &str, text: &str, base: &Path) -> Result<PathBuf, ConfigError> {
    check_text(key, text)?;
    Ok(base.join(text))
}

/// Each `address` or `address/bits`, as nginx takes them.
fn check_networks(list: Vec<String>) -> Result<Vec<String>, ConfigError> {
    for text in &list {
        let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
        let address = address.parse::<std::net::IpAddr>();
        let most = if address.as_ref().is_ok_and(|a| a.is_ipv4()) { 32 } else { 128 };
        if address.is_err() || bits.parse::<u8>().map_or(true, |bits| most < bits) {
            let want = "want addresses such as 10.0.0.1 or networks such as 10.0.0.0/8";
            return Err(bad("site.trusted_proxies", text, want));
        }
    }
    Ok(list)
}

/// Refuses what would break a line of `fastdisk config`, of nginx's or of a server's own file.
fn check_text(key: &str, text: &str) -> Result<(), ConfigError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(bad(key, text, "want a text without control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../conf/fastdisk.toml");

    fn parse(text: &str) -> Result<Config, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        raw.check(Path::new("/srv/run")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_shipped_file_is_accepted_and_its_paths_are_absolute() {
        let config = parse(SHIPPED).unwrap();
        assert_eq!(config.database.server, Address::Unix("/srv/run/mysql.sock".into()));
        assert_eq!(config.redis_url, "unix:///srv/run/redis.sock");
        assert_eq!(config.workers.len(), WORKERS.len());
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = SHIPPED.replacen("public_url", "public_ulr", 1);
        let line = text.lines().position(|l| l.starts_with("public_ulr")).unwrap() + 1;
        let error = parse(&text).unwrap_err();
        assert!(error.contains(&format!("line {line},")), "{error}");
        assert!(error.contains("public_ulr"), "{error}");
    }

    #[test]
    fn bad_values_are_refused_by_key() {
        let cases = [
            ("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1\"", "site.listen"),
            ("listen = \"127.0.0.1:8080\"", "listen = \"::1:8080\"", "site.listen"),
            ("public_url = \"\"", "public_url = \"disk.example.com\"", "site.public_url"),
            ("public_url = \"\"", "public_url = \"https://a/b\"", "site.public_url"),
            ("[\"127.0.0.1:22122\"]", "[]", "store.trackers"),
            ("group = \"group1\"", "group = \"../etc\"", "store.group"),
            ("name = \"fastdisk\"", "name = \"a`b\"", "database.name"),
            ("connections_max = 8", "connections_max = 0", "database.connections_max"),
            ("\"unix:redis.sock\"", "\"redis.sock\"", "redis.url"),
            ("page_entries_max = 1_000", "page_entries_max = 0", "limits.page_entries_max"),
            ("trusted_proxies = []", "trusted_proxies = [\"10.0.0.0/33\"]", "trusted_proxies"),
            ("trusted_proxies = []", "trusted_proxies = [\"x; y\"]", "trusted_proxies"),
            ("[workers.mydisk]", "[workers.yourdisk]", "workers.yourdisk"),
            ("processes = 1", "processes = 0", "workers.login.processes"),
        ];
        for (from, to, key) in cases {
            assert!(SHIPPED.contains(from), "{from}");
            let error = parse(&SHIPPED.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(key), "{to}: {error}");
        }
    }

    #[test]
    fn a_socket_path_that_the_kernel_would_cut_is_refused() {
        let long = format!("socket = \"/{}\"", "x".repeat(SOCKET_PATH_BYTES_MAX));
        let error = parse(&SHIPPED.replacen("socket = \"mysql.sock\"", &long, 1)).unwrap_err();
        assert!(error.contains("database.socket"), "{error}");
    }
}
