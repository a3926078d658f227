//! Plumbing for everything that has a socket: ports to the outside, connections, the accept
//! loop, shutdown, what every main does, and the client of both daemons.
//!
//! Used by all programs. It knows how a message is framed and never what a body means (that is
//! `proto`), nor what to do about it (that is the daemons).
//!
//! Read in this order: [`ports`] (what a program may ask of the world), [`conn`] (header and
//! body over a socket), [`serve`] (who gets a connection), [`shutdown`], [`program`] (what every
//! main does), [`durable`] (files that must last), [`client`].

pub mod ports; // start here: clock, chance and network, as arguments

pub mod conn; // a socket that speaks header and body, with limits and time-outs

pub mod serve; // accept loop

pub mod hosts; // who may connect

pub mod metrics; // what a daemon shows to Prometheus

pub mod rotate; // log files that begin anew every day, or when they are long

pub mod shutdown; // signals, one flag, grace, abort

pub mod program; // what every main does

pub mod durable; // the only recipe for files that must last

pub mod faults; // effects on the disk, for tests that let them fail

pub mod client; // ask trackers, store and fetch files
