//! share: the FastCGI worker of links to files and folders, for owners and for visitors.

fn main() -> std::process::ExitCode {
    web::run("share", std::env::args_os())
}
