//! upload: the FastCGI worker that takes files.

fn main() -> std::process::ExitCode {
    web::run("upload", std::env::args_os())
}
