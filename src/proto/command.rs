//! Every command number, of tracker and storage: they share one space (wire.md 11).
//!
//! One table, so that no number is used twice. What a body holds stands in `tracker/` and
//! `storage/`; which ones are served is decided by the `match` of each daemon.

/// Who answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    Tracker,
    Storage,
    Both,
}

/// A command number this project does not know. The answer is EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown command {0}")]
pub struct UnknownCommand(pub u8);

/// The table is needed three times: as the enum, from a byte, and as who serves it.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $served:ident;)*) => {
        /// A command number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Command { $($(#[$doc])* $name = $number,)* }

        impl Command {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Command] = &[$(Command::$name,)*];

            /// Which daemon answers it.
            pub fn served_by(self) -> ServedBy {
                match self { $(Command::$name => ServedBy::$served,)* }
            }
        }

        impl TryFrom<u8> for Command {
            type Error = UnknownCommand;

            fn try_from(byte: u8) -> Result<Self, UnknownCommand> {
                match byte {
                    $($number => Ok(Command::$name),)*
                    other => Err(UnknownCommand(other)),
                }
            }
        }
    };
}

commands! {
    ReportServerId = 9, Storage;
    UploadFile = 11, Storage;
    DeleteFile = 12, Storage;
    SetMetadata = 13, Storage;
    DownloadFile = 14, Storage;
    GetMetadata = 15, Storage;
    SyncCreateFile = 16, Storage;
    SyncDeleteFile = 17, Storage;
    SyncUpdateFile = 18, Storage;
    SyncCreateLink = 19, Storage;
    CreateLink = 20, Storage;
    UploadSlaveFile = 21, Storage;
    QueryFileInfo = 22, Storage;
    UploadAppenderFile = 23, Storage;
    AppendFile = 24, Storage;
    SyncAppendFile = 25, Storage;
    FetchOnePathBinlog = 26, Storage;
    TrunkAllocSpace = 27, Storage;
    TrunkAllocConfirm = 28, Storage;
    TrunkFreeSpace = 29, Storage;
    TrunkSyncBinlog = 30, Storage;
    TrunkGetBinlogSize = 31, Storage;
    TrunkDeleteBinlogMarks = 32, Storage;
    TrunkTruncateBinlogFile = 33, Storage;
    ModifyFile = 34, Storage;
    SyncModifyFile = 35, Storage;
    TruncateFile = 36, Storage;
    SyncTruncateFile = 37, Storage;
    RegenerateAppenderFilename = 38, Storage;
    SyncRenameFile = 40, Storage;
    TrackerJoinLeader = 58, Tracker;
    StorageChangeStatus = 59, Tracker;
    StorageGetMyIp = 60, Tracker;
    TrackerGetSysFilesStart = 61, Tracker;
    TrackerGetSysFilesEnd = 62, Tracker;
    TrackerGetOneSysFile = 63, Tracker;
    TrackerGetStatus = 64, Tracker;
    TrackerPingLeader = 65, Tracker;
    TrackerNotifyNextLeader = 66, Tracker;
    TrackerCommitNextLeader = 67, Tracker;
    TrackerNotifyReselectLeader = 68, Tracker;
    StorageFetchStorageIds = 69, Tracker;
    StorageGetServerId = 70, Tracker;
    StorageGetStatus = 71, Tracker;
    StorageFetchTrunkFid = 72, Tracker;
    StorageReportTrunkFid = 73, Tracker;
    StorageReportTrunkFree = 74, Tracker;
    StorageParameterReq = 75, Tracker;
    StorageReportStatus = 76, Tracker;
    StorageChangelogReq = 77, Tracker;
    StorageReportIpChanged = 78, Tracker;
    StorageSyncDestQuery = 79, Tracker;
    StorageJoin = 81, Tracker;
    /// The only command without an answer.
    Quit = 82, Both;
    StorageBeat = 83, Tracker;
    StorageReportDiskUsage = 84, Tracker;
    StorageReplicaChg = 85, Tracker;
    StorageSyncSrcReq = 86, Tracker;
    StorageSyncDestReq = 87, Tracker;
    StorageSyncNotify = 88, Tracker;
    StorageSyncReport = 89, Tracker;
    ServerListOneGroup = 90, Tracker;
    ServerListAllGroups = 91, Tracker;
    ServerListStorage = 92, Tracker;
    ServerDeleteStorage = 93, Tracker;
    ServerSetTrunkServer = 94, Tracker;
    ServerGetLeader = 95, Tracker;
    ServerTrackerClusterStat = 96, Tracker;
    ServerStorageClusterStat = 97, Tracker;
    ServerStorageVolumnStat = 98, Tracker;
    /// Every answer; never a request.
    Resp = 100, Both;
    QueryStoreWithoutGroupOne = 101, Tracker;
    QueryFetchOne = 102, Tracker;
    QueryUpdate = 103, Tracker;
    QueryStoreWithGroupOne = 104, Tracker;
    QueryFetchAll = 105, Tracker;
    QueryStoreWithoutGroupAll = 106, Tracker;
    QueryStoreWithGroupAll = 107, Tracker;
    ServerDeleteGroup = 108, Tracker;
    StorageGetGroupName = 109, Tracker;
    ActiveTest = 111, Both;
    /// What a storage holds. Ours: the reference refuses it as unknown.
    Inventory = 120, Storage;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_finds_its_command_and_no_other_does() {
        for byte in 0..=u8::MAX {
            let listed = Command::ALL.iter().copied().find(|c| *c as u8 == byte);
            assert_eq!(Command::try_from(byte).ok(), listed, "{byte}");
        }
        assert!(Command::ALL.is_sorted(), "in the order of the numbers");
        assert_eq!(Command::try_from(10), Err(UnknownCommand(10)));
        assert_eq!(Command::UploadFile.served_by(), ServedBy::Storage);
        assert_eq!(Command::StorageJoin as u8, 81);
    }
}
