//! What the trackers prescribe: the settings that all storages of a cluster share, as command
//! 75 brings them at start-up (storage.md 6.2).
//!
//! Pure. Keys that are missing mean what the reference's storage takes them to mean, which is
//! not always the tracker's own default. Of trunk files only whether they are asked for.

use proto::ini::{Ini, IniError};

use crate::disk::port::Space;

/// Room that uploads leave free on a store path (storage.md 2.14).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reserve {
    /// For all store paths together.
    Megabytes(u64),
    /// Part of each store path, 0 to 1.
    Ratio(f64),
}

/// The bits of one megabyte.
pub(crate) const MEGABYTE_SHIFT: u32 = 20;

impl Reserve {
    /// Reads `20%`, `10G` or a plain number of megabytes.
    fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().ok()?;
            return (0.0..=100.0).contains(&percent).then(|| Self::Ratio(percent / 100.0));
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let count: u64 = digits.parse().ok()?;
        let unit = text.strip_prefix(digits)?.trim().to_ascii_uppercase();
        let megabytes = match unit.trim_end_matches('B') {
            "" | "M" => count,
            "K" => count >> 10,
            "G" => count.checked_mul(1 << 10)?,
            "T" => count.checked_mul(1 << 20)?,
            _ => return None,
        };
        Some(Self::Megabytes(megabytes))
    }

    /// Whether `space`, less `size` bytes to come, is above the reservation.
    pub(crate) fn leaves_room(&self, space: Space, size: u64, paths: u16) -> bool {
        let megabytes = |bytes: u64| bytes >> MEGABYTE_SHIFT;
        let Some(free) = megabytes(space.free).checked_sub(megabytes(size)) else { return false };
        match *self {
            Reserve::Megabytes(all) => all / u64::from(paths.max(1)) < free,
            #[expect(clippy::cast_precision_loss, reason = "a ratio of megabytes needs no more")]
            Reserve::Ratio(part) => {
                let total = megabytes(space.total);
                0 < total && part < free as f64 / total as f64
            }
        }
    }
}

/// Who chooses the store path of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathPolicy {
    RoundRobin,
    MostFree,
}

/// The prescribed settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) use_storage_id: bool,
    /// File names carry the server id, not the address.
    pub(crate) id_in_names: bool,
    pub(crate) trust_server_id: bool,
    /// A storage that has another address stays the one that it was.
    pub(crate) follow_moves: bool,
    /// Width of the address in the answer to 22: 16 or 46.
    pub(crate) address_len: usize,
    pub(crate) path_policy: PathPolicy,
    pub(crate) reserve: Reserve,
    /// Asked for by the tracker, and refused.
    pub(crate) use_trunk_file: bool,
    /// Asked for by the tracker, and not there yet.
    pub(crate) slaves_as_links: bool,
}

impl Parameters {
    pub(crate) fn parse(text: &str) -> Result<Self, IniError> {
        let ini = Ini::parse(text)?;
        let use_storage_id = ini.bool_or("use_storage_id", false);
        let names_by_id = ini.get("id_type_in_filename").is_some_and(|e| e.value == "id");
        let reserve = match ini.get("reserved_storage_space") {
            Some(entry) => Reserve::parse(&entry.value).ok_or_else(|| {
                entry.refuse("must be a size such as 10GB, or a part such as 20%")
            })?,
            None => Reserve::Megabytes(1024),
        };
        Ok(Self {
            use_storage_id,
            id_in_names: use_storage_id && names_by_id,
            trust_server_id: ini.bool_or("trust_storage_server_id", false),
            follow_moves: ini.bool_or("storage_ip_changed_auto_adjust", false),
            address_len: if ini.int_or("response_ip_addr_size", 46)? == 16 { 16 } else { 46 },
            path_policy: match ini.int_or("store_path", 0)? {
                2 => PathPolicy::MostFree,
                _ => PathPolicy::RoundRobin,
            },
            reserve,
            use_trunk_file: ini.bool_or("use_trunk_file", false),
            slaves_as_links: ini.bool_or("store_slave_file_use_link", false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracker_s_answer_is_read() {
        let text = "use_storage_id=0\nid_type_in_filename=ip\ntrust_storage_server_id=1\n\
                    response_ip_addr_size=16\nstore_path=2\nreserved_storage_space=1024MB\n\
                    storage_ip_changed_auto_adjust=1\n";
        let parameters = Parameters::parse(text).unwrap();
        assert_eq!(parameters.address_len, 16);
        assert_eq!(parameters.path_policy, PathPolicy::MostFree);
        assert_eq!(parameters.reserve, Reserve::Megabytes(1024));
        assert!(parameters.follow_moves);
        let nothing = Parameters::parse("").unwrap();
        assert_eq!((nothing.address_len, nothing.trust_server_id), (46, false));
        assert!(!nothing.follow_moves);
    }

    #[test]
    fn reservations_are_read_and_kept() {
        let space = |total: u64, free: u64| Space { total: total << 20, free: free << 20 };
        for (text, fits, too_little) in [
            ("100", space(1000, 101), space(1000, 100)),
            ("1GB", space(9000, 1025), space(9000, 1024)),
            ("20.00%", space(1000, 201), space(1000, 200)),
            ("0", space(10, 1), space(10, 0)),
        ] {
            let reserve = Reserve::parse(text).unwrap();
            assert!(reserve.leaves_room(fits, 0, 1), "{text}");
            assert!(!reserve.leaves_room(too_little, 0, 1), "{text}");
            assert!(!reserve.leaves_room(fits, 200 << 20, 1) || text == "1GB", "{text}");
        }
        assert!(Reserve::parse("100").unwrap().leaves_room(space(1000, 51), 0, 2), "per path");
        assert_eq!(Reserve::parse("x%"), None);
        assert_eq!(Reserve::parse("12 parsec"), None);
    }
}
