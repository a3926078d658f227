//! The drive: FastCGI workers and their administration program.
//!
//! The only crate with a database. Called by the programs in `src/bin`; holds no FastDFS
//! protocol of its own (`net::client` speaks it) and serves no file bytes (nginx does).

mod administer;
mod config; // start here: what can be set // the program `fastdisk`

pub use administer::administer;
