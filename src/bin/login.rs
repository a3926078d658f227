//! login: the FastCGI worker that opens and ends sessions.

fn main() -> std::process::ExitCode {
    web::run("login", std::env::args_os())
}
