//! FastCGI 1.0 as pure functions: bytes in, events out; answers in, bytes out.
#![no_std]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;

pub mod params;

pub use params::{ParamLimits, Params, ParamsError};
