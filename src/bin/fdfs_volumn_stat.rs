//! fdfs_volumn_stat: lists groups with their space.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_volumn_stat", std::env::args_os())
}
