//! One line per request of a client: who, what, which file, how it ended, how long it took
//! (storage.md 9.4).
//!
//! Lines are collected and written together; a line is at most one flush interval late. An
//! access log that cannot be written never keeps a request from being answered.

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use net::{
    ports::{Clock, Moment, UnixTime},
    rotate::{RotatingFile, date_time},
    shutdown::Stop,
};
use proto::command::Command;

use crate::config::AccessLogConfig;

/// Bytes collected before they are written whatever the interval.
const BUFFER_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct AccessLog {
    file: Arc<RotatingFile>,
    micros: bool,
    flush: Duration,
    buffer: Mutex<String>,
    /// HUP signals so far, and how many of them were obeyed.
    hang_ups: Arc<AtomicU64>,
    obeyed: AtomicU64,
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) begun: (UnixTime, Moment),
    pub(crate) client: IpAddr,
    pub(crate) command: u8,
    /// Empty when it is not known.
    pub(crate) name: &'a str,
    pub(crate) status: u8,
    /// Header included.
    pub(crate) request_len: u64,
    pub(crate) answer_len: u64,
}

impl AccessLog {
    pub(crate) fn open(
        path: PathBuf,
        config: AccessLogConfig,
        clock: Arc<dyn Clock>,
        hang_ups: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let unit = if config.micros { "us" } else { "ms" };
        let head = format!("client_ip action filename status time_used_{unit} req_len resp_len");
        let file = RotatingFile::open(path, config.rotation, clock, head)?;
        let (micros, flush) = (config.micros, config.flush);
        let (buffer, obeyed) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { file, micros, flush, buffer, hang_ups, obeyed })
    }

    /// Notes a request; commands that are not of clients are left out.
    pub(crate) fn note(&self, line: &Line<'_>, now: Moment) {
        let Some(text) = text(line, now, self.micros) else { return };
        let full = {
            let mut buffer = self.buffer.lock().expect("no code panics while holding this lock");
            buffer.push_str(&text);
            BUFFER_BYTES <= buffer.len()
        };
        if full {
            self.write();
        }
    }

    /// Writes what is due until `stop` is raised, and what is left then.
    pub(crate) async fn run(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                biased;
                () = stop.raised() => break,
                () = tokio::time::sleep(self.flush) => {}
            }
            let log = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || log.write()).await;
            written.expect("a panic has already ended the process");
        }
    }

    /// Writes what was collected. Blocks.
    pub(crate) fn write(&self) {
        let hang_ups = self.hang_ups.load(Ordering::Relaxed);
        let renewed = match self.obeyed.swap(hang_ups, Ordering::Relaxed) == hang_ups {
            true => Ok(()),
            false => self.file.renew(),
        };
        let lines = {
            let mut buffer = self.buffer.lock().expect("no code panics while holding this lock");
            std::mem::take(&mut *buffer)
        };
        let written = if lines.is_empty() { Ok(()) } else { self.file.write(lines.as_bytes()) };
        if let Err(error) = renewed.and(written) {
            log::error!("write the access log: {error}");
        }
    }
}

fn text(line: &Line<'_>, now: Moment, micros: bool) -> Option<String> {
    let action = action(line.command)?;
    let took = now.since(line.begun.1);
    let took = if micros { took.as_micros() } else { took.as_millis() };
    let name = if line.name.is_empty() { "-" } else { line.name };
    let (client, status) = (line.client, line.status);
    let (request, answer) = (line.request_len, line.answer_len);
    let time = date_time(line.begun.0);
    Some(format!("[{time}] {client} {action} {name} {status} {took} {request} {answer}\n"))
}

fn action(command: u8) -> Option<&'static str> {
    Some(match Command::try_from(command).ok()? {
        Command::UploadFile | Command::UploadSlaveFile | Command::UploadAppenderFile => "upload",
        Command::DownloadFile => "download",
        Command::DeleteFile => "delete",
        Command::GetMetadata => "get_metadata",
        Command::SetMetadata => "set_metadata",
        Command::AppendFile => "append",
        Command::ModifyFile => "modify",
        Command::TruncateFile => "truncate",
        Command::QueryFileInfo => "status",
        Command::RegenerateAppenderFilename => "rename",
        _ => return None,
    })
}

/// The name that a request without content carries, as text for the log; empty if there is
/// none that can be shown.
pub(crate) fn name_in(command: Command, body: &[u8]) -> String {
    let number = |at: usize| {
        let bytes = body.get(at..at.saturating_add(8)).unwrap_or_default();
        usize::try_from(u64::from_be_bytes(bytes.try_into().unwrap_or_default())).unwrap_or(0)
    };
    let (from, len) = match command {
        Command::DeleteFile | Command::GetMetadata | Command::QueryFileInfo => (16, usize::MAX),
        Command::DownloadFile => (32, usize::MAX),
        Command::SetMetadata => (33, number(0)),
        Command::AppendFile | Command::TruncateFile => (16, number(0)),
        Command::ModifyFile => (24, number(0)),
        Command::RegenerateAppenderFilename => (0, usize::MAX),
        _ => return String::new(),
    };
    let rest = body.get(from..).unwrap_or_default();
    let name = rest.get(..len.min(rest.len())).unwrap_or_default();
    let shown = !name.is_empty() && name.len() < 128 && name.iter().all(u8::is_ascii_graphic);
    if shown { String::from_utf8_lossy(name).into_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_the_reference() {
        let begun = (UnixTime::from_millis(1_700_028_800_123), Moment(Duration::from_secs(1)));
        let mut line = Line {
            begun,
            client: "192.0.2.7".parse().unwrap(),
            command: 11,
            name: "M00/00/00/wKg.txt",
            status: 0,
            request_len: 38,
            answer_len: 70,
        };
        let now = Moment(Duration::from_micros(1_005_045));
        let want = "[2023-11-15 06:13:20.123] 192.0.2.7 upload M00/00/00/wKg.txt 0 5 38 70\n";
        assert_eq!(text(&line, now, false).as_deref(), Some(want));
        (line.name, line.command) = ("", 14);
        let want = "[2023-11-15 06:13:20.123] 192.0.2.7 download - 0 5045 38 70\n";
        assert_eq!(text(&line, now, true).as_deref(), Some(want));
        line.command = 111;
        assert_eq!(text(&line, now, true), None);
    }

    #[test]
    fn names_are_found_and_hostile_ones_are_not_shown() {
        let mut body = vec![0; 16];
        body.extend(b"M00/00/00/x");
        assert_eq!(name_in(Command::DeleteFile, &body), "M00/00/00/x");
        body.push(b'\n');
        assert_eq!(name_in(Command::DeleteFile, &body), "");
        assert_eq!(name_in(Command::DownloadFile, &body), "");
        let body = [&3u64.to_be_bytes()[..], &[0; 8], b"abcdef"].concat();
        assert_eq!(name_in(Command::AppendFile, &body), "abc");
        assert_eq!(name_in(Command::UploadFile, &body), "");
    }
}
