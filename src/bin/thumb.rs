//! thumb: the FastCGI worker of small pictures.

fn main() -> std::process::ExitCode {
    web::run("thumb", std::env::args_os())
}
