//! fdfs_file_info: prints what is known about a file.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_file_info", std::env::args_os())
}
