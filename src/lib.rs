//! The map: what is where, in reading order. No code lives in this crate; the programs in
//! `src/bin` are ten lines each and call one of the crates below.
//!
//! Two products share the repository. *The store* keeps files: a tracker that says where, and
//! storages that hold them, on the FastDFS wire and disk formats. *The drive* gives people
//! accounts and folders on top of it: FastCGI workers behind nginx, and pages.
//!
//! # The store
//!
//! 1. [`proto`] is bytes in, values out, without the standard library: start with
//!    [`proto::wire`] and [`proto::header`], then [`proto::command`] for every number, then the
//!    messages in [`proto::tracker`] and [`proto::storage`]. [`proto::fileid`] is what a file is
//!    called and what that name encodes; [`proto::token`] signs links to files.
//! 2. [`net`] is everything with a socket: [`net::ports`] (clock, chance and network as
//!    arguments), [`net::conn`], [`net::serve`], [`net::shutdown`], [`net::program`] for what
//!    every main does, [`net::durable`] for files that must last, and [`net::client`], through
//!    which the drive and the tools speak to the store.
//! 3. [`tracker`] is `fdfs_trackerd`. [`tracker::cluster`] decides, as a pure state machine;
//!    the rest carries messages to it and its effects away.
//! 4. [`storage`] is `fdfs_storaged`. [`storage::commit`] is the heart: one operation from its
//!    first byte to its answer, which cannot be made before everything is on disk.
//!    [`storage::disk`] alone touches stored files, [`storage::sums`] proves that they are what
//!    was stored, [`storage::binlog`] records each change, [`storage::sync`] brings it to the
//!    other members, [`storage::scrub`] repairs from them what a disk has changed.
//!
//! # The drive
//!
//! 5. [`fcgi`] is FastCGI as pure functions: [`fcgi::request`] takes bytes and gives requests,
//!    [`fcgi::response`] the way back.
//! 6. [`web`] is the workers: [`web::serve`] joins a connection to a handler, and each use case
//!    (register, login, upload, share, …) is one file or folder. [`web::administer`] is the program
//!    `fastdisk`, [`web::thumbnail`] the one that decodes pictures in a cage.
//! 7. `nginx/module` sends stored files from nginx itself, and asks other storages' nginx for
//!    what is not here; of ours it uses [`proto`] and nothing else.
//! 8. `www` is the pages; only `www/js/api.js` talks to the server.
//!
//! [`tools`] is the command-line programs of the store: `fdfs_upload_file` and the rest for
//! existing scripts, `fdfs` for people, `fdfs_load` for
//! measuring.
//!
//! # Who may use whom
//!
//! ```text
//!  src/bin/*      each program calls exactly one of the four below
//!     |
//!  tracker    storage    tools    web         nginx/module
//!     |          |        |       |  \             |
//!     +----------+--------+-------+   fcgi         |
//!                |                                 |
//!               net                                |
//!                |                                 |
//!              proto <-----------------------------+
//! ```
//!
//! `tests/tidy.rs` keeps this, and the finer walls inside the crates. `tests/fuzz` feeds what reads
//! foreign bytes, `tests/crash` kills the daemons and their disks, `tests/sim` runs whole groups
//! under faults in one thread. `tests/system` proves the store, `tests/clients` that libraries of
//! others can use it, `tests/web` and `tests/browser` the drive, `tests/module` the module; by name
//! only, `tests/schema` asks the drive whatever the OpenAPI document allows. `Makefile` is the
//! menu, and `conf/stack.sh` runs the whole on one machine.
