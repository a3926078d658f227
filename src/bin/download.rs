//! download: the FastCGI worker that checks who may fetch a file and lets nginx send it.

fn main() -> std::process::ExitCode {
    web::run("download", std::env::args_os())
}
