//! fdfs_appender_test1: tries an appender, step by step.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_appender_test1", std::env::args_os())
}
