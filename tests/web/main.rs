//! The drive over HTTP: real nginx, workers, MariaDB, Redis and store, asked as a browser asks.
//!
//! Every answer is checked against `www/openapi.json`. What is defended: nobody reaches what is
//! not theirs (security.md), each visible file opens with the right bytes, quotas and reference
//! counts are exact (testing.md P16), bytes from outside crash nothing (P15).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod access; // sessions, passwords, second factors, tokens
mod account; // registering, signing in and out, limits on guessing
mod admin; // accounts of others, audit, cluster, figures
mod console; // the program `fastdisk` beside a running drive
mod contract; // answers against the OpenAPI document
mod database; // what must hold between the tables
mod disk; // one's own tree: moving, copying, the trash, search, categories
mod events; // what changes, told to other tabs
mod files; // in and out, quota, sharing of contents
mod folders; // making and listing
mod gate; // every route with somebody else's ids, from other sites, with hostile input
mod instant; // files that somebody has already
mod kill; // servers that die in the middle of what people do
mod outage; // servers behind the workers go away and come back
mod person; // somebody with a browser
mod races; // many at once
mod resumable; // uploads in pieces
mod shares; // links for others, archives, signed links
mod thumbs; // small pictures
mod wire; // answers of servers that get lost on their way

use std::sync::OnceLock;

use support::stack::Stack;

/// The drive that most tests share. All of them come from one address, so its limits are wide.
fn drive() -> &'static Stack {
    static DRIVE: OnceLock<Stack> = OnceLock::new();
    DRIVE.get_or_init(|| {
        Stack::start(&[
            "s/^registrations_per_address_max = .*/registrations_per_address_max = 10000/",
            "s/^login_failures_per_address_max = .*/login_failures_per_address_max = 10000/",
            "s/^zips_per_user_max = .*/zips_per_user_max = 1000/",
        ])
    })
}
