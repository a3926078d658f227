//! register: the FastCGI worker that makes accounts.

fn main() -> std::process::ExitCode {
    web::run("register", std::env::args_os())
}
