//! FastCGI 1.0 as pure functions: bytes in, events out; answers in, bytes out.
#![no_std]


extern crate alloc;

pub mod params;

pub use params::{ParamLimits, Params, ParamsError};
