//! fdfs_storaged: keeps the files of a group and serves them.

fn main() -> std::process::ExitCode {
    storage::run(std::env::args_os())
}
