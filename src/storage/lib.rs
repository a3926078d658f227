//! fdfs_storaged: keeps the files.
//!
//! Read in this order: [`commit`] (what has to happen before an answer), [`disk`] (how stored
//! files are touched), [`binlog`] (the record of changes), `service` (one file per family of
//! commands), `report` (the conversation with the trackers). Never talks to a database and
//! never imports the tracker.

pub mod commit; // start here: one operation from first byte to answer

pub mod health; // pure: what may be written to

pub mod disk; // the only code that touches stored files

pub mod binlog; // the record of every change

pub mod state; // small files about ourselves

mod parameters; // what the trackers prescribe

mod store; // what all handlers share

mod service; // one file per family of commands
