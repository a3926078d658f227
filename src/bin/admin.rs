//! admin: the FastCGI worker that serves administrators and Prometheus.

fn main() -> std::process::ExitCode {
    web::run("admin", std::env::args_os())
}
