//! mydisk: the FastCGI worker that lists folders and makes them.

fn main() -> std::process::ExitCode {
    web::run("mydisk", std::env::args_os())
}
