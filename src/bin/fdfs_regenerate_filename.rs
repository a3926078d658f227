//! fdfs_regenerate_filename: makes a normal file of an appender.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_regenerate_filename", std::env::args_os())
}
