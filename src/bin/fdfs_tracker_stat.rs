//! fdfs_tracker_stat: lists trackers.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_tracker_stat", std::env::args_os())
}
