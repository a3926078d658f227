//! The drive: FastCGI workers and their administration program.
//!
//! The only crate with a database. Called by the programs in `src/bin`; holds no FastDFS
//! protocol of its own (`net::client` speaks it) and serves no file bytes (nginx does).

mod administer;
mod config; // start here: what can be set // the program `fastdisk`

pub mod multipart; // an upload's body as a stream of parts
pub mod request; // what a handler is given
pub mod response; // what a handler returns
pub mod serve; // connection -> fcgi -> handler -> fcgi

pub use administer::administer;
