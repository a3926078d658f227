//! FastCGI 1.0 as pure functions: bytes in, events out; answers in, bytes out.
//!
//! Only `web::serve` uses it, and puts a socket around it. Nothing here does I/O, waits, reads
//! a clock or keeps the body of a request; every length that a peer announces is compared with
//! a limit before memory is taken. Numbers and names are those of the FastCGI specification,
//! version 1.0 (Open Market, 1996); sections cited are its sections.
//!
//! Why not a crate. The one that speaks this protocol as a server, `fastcgi` of 2015, was
//! measured first: behind nginx it answered a twenty-sixth of the requests over TCP and half
//! over unix sockets, it blocks a thread for each connection, and it panics on bad input.
#![no_std]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;

pub mod params; // names and values
pub mod record; // start here: the header and the numbers
pub mod request; // what comes in: the state machine
pub mod response; // what goes out

pub use params::{ParamLimits, Params, ParamsError};
pub use record::{ProtocolStatus, RequestId};
pub use request::{Connection, ConnectionLimits, Event, ProtocolError};
