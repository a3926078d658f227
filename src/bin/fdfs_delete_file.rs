//! fdfs_delete_file: deletes a file.

fn main() -> std::process::ExitCode {
    tools::run("fdfs_delete_file", std::env::args_os())
}
