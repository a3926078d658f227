//! fdfs_monitor: prints the state of the cluster, and administers it.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_monitor", std::env::args_os())
}
