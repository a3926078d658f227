//! events: the FastCGI worker that tells pages what changed.

fn main() -> std::process::ExitCode {
    web::run("events", std::env::args_os())
}
