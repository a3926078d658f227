//! fdfs_upload_appender: stores a file that may grow.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_upload_appender", std::env::args_os())
}
