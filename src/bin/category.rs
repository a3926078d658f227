//! category: the FastCGI worker that lists files by what they are.

fn main() -> std::process::ExitCode {
    web::run("category", std::env::args_os())
}
