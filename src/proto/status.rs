//! Numbers that say how things stand: errno on the wire, the state of a storage, its mode.
//!
//! The values are those of Linux whatever the platform, since clients compare numbers
//! (wire.md 5). Which error becomes which status is decided by each daemon in one table.

use core::fmt;

/// The status byte of an answer: zero, or an errno value of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u8);

/// The names are needed twice: as constants and for the log.
macro_rules! statuses {
    ($($name:ident = $number:literal;)*) => {
        impl Status {
            $(pub const $name: Status = Status($number);)*

            /// The name of the errno, for logs and tools.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    OK = 0;
    EPERM = 1;
    ENOENT = 2;
    EIO = 5;
    EAGAIN = 11;
    ENOMEM = 12;
    EACCES = 13;
    EFAULT = 14;
    EBUSY = 16;
    EEXIST = 17;
    ENOTDIR = 20;
    EISDIR = 21;
    EINVAL = 22;
    ENFILE = 23;
    EMFILE = 24;
    EFBIG = 27;
    ENOSPC = 28;
    EROFS = 30;
    ENAMETOOLONG = 36;
    ENONET = 64;
    EOVERFLOW = 75;
    EOPNOTSUPP = 95;
    ECONNRESET = 104;
    ETIMEDOUT = 110;
    ECONNREFUSED = 111;
    EHOSTUNREACH = 113;
    EALREADY = 114;
}

impl Status {
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// The status for an error number of the system, such as `io::Error::raw_os_error` gives.
    /// One that does not fit the byte, and zero, which is no error, become EIO.
    pub fn from_errno(errno: i32) -> Self {
        match u8::try_from(errno) {
            Ok(byte) if byte != 0 => Self(byte),
            _ => Self::EIO,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// The state of a storage as trackers see it (wire.md 9.1). The order of the numbers matters:
/// some rules compare with `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StorageState {
    Init = 0,
    WaitSync = 1,
    Syncing = 2,
    IpChanged = 3,
    Deleted = 4,
    Offline = 5,
    Online = 6,
    Active = 7,
    Recovery = 9,
    None = 99,
}

impl StorageState {
    pub const ALL: [StorageState; 10] = [
        StorageState::Init,
        StorageState::WaitSync,
        StorageState::Syncing,
        StorageState::IpChanged,
        StorageState::Deleted,
        StorageState::Offline,
        StorageState::Online,
        StorageState::Active,
        StorageState::Recovery,
        StorageState::None,
    ];

    /// The state with this number, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == byte)
    }

    /// The name the monitoring tools print.
    pub fn name(self) -> &'static str {
        match self {
            StorageState::Init => "INIT",
            StorageState::WaitSync => "WAIT_SYNC",
            StorageState::Syncing => "SYNCING",
            StorageState::IpChanged => "IP_CHANGED",
            StorageState::Deleted => "DELETED",
            StorageState::Offline => "OFFLINE",
            StorageState::Online => "ONLINE",
            StorageState::Active => "ACTIVE",
            StorageState::Recovery => "RECOVERY",
            StorageState::None => "NONE",
        }
    }
}

/// What a storage may be used for (wire.md 9.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RwMode {
    None = 0,
    Write = 2,
    Read = 4,
    #[default]
    Both = 6,
}

impl RwMode {
    /// The mode with this number, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::None, Self::Write, Self::Read, Self::Both].into_iter().find(|m| *m as u8 == byte)
    }

    /// The mode as storage_ids.conf writes it, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
        [
            (Self::None, &["none"][..]),
            (Self::Write, &["write", "writeonly"]),
            (Self::Read, &["read", "readonly"]),
            (Self::Both, &["both", "all"]),
        ]
        .into_iter()
        .find_map(|(mode, names)| is(names).then_some(mode))
    }

    pub fn readable(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    pub fn writable(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn a_status_prints_its_name() {
        assert_eq!(Status::EINVAL.to_string(), "EINVAL (22)");
        assert_eq!(Status(200).to_string(), "errno 200");
        assert_eq!(Status::from_errno(28), Status::ENOSPC);
        assert_eq!(Status::from_errno(512), Status::EIO);
        assert_eq!(Status::from_errno(0), Status::EIO);
    }

    #[test]
    fn states_have_the_numbers_of_the_wire() {
        let numbers: alloc::vec::Vec<u8> = StorageState::ALL.map(|s| s as u8).into();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 9, 99]);
        assert_eq!(StorageState::from_byte(8), None);
        assert_eq!(StorageState::from_byte(7), Some(StorageState::Active));
    }

    #[test]
    fn modes_are_read_in_every_spelling() {
        for (text, mode) in [
            ("WriteOnly", Some(RwMode::Write)),
            ("read", Some(RwMode::Read)),
            ("ALL", Some(RwMode::Both)),
            ("none", Some(RwMode::None)),
            ("rw", None),
        ] {
            assert_eq!(RwMode::parse(text), mode, "{text}");
        }
        assert!(RwMode::Both.readable() && !RwMode::Write.readable() && RwMode::Write.writable());
    }
}
