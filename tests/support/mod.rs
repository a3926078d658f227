//! What the black-box tests share: seeds, the history and its checker, a store of real
//! daemons, a whole drive, a small HTTP client.
//!
//! Used by `tests/system`, `tests/clients`, `tests/web` and `tests/harness.rs`, which tests these
//! very tools. Not one line of it comes from the programs under test, except that the store is
//! spoken to with `net::client`.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "seeds and logs of a failed test")]

pub(crate) mod checker;
pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod recorder;
pub(crate) mod seed;
pub(crate) mod stack;
pub(crate) mod wait;
