//! thumbnail: makes a small picture of the one on its input, in a cage that `thumb` puts it into.

fn main() -> std::process::ExitCode {
    web::thumbnail(std::env::args_os())
}
