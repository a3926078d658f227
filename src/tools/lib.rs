//! The fdfs_* programs: what people call from shell scripts and cron jobs.
//!
//! Each file here is one program, or a family: its arguments, its output, its exit code. Labels
//! and order of the output are facts that scripts parse (tools.md). The exit code is the errno
//! of the failure and 1 for wrong usage, also in the programs of the reference that always exit
//! with 0. What a program asks of the cluster goes through `net::client`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use net::client::{Client, ClientError};
use net::ports::World;
use net::program::run_tool;
use proto::fileid::FileId;
use proto::status::Status;

mod config; // client.conf

mod upload; // fdfs_upload_file

mod download; // fdfs_download_file

mod delete; // fdfs_delete_file

mod info; // fdfs_file_info

mod appender; // fdfs_upload_appender, fdfs_append_file, fdfs_regenerate_filename

mod crc32; // fdfs_crc32

mod monitor; // fdfs_monitor

mod exercise; // fdfs_test, fdfs_test1, fdfs_appender_test, fdfs_appender_test1

mod stat; // fdfs_tracker_stat, fdfs_storage_stat, fdfs_volumn_stat

mod load; // fdfs_load

mod fdfs; // fdfs: the program for people

mod zone; // local time, as the tools print it

/// Where programs that need not be told look for their configuration.
const DEFAULT_CONFIG: &str = "/etc/fdfs/client.conf";

/// Runs the program `name`; `args` begins with the name it was called by.
pub fn run(name: &'static str, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    if name == "fdfs" {
        return fdfs::run(args);
    }
    if name == "fdfs_load" {
        return load::run(args);
    }
    // Names that are not UTF-8 cannot be file ids; as local names they are found to be missing.
    let args = args.into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let args: Vec<String> = args.collect();
    run_tool(name, |world| async move {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let outcome = match name {
            "fdfs_upload_file" => upload::run(&world, &args).await,
            "fdfs_download_file" => download::run(&world, &args).await,
            "fdfs_delete_file" => delete::run(&world, &args).await,
            "fdfs_file_info" => info::run(&world, &args).await,
            "fdfs_upload_appender" => appender::upload(&world, &args).await,
            "fdfs_append_file" => appender::append(&world, &args).await,
            "fdfs_regenerate_filename" => appender::regenerate(&world, &args).await,
            "fdfs_crc32" => crc32::run(&args).await,
            "fdfs_tracker_stat" => stat::trackers(&world, &args).await,
            "fdfs_storage_stat" => stat::storages(&world, &args).await,
            "fdfs_volumn_stat" => stat::volumes(&world, &args).await,
            "fdfs_test" | "fdfs_test1" => exercise::files(&world, name, &args).await,
            "fdfs_appender_test" | "fdfs_appender_test1" => {
                exercise::appender(&world, name, &args).await
            }
            "fdfs_monitor" => monitor::run(&world, &args).await,
            other => Err(Failure::Usage(format!("{other} is no program of this package"))),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let told = failure.tell(name);
                if told.is_empty() {
                    // Nothing is left to say.
                } else if failure.is_told_on_stdout(name) {
                    say(&told);
                } else {
                    let _ = writeln!(io::stderr(), "{told}");
                }
                ExitCode::from(failure.status().0)
            }
        }
    })
}

/// Why a program did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// Called wrongly; the usage of the program.
    Usage(String),
    /// Called wrongly, with the errno that scripts know; the usage of what was asked for.
    Called { usage: String, status: Status },
    /// The configuration cannot be used.
    Config { text: String, status: Status },
    /// An argument is not what it has to be.
    Argument(String),
    /// An argument that should be sent cannot be: what was to be done, and what is wrong.
    Invalid { what: String, because: String },
    /// The bytes are not those that the name stands for.
    Corrupt(String),
    /// A local file could not be read or written: what was to be done, and to what.
    Local { what: String, source: io::Error },
    /// The cluster did not do it.
    Client { what: String, source: ClientError },
    /// It has been told already, where scripts look for it.
    Told(Status),
}

impl Failure {
    fn local(what: &str, path: &Path, source: io::Error) -> Self {
        Failure::Local { what: format!("{what} {}", path.display()), source }
    }

    fn status(&self) -> Status {
        match self {
            Failure::Usage(_) => Status::EPERM, // 1
            Failure::Config { status, .. }
            | Failure::Called { status, .. }
            | Failure::Told(status) => *status,
            Failure::Argument(_) | Failure::Invalid { .. } => Status::EINVAL,
            Failure::Corrupt(_) => Status::EIO,
            Failure::Local { source, .. } => {
                Status::from_errno(source.raw_os_error().unwrap_or_default())
            }
            Failure::Client { source, .. } => source.status(),
        }
    }

    /// Some programs have always told their failures to scripts on standard output.
    fn is_told_on_stdout(&self, name: &str) -> bool {
        let among = |names: &[&str]| names.contains(&name) || name.ends_with("test");
        match self {
            Failure::Client { .. } | Failure::Invalid { .. } => among(&[
                "fdfs_download_file",
                "fdfs_delete_file",
                "fdfs_append_file",
                "fdfs_test1",
                "fdfs_appender_test1",
            ]),
            Failure::Local { .. } => {
                among(&["fdfs_crc32", "fdfs_append_file", "fdfs_test1", "fdfs_appender_test1"])
            }
            Failure::Usage(_) | Failure::Called { .. } => {
                !["fdfs_file_info", "fdfs_regenerate_filename"].contains(&name)
                    && !name.ends_with("_stat")
            }
            _ => false,
        }
    }

    /// The text of tools.md 1, with what stands behind it in parentheses.
    fn tell(&self, name: &str) -> String {
        let (what, because) = match self {
            Failure::Usage(usage) | Failure::Called { usage, .. } => {
                return format!("Usage: {name} {usage}");
            }
            Failure::Config { text, .. } | Failure::Argument(text) | Failure::Corrupt(text) => {
                return format!("{name}: {text}");
            }
            Failure::Told(_) => return String::new(),
            Failure::Local { what, source } if source.raw_os_error().is_none() => {
                (what, source.to_string())
            }
            Failure::Local { what, .. } => (what, String::new()),
            Failure::Client { what, source } => (what, source.to_string()),
            Failure::Invalid { what, because } => (what, because.clone()),
        };
        let number = self.status().0;
        let mut told = format!("{what} fail, error no: {number}, error info: {}", strerror(number));
        if !because.is_empty() {
            let _ = write!(told, " ({because})"); // writing to a string cannot fail
        }
        told
    }
}

/// Puts what was being done to a failure of the client.
trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, ClientError> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|source| Failure::Client { what: what.into(), source })
    }
}

/// The system's words for an errno.
fn strerror(number: u8) -> String {
    let text = io::Error::from_raw_os_error(i32::from(number)).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// A client of the trackers in the configuration file `conf`.
async fn connect(world: &World, conf: &str) -> Result<Client, Failure> {
    let config = config::load(Path::new(conf))?;
    let trackers = config.trackers(world).await?;
    Ok(Client::new(world.clone(), config.pool, trackers))
}

/// The file id in an argument; `what` is what shall be done to it.
fn file_id(text: &str, what: &str) -> Result<FileId, Failure> {
    FileId::parse(text).map_err(|error| Failure::Invalid {
        what: what.to_owned(),
        because: format!("{text}: {error}"),
    })
}

/// Prints a line of the result; a closed pipe is not an error.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
