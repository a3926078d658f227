//! fdfs_append_file: puts a local file behind an appender.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_append_file", std::env::args_os())
}
