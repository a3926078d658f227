//! fdfs_appender_test: tries an appender, step by step.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_appender_test", std::env::args_os())
}
