//! fdfs_upload_file: stores a local file and prints its id.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_upload_file", std::env::args_os())
}
