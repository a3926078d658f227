//! What is fuzzed: one module per target, each with a `run` that takes any bytes and may do
//! anything but panic, hang or take memory that the bytes do not pay for.
//!
//! The programs in `targets` give them to libFuzzer. Nothing here knows the engine.

// Of the drive only these two: its crate brings clients of databases, which take minutes to build
// with instrumentation and parse nothing of ours. The files are links.
#[allow(dead_code, reason = "used by the workers")]
mod multipart;
#[allow(dead_code, unused_imports, reason = "used by the workers")]
mod request;

mod codecs; // every codec: how it is read and written back

mod pieces; // one stream, cut anywhere

pub mod tracker_body; // start here: a request's body per command

pub mod answer_body;
pub mod storage_body;

pub mod storage_stream; // the whole service behind a stream of frames
pub mod tracker_stream;

pub mod operations; // sequences of requests and faults, compared with a model

pub mod binlog;
pub mod config;
pub mod file_id;
pub mod metadata;
pub mod state_files; // texts and lines on disk

pub mod fcgi_params;
pub mod fcgi_records;
pub mod multipart_body;
pub mod web_request; // what comes through nginx
