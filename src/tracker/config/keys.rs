//! Every key of `tracker.conf`, and what it does here.

use std::collections::BTreeSet;

use proto::ini::{Entry, Ini, IniError};

/// What a key of the reference means to this tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It does what the reference says.
    Kept,
    /// It changes nothing here; the text says what happens instead.
    Idle(&'static str),
}

use Use::{Idle, Kept};

const BY_RUNTIME: &str = "threads and their stacks are sized by the runtime";
const AT_ROTATION: &str = "old log files go when a new one is begun";
const NO_POOL: &str = "it keeps one connection, to the leading tracker";
const ONE_PORT: &str = "only one port is listened on; use port and bind_addr";
const IO_URING: &str = "sockets are driven by epoll";

/// All keys of the global section, in the order of the specification.
const KEYS: &[(&str, Use)] = &[
    ("disabled", Kept),
    ("base_path", Kept),
    ("bind_addr", Kept),
    ("port", Kept),
    ("inner_port", Idle(ONE_PORT)),
    ("outer_port", Idle(ONE_PORT)),
    ("inner_bind_addr", Idle(ONE_PORT)),
    ("outer_bind_addr", Idle(ONE_PORT)),
    ("address_family", Kept),
    ("connect_timeout", Kept),
    ("network_timeout", Kept),
    ("max_connections", Kept),
    ("accept_threads", Idle(BY_RUNTIME)),
    ("work_threads", Idle(BY_RUNTIME)),
    ("thread_stack_size", Idle(BY_RUNTIME)),
    ("min_buff_size", Kept),
    ("max_buff_size", Kept),
    ("buff_size", Kept),
    ("tcp_quick_ack", Idle("the system decides when to acknowledge")),
    ("use_io_uring", Idle(IO_URING)),
    ("use_send_zc", Idle(IO_URING)),
    ("run_by_group", Kept),
    ("run_by_user", Kept),
    ("allow_hosts", Kept),
    // Ours alone.
    ("metrics_listen", Kept),
    ("use_connection_pool", Idle(NO_POOL)),
    ("connection_pool_max_idle_time", Idle(NO_POOL)),
    ("log_level", Kept),
    ("store_lookup", Kept),
    ("store_group", Kept),
    ("store_server", Kept),
    ("store_path", Kept),
    ("download_server", Kept),
    ("reserved_storage_space", Kept),
    ("check_active_interval", Kept),
    ("storage_ip_changed_auto_adjust", Kept),
    ("storage_sync_file_max_delay", Kept),
    ("storage_sync_file_max_time", Kept),
    ("use_trunk_file", Kept),
    // Passed on to the storages as they are; trunk files are off.
    ("slot_min_size", Kept),
    ("slot_max_size", Kept),
    ("trunk_file_size", Kept),
    ("trunk_alloc_alignment_size", Kept),
    ("trunk_free_space_merge", Kept),
    ("delete_unused_trunk_files", Kept),
    ("trunk_create_file_advance", Kept),
    ("trunk_create_file_time_base", Kept),
    ("trunk_create_file_interval", Kept),
    ("trunk_create_file_space_threshold", Kept),
    ("trunk_init_check_occupying", Kept),
    ("trunk_init_reload_from_binlog", Kept),
    ("trunk_compress_binlog_min_interval", Kept),
    ("trunk_compress_binlog_interval", Kept),
    ("trunk_compress_binlog_time_base", Kept),
    ("trunk_binlog_max_backups", Kept),
    ("use_storage_id", Kept),
    ("storage_ids_filename", Kept),
    ("id_type_in_filename", Kept),
    ("trust_storage_server_id", Kept),
    ("store_slave_file_use_link", Kept),
    ("response_ip_addr_size", Kept),
    // These may also stand in the section [error-log].
    ("sync_log_buff_interval", Idle("log lines are written at once")),
    ("log_file_rotate_everyday", Kept),
    ("log_file_rotate_time", Kept),
    ("log_file_rotate_on_size", Kept),
    ("log_file_keep_days", Kept),
    ("log_file_delete_old_time", Idle(AT_ROTATION)),
    ("log_file_compress_old", Kept),
    ("log_file_compress_days_before", Kept),
];

/// Refuses values that the reference refuses, or could not mean, although they change nothing
/// here: whoever wrote them believes that they do.
pub(super) fn check_idle(ini: &Ini) -> Result<(), IniError> {
    let find = |key: &str| ini.get(key).or_else(|| ini.get_in("error-log", key));
    let set = |key| find(key).filter(|entry| !entry.value.is_empty());
    for key in ["accept_threads", "work_threads"] {
        if let Some(entry) = set(key) {
            entry.int_within(1, 1024, "must be a whole number from 1 to 1024")?;
        }
    }
    for key in ["inner_port", "outer_port"] {
        if let Some(entry) = set(key) {
            entry.int_within(0, 65535, "must be a port, 0 to 65535")?;
        }
    }
    // The reference looks at this one only where there is a pool.
    if let Some(entry) = set("connection_pool_max_idle_time")
        && ini.bool_or("use_connection_pool", false)
    {
        entry.int_within(1, i64::from(i32::MAX), "must be a number of seconds above 0")?;
    }
    for key in ["log_file_keep_days", "log_file_compress_days_before"] {
        if let Some(entry) = set(key) {
            entry.int_within(0, 36500, "must be a number of days, 0 to 36500")?;
        }
    }
    for key in ["thread_stack_size", "log_file_rotate_on_size"] {
        set(key).map(Entry::size).transpose()?;
    }
    for key in ["log_file_rotate_time", "log_file_delete_old_time"] {
        set(key).map(Entry::time).transpose()?;
    }
    Ok(())
}

/// One line for each reason why keys are idle, and one for each unknown key.
pub(super) fn remarks(ini: &Ini) -> Vec<String> {
    let mut remarks = Vec::new();
    for entry in ini.unknown(|key| KEYS.iter().any(|(known, _)| *known == key)) {
        remarks.push(format!("{}: unknown key {} is ignored", entry.place, entry.key));
    }
    let mut told = BTreeSet::new();
    for (_, used) in KEYS {
        let Idle(reason) = used else { continue };
        if told.insert(reason) {
            let idle = KEYS.iter().filter(|(_, other)| other == used).map(|(key, _)| *key);
            let set = idle.filter(|key| is_set(ini, key)).collect::<Vec<_>>();
            if !set.is_empty() {
                remarks.push(format!("without effect here: {} ({reason})", set.join(", ")));
            }
        }
    }
    remarks
}

fn is_set(ini: &Ini, key: &str) -> bool {
    // An empty value is the default, as the sample has it for the user.
    let entry = ini.get(key).or_else(|| ini.get_in("error-log", key));
    entry.is_some_and(|entry| !entry.value.is_empty())
}
