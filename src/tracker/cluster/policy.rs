//! The settings that decisions depend on, and the table of configured storages.
//!
//! Built once by `config` and read by every part of `cluster`. Reads no file: whoever makes a
//! `Policy` has already checked the configuration.

use std::collections::BTreeMap;

use core::net::IpAddr;
use proto::address::{Addresses, IpWidth};
use proto::ids::{GroupName, StorageId};
use proto::status::RwMode;
use proto::tracker::{Megabytes, Space};

/// How the group of an upload is chosen (`store_lookup`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    RoundRobin,
    /// Always this one (`store_group`).
    Group(GroupName),
    MostFree,
}

/// How the storage of an upload is chosen (`store_server`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerChoice {
    RoundRobin,
    FirstById,
    Priority,
}

/// How the store path of an upload is chosen (`store_path`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChoice {
    RoundRobin,
    MostFree,
}

/// Who serves a download (`download_server`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadChoice {
    RoundRobin,
    SourceFirst,
}

/// What file ids name as the source of a file (`id_type_in_filename`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdInName {
    Ip,
    Id,
}

/// Space that uploads must leave free (`reserved_storage_space`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reserved {
    /// For a whole storage; a store path must leave its share of it.
    Absolute(Megabytes),
    /// Share of the total, 0 < ratio < 1; applies to storage and store path alike.
    Ratio(f64),
}

impl Reserved {
    /// Whether a group with this space still takes uploads. All tests are strict.
    pub fn admits_group(self, space: Space) -> bool {
        match self {
            Reserved::Absolute(reserved) => reserved < space.free,
            Reserved::Ratio(ratio) => above_ratio(space, ratio),
        }
    }

    /// Whether a store path still takes uploads, in a group whose members have `paths` paths.
    pub fn admits_path(self, space: Space, paths: u16) -> bool {
        match self {
            Reserved::Absolute(Megabytes(reserved)) => {
                reserved / i64::from(paths.max(1)) < space.free.0
            }
            Reserved::Ratio(ratio) => above_ratio(space, ratio),
        }
    }

    /// The reservation in megabytes, as the lists show it.
    pub fn of_total(self, total: Megabytes) -> Megabytes {
        match self {
            Reserved::Absolute(reserved) => reserved,
            Reserved::Ratio(ratio) => Megabytes((total.0 as f64 * ratio) as i64),
        }
    }
}

fn above_ratio(space: Space, ratio: f64) -> bool {
    space.total.0 != 0 && ratio < space.free.0 as f64 / space.total.0 as f64
}

/// One line of `storage_ids.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredStorage {
    pub group: GroupName,
    pub addresses: Addresses,
    pub port: u16,
    pub mode: RwMode,
}

/// `storage_ids.conf`: which storages may exist, under which id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdTable {
    by_id: BTreeMap<StorageId, ConfiguredStorage>,
}

/// Why a line cannot be added to an `IdTable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdClash {
    Id,
    AddressAndPort(IpAddr, u16),
}

impl IdTable {
    /// Adds a storage; an id, or an address with its port, may stand in one line only.
    pub fn add(&mut self, id: StorageId, storage: ConfiguredStorage) -> Result<(), IdClash> {
        if self.by_id.contains_key(&id) {
            return Err(IdClash::Id);
        }
        for address in storage.addresses.iter() {
            if self.at(address, storage.port).is_some() {
                return Err(IdClash::AddressAndPort(address, storage.port));
            }
        }
        self.by_id.insert(id, storage);
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All storages in id order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&StorageId, &ConfiguredStorage)> {
        self.by_id.iter()
    }

    pub fn get(&self, id: &StorageId) -> Option<&ConfiguredStorage> {
        self.by_id.get(id)
    }

    /// The storage with this address and port, in any group.
    pub fn at(&self, address: IpAddr, port: u16) -> Option<(&StorageId, &ConfiguredStorage)> {
        self.by_id.iter().find(|(_, s)| s.port == port && s.addresses.contains(address))
    }

    /// The storage of `group` with this address and port.
    pub fn in_group(&self, group: &GroupName, address: IpAddr, port: u16) -> Option<&StorageId> {
        self.at(address, port).filter(|(_, s)| s.group == *group).map(|(id, _)| id)
    }
}

/// The settings, as far as decisions depend on them.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where this tracker listens: its own port in the list of trackers.
    pub port: u16,
    pub lookup: Lookup,
    pub server: ServerChoice,
    pub path: PathChoice,
    pub download: DownloadChoice,
    pub reserved: Reserved,
    /// An active storage silent for longer than this is taken offline, seconds.
    pub check_active_secs: i64,
    /// A file older than this is assumed to be on every member, seconds.
    pub sync_max_delay_secs: i64,
    /// How long the replication of one file may take, seconds.
    pub sync_max_time_secs: i64,
    /// `Some` exactly when `use_storage_id` is on.
    pub ids: Option<IdTable>,
    pub id_in_name: IdInName,
    pub trust_storage_id: bool,
    pub address_width: IpWidth,
    /// The answer to PARAMETER_REQ, complete.
    pub parameters: String,
}

impl Policy {
    /// Whether the storages of one group may listen on different ports.
    pub fn mixed_ports_allowed(&self) -> bool {
        self.ids.is_some() && self.id_in_name == IdInName::Id
    }
}
