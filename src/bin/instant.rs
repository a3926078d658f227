//! instant: the FastCGI worker that stores files that somebody has already.

fn main() -> std::process::ExitCode {
    web::run("instant", std::env::args_os())
}
