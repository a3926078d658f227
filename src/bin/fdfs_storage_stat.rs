//! fdfs_storage_stat: lists storages.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_storage_stat", std::env::args_os())
}
