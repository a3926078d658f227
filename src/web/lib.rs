//! The drive: FastCGI workers and their administration program.
//!
//! The only crate with a database. Called by the programs in `src/bin`; holds no FastDFS
//! protocol of its own (`net::client` speaks it) and serves no file bytes (nginx does).

mod config; // start here: what can be set

mod worker; // what every worker does; which handler it runs

mod app; // what all requests share and go through first

mod error; // from what went wrong to what a client is told

mod admin;
mod category;
mod download;
mod events;
mod instant;
mod login;
mod mydisk;
mod register; // the use cases, one a file
mod share;
mod thumb;
mod upload;

mod archive; // the bytes of a Zip archive
mod authorize; // the gate before every node
mod batch; // many at once, each with its own result
mod intake; // one file on its way in
mod making; // pictures that are being made, each once
mod pack; // a selection as one archive
mod picture; // small pictures as answers
mod ranking; // public shares by downloads
mod resumable; // and one that comes in pieces
mod sending; // a stored file as an answer
mod sweep; // what is left over, removed in the background
mod visit; // a share that is open to somebody

mod checksum; // of a chunk
mod date; // days of the calendar, and as HTTP writes them
mod digest; // hashes of what passes through
mod hex; // bytes as digits, text in addresses
mod ids; // numbers that cannot be mixed up
mod links; // links that work for a while
mod media; // what a content is
mod name; // what things may be called
mod notify; // live events
mod origin; // whether our own pages ask
mod paging; // what a query says about a page
mod password; // which are taken, how they are kept
mod scope; // what an API token permits
mod seal; // secrets in the database
mod session; // tokens
mod slots; // how many uploads and archives at once
mod throttle; // how often something may be tried
mod totp; // second factors

mod cache; // Redis
mod challenge; // what an instant upload must prove
mod db; // the only SQL
mod files; // the store
mod memcached; // pictures for nginx to find
mod metrics; // figures for Prometheus

mod administer; // the program `fastdisk`
mod thumbnail; // the program `thumbnail`

pub mod multipart; // an upload's body as a stream of parts
pub mod request; // what a handler is given
pub mod response; // what a handler returns
pub mod serve; // connection -> fcgi -> handler -> fcgi

pub use administer::administer;
pub use thumbnail::thumbnail;
pub use worker::run;
