//! What storages are told about the configuration: the answer to 75 (tracker.md 3.5.1).

use std::fmt::Write as _;

use anyhow::ensure;
use proto::ini::{Ini, IniError, TimeOfDay};
use proto::tracker::bootstrap::PARAMETERS_LEN_MAX;

use crate::cluster::{IdInName, PathChoice, Policy, Reserved};

/// Sizes of trunk files; they are off, but storages want to read the keys.
const SLOT_MIN_SIZE: u64 = 256;
const SLOT_MIN_SIZE_MAX: u64 = 64 << 10;
const TRUNK_FILE_SIZE: u64 = 64 << 20;
const TRUNK_FILE_SIZE_MIN: u64 = 4 << 20;

/// The lines `key=value`, in the order of the reference.
pub(super) fn text(ini: &Ini, policy: &Policy) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{key}={value}"); // writing to a string cannot fail
    };
    let flag = |key, default| u8::from(ini.bool_or(key, default));
    let by_id = policy.id_in_name == IdInName::Id;
    line("use_storage_id", &u8::from(policy.ids.is_some()));
    line("id_type_in_filename", if by_id { &"id" } else { &"ip" });
    line("trust_storage_server_id", &u8::from(policy.trust_storage_id));
    line("response_ip_addr_size", &policy.address_width.with_terminator());
    line("storage_ip_changed_auto_adjust", &flag("storage_ip_changed_auto_adjust", true));
    line("storage_sync_file_max_delay", &policy.sync_max_delay_secs);
    line("store_path", if policy.path == PathChoice::MostFree { &2 } else { &0 });
    match policy.reserved {
        Reserved::Absolute(space) => line("reserved_storage_space", &format!("{}MB", space.0)),
        Reserved::Ratio(ratio) => {
            line("reserved_storage_space", &format!("{:.2}%", ratio * 100.0));
        }
    }
    line("use_trunk_file", &0);
    let Slots { min, max, file } = slots(ini)?;
    line("slot_min_size", &min);
    line("slot_max_size", &max);
    line("trunk_alloc_alignment_size", &ini.int_or("trunk_alloc_alignment_size", 0)?);
    line("trunk_file_size", &file);
    line("trunk_create_file_advance", &flag("trunk_create_file_advance", false));
    line("trunk_create_file_time_base", &time(ini, "trunk_create_file_time_base", "02:00")?);
    line("trunk_create_file_interval", &ini.int_or("trunk_create_file_interval", 86400)?);
    let threshold = ini.size_or("trunk_create_file_space_threshold", 0)?;
    line("trunk_create_file_space_threshold", &threshold);
    line("trunk_init_check_occupying", &flag("trunk_init_check_occupying", false));
    line("trunk_init_reload_from_binlog", &flag("trunk_init_reload_from_binlog", false));
    line("trunk_free_space_merge", &flag("trunk_free_space_merge", false));
    line("delete_unused_trunk_files", &flag("delete_unused_trunk_files", false));
    for key in ["trunk_compress_binlog_min_interval", "trunk_compress_binlog_interval"] {
        line(key, &ini.int_or(key, 0)?);
    }
    let base = time(ini, "trunk_compress_binlog_time_base", "03:00")?;
    line("trunk_compress_binlog_time_base", &base);
    line("trunk_binlog_max_backups", &ini.int_or("trunk_binlog_max_backups", 0)?);
    line("store_slave_file_use_link", &flag("store_slave_file_use_link", false));
    let len = out.len();
    ensure!(len <= PARAMETERS_LEN_MAX, "parameters for storages take {len} bytes");
    Ok(out)
}

/// Sizes of slots and trunk files, held to what the reference allows.
struct Slots {
    min: u64,
    max: u64,
    file: u64,
}

fn slots(ini: &Ini) -> Result<Slots, IniError> {
    let file = ini.size_or("trunk_file_size", TRUNK_FILE_SIZE)?.max(TRUNK_FILE_SIZE_MIN);
    let min = ini.size_or("slot_min_size", SLOT_MIN_SIZE)?.min(SLOT_MIN_SIZE_MAX);
    let alignment = u64::try_from(ini.int_or("trunk_alloc_alignment_size", 0)?).unwrap_or(0);
    let min = min.max(alignment);
    let max = ini.size_or("slot_max_size", file / 8)?.min(file / 2);
    match ini.get("slot_max_size") {
        Some(entry) if max <= min => Err(entry.refuse("must be larger than slot_min_size")),
        _ => Ok(Slots { min, max, file }),
    }
}

fn time(ini: &Ini, key: &str, default: &str) -> Result<TimeOfDay, IniError> {
    ini.time_or(key, TimeOfDay::parse(default).unwrap_or(TimeOfDay::MIDNIGHT))
}
