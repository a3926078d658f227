//! Every key of `storage.conf`, and what it does here.

use std::collections::BTreeSet;

use proto::ini::Ini;

/// What a key of the reference means to this storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It does what the reference says.
    Kept,
    /// It changes nothing here; the text says what happens instead.
    Idle(&'static str),
    /// A switch for something that is not there yet; the text says what happens without it.
    NotYet(&'static str),
}

use Use::{Idle, Kept, NotYet};

const BY_RUNTIME: &str = "threads and their stacks are sized by the runtime";
const BY_BYTES: &str = "buffers grow with the bytes that arrive, to 256 KB";
const BY_SYSTEM: &str = "the system decides when to acknowledge";
const IO_URING: &str = "sockets are driven by epoll, files by threads";
const BY_DURABILITY: &str = "the key durability says what is synced before an answer";
const NO_DHT: &str = "equal contents are stored as often as they are uploaded";
const LOCAL: &str = "addresses are those that the trackers see";
const NO_POOL: &str = "each tracker has one connection, which stays open";
const AT_ROTATION: &str = "old log files go when a new one is begun";

/// All keys of the global section, in the order of the specification, then ours.
const KEYS: &[(&str, Use)] = &[
    ("disabled", Kept),
    ("group_name", Kept),
    ("bind_addr", Kept),
    ("client_bind", Kept),
    ("port", Kept),
    ("address_family", Kept),
    ("server_id", Kept),
    ("connect_timeout", Kept),
    ("network_timeout", Kept),
    ("use_io_uring", Idle(IO_URING)),
    ("use_send_zc", Idle(IO_URING)),
    ("tcp_quick_ack", Idle(BY_SYSTEM)),
    ("heart_beat_interval", Kept),
    ("stat_report_interval", Kept),
    ("base_path", Kept),
    ("max_connections", Kept),
    ("buff_size", Idle(BY_BYTES)),
    ("min_buff_size", Idle(BY_BYTES)),
    ("max_buff_size", Idle(BY_BYTES)),
    ("accept_threads", Idle(BY_RUNTIME)),
    ("work_threads", Idle(BY_RUNTIME)),
    ("thread_stack_size", Idle(BY_RUNTIME)),
    ("disk_rw_separated", Idle("readers and writers of a store path share its threads")),
    ("disk_reader_threads", Kept),
    ("disk_writer_threads", Kept),
    ("sync_min_threads", Kept),
    ("sync_max_threads", Kept),
    ("sync_wait_msec", Kept),
    ("sync_interval", Kept),
    ("sync_start_time", Kept),
    ("sync_end_time", Kept),
    ("write_mark_file_freq", Kept),
    ("disk_recovery_threads", Kept),
    ("store_path_count", Kept),
    ("subdir_count_per_path", Kept),
    ("tracker_server", Kept),
    ("log_level", Kept),
    ("run_by_group", Kept),
    ("run_by_user", Kept),
    ("allow_hosts", Kept),
    ("file_distribute_path_mode", Kept),
    ("file_distribute_rotate_count", Kept),
    ("fsync_after_written_bytes", Idle(BY_DURABILITY)),
    ("sync_binlog_buff_interval", Idle(BY_DURABILITY)),
    ("sync_stat_file_interval", Kept),
    ("upload_priority", Kept),
    ("if_alias_prefix", Idle(LOCAL)),
    ("check_file_duplicate", NotYet(NO_DHT)),
    ("file_signature_method", Idle(NO_DHT)),
    ("key_namespace", Idle(NO_DHT)),
    ("keep_alive", Idle(NO_DHT)),
    ("group_count", Idle(NO_DHT)),
    ("use_proxy", NotYet(NO_DHT)),
    ("proxy_addr", Idle(NO_DHT)),
    ("proxy_port", Idle(NO_DHT)),
    ("file_sync_skip_invalid_record", Kept),
    ("use_connection_pool", Idle(NO_POOL)),
    ("connection_pool_max_idle_time", Idle(NO_POOL)),
    ("compress_binlog", Kept),
    ("compress_binlog_time", Kept),
    ("check_store_path_mark", Kept),
    ("http.domain_name", Idle("files are served over HTTP by the nginx module")),
    ("http.server_port", Idle("files are served over HTTP by the nginx module")),
    // These may also stand in the sections [error-log] and [access-log].
    ("sync_log_buff_interval", Kept),
    ("log_file_rotate_everyday", Kept),
    ("log_file_rotate_time", Kept),
    ("log_file_rotate_on_size", Kept),
    ("log_file_keep_days", Kept),
    ("log_file_delete_old_time", Idle(AT_ROTATION)),
    ("log_file_compress_old", Kept),
    ("log_file_compress_days_before", Kept),
    // Ours.
    ("durability", Kept),
    ("verify_reads", Kept),
    ("copies", Kept),
    ("copies_missing", Kept),
    ("scrub", Kept),
    ("scrub_bytes_per_sec", Kept),
    ("scrub_interval", Kept),
    ("scrub_start_after", Kept),
    ("metrics_listen", Kept),
];

/// One line for each reason why keys have no effect, one for each switch that asks for what is
/// not there yet, and one for each unknown key.
pub(super) fn remarks(ini: &Ini) -> Vec<String> {
    let is_known = |key: &str| {
        let numbered = key.strip_prefix("store_path").or(key.strip_prefix("group"));
        KEYS.iter().any(|(known, _)| *known == key)
            || numbered.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let unknown = ini.unknown(is_known);
    let mut remarks: Vec<String> =
        unknown.map(|e| format!("{}: unknown key {} is ignored", e.place, e.key)).collect();
    let mut told = BTreeSet::new();
    for (key, used) in KEYS {
        let sections = ["error-log", "access-log"];
        let entry = ini.get(key).or_else(|| sections.iter().find_map(|s| ini.get_in(s, key)));
        match used {
            NotYet(instead) => {
                if let Some(entry) = entry.filter(|entry| entry.bool()) {
                    remarks.push(format!("{}: {key} is not supported yet: {instead}", entry.place));
                }
            }
            Idle(reason) if told.insert(reason) => {
                let idle = KEYS.iter().filter(|(_, other)| other == used).map(|(key, _)| *key);
                let set: Vec<_> =
                    idle.filter(|key| ini.get(key).is_some_and(|e| !e.value.is_empty())).collect();
                if !set.is_empty() {
                    remarks.push(format!("without effect here: {} ({reason})", set.join(", ")));
                }
            }
            _ => {}
        }
    }
    remarks
}
