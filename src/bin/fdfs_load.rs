//! fdfs_load: puts a load on a cluster and measures how it bears it.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_load", std::env::args_os())
}
