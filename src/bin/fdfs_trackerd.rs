//! fdfs_trackerd: keeps the map of groups and storages and answers "where to".

fn main() -> std::process::ExitCode {
    tracker::run(std::env::args_os())
}
