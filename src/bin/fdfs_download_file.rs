//! fdfs_download_file: fetches a file, or a part of it, into a local one.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_download_file", std::env::args_os())
}
