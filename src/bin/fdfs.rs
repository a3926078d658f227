//! fdfs: stores, fetches and inspects files; watches the cluster.

fn main() -> std::process::ExitCode {
    tools::run("fdfs", std::env::args_os())
}
