//! fdfs_crc32: prints the sum of a local file.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_crc32", std::env::args_os())
}
