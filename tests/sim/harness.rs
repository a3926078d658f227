//! Whole clusters in one thread: the real daemons over a simulated network, disk and clock, with
//! everything going wrong that the seed says; at the end every copy is compared with what the
//! clients were told (testing.md 6).
//!
//! `sim` runs fresh seeds for `TIME` seconds, or `N` of them, each in a process of its own, `JOBS`
//! at once, and some twice: their traces must be the same. `SEED=0x…` runs that one again, and
//! `TRACE=1` prints its trace. Then the scripts run, each a sequence of faults without chance, or
//! the one that `SCRIPT` names. A failure keeps history, trace and disks. For long runs:
//! `CARGO_PROFILE_DEV_OPT_LEVEL=2 N=10000`.

#![allow(clippy::disallowed_methods, reason = "tests keep their own time and write plain files")]
#![allow(clippy::print_stdout, reason = "seeds and figures")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "support is shared with other tests")]

#[path = "../support"]
mod support {
    pub(crate) mod checker;
    pub(crate) mod history;
    pub(crate) mod recorder;
    pub(crate) mod seed;
}

mod client; // who stores, reads and deletes files
mod cluster; // nodes, and what can go wrong with them
mod entropy; // chance of the kernel's, from the seed
mod run; // one seed
mod runner; // many seeds, each in a process of its own
mod script; // sequences of faults, without chance
mod trace; // all that happens
mod weather; // which faults, how often
mod world; // the ports of a node

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => runner::all(),
        ["one", seed, dir] => runner::one(seed, dir, None),
        ["one", seed, dir, trace] => runner::one(seed, dir, Some(trace)),
        ["script", name, dir] => runner::script(name, dir, None),
        ["script", name, dir, trace] => runner::script(name, dir, Some(trace)),
        _ => {
            println!(
                "sim takes its wishes from the environment: SEED, N, TIME, JOBS, TRACE, SCRIPT"
            );
            ExitCode::FAILURE
        }
    }
}
