//! fdfs_test1: tries the operations on files, by id.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_test1", std::env::args_os())
}
