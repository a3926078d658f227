//! fdfs_test: tries the operations on files, by group and name.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_test", std::env::args_os())
}
