//! fdfs_storaged: keeps the files.
//!
//! Read in this order: [`commit`] (what has to happen before an answer), [`disk`] (how stored
//! files are touched), [`binlog`] (the record of changes), `service` (one file per family of
//! commands), `report` (the conversation with the trackers). Never talks to a database and
//! never imports the tracker.

pub mod commit; // start here: one operation from first byte to answer

pub mod health; // pure: what may be written to

pub mod copies; // pure: whether an answer waits for a second member

pub mod tomb; // pure: what was deleted stays deleted

pub mod disk; // the only code that touches stored files

pub mod sums; // what proves that bytes are those that were stored

pub mod binlog; // the record of every change

pub mod state; // small files about ourselves

mod config; // storage.conf

mod parameters; // what the trackers prescribe

mod ask; // what the trackers tell at start-up

mod owed; // records that a crash must not lose

mod start; // what lies on the disks at start-up

mod moved; // trackers that know us under an address that we had before

mod store; // what all handlers share

mod dir; // the files of one directory, in order

mod away; // pure: members that were silent lately

mod progress; // how far each peer has got

pub mod sync; // replication

pub mod scrub; // everything is read again and again, and repaired

mod metrics; // the numbers of this storage, for Prometheus

mod access_log; // one line per request

mod service; // one file per family of commands

mod verify; // everything that is stored, compared while nobody serves it

mod report; // join, heartbeat, usage

mod members; // the file that tells the nginx module who is in the group

mod program; // puts everything together, from configuration to the last connection

#[cfg(feature = "faults")]
pub mod fuzzing; // entrances for fuzzing

pub use program::run;
#[cfg(feature = "faults")]
pub use program::simulate;
