//! fastdisk: the drive's administration: shows the configuration, migrates the database, makes
//! the first administrator.

fn main() -> std::process::ExitCode {
    web::administer(std::env::args_os())
}
