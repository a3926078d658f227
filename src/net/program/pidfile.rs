//! The pid file: who runs already, and how to end it (storage.md 9.1). Only `program` uses it.
//!
//! The file is locked while its process lives, so two starts at the same moment cannot both
//! succeed; the number in it is for people and for `stop`. A file of the reference is not
//! locked, so the name of the process is looked at too.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// SIGTERM is repeated once a second, this often, before SIGKILL.
const TERM_ROUNDS: u32 = 30;
const ROUND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Bytes of a pid file that are looked at.
const PID_TEXT_MAX: u64 = 32;
/// The system cuts names of processes to this.
const COMM_LEN_MAX: usize = 15;

/// The claim of this process; the file goes when it is dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    /// Writes our number. Fails if another process holds the claim.
    pub(super) fn claim(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::from_raw_os_error(i32::from(super::EXIT_RUNS_ALREADY)))
            .with_context(|| format!("{} is held by another process", path.display()))?;
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // One that stays behind is recognised as stale.
        let _ = fs::remove_file(&self.path);
    }
}

/// The process that the file names, if it lives and is a `name`.
pub(super) fn running(path: &Path, name: &str) -> Option<Pid> {
    let mut text = String::new();
    File::open(path).ok()?.take(PID_TEXT_MAX).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| 0 < *pid)?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let cut = name.get(..COMM_LEN_MAX).unwrap_or(name);
    let lives = comm.trim_end() == cut && !has_ended(pid) && !serves_elsewhere(pid, path);
    if lives { Pid::from_raw(pid) } else { None }
}

/// Whether a process runs this very program, but under another pid file: a process that was
/// killed has left its number here, and the number was given out again. Each of ours has its
/// own file open; of others, and where we may not look, the name has to do.
fn serves_elsewhere(pid: i32, path: &Path) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    let (Ok(program), Ok(own), Ok(path)) = (program, std::env::current_exe(), path.canonicalize())
    else {
        return false;
    };
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let is_open = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|at| at == path);
    program == own && !files.flatten().any(is_open)
}

/// Whether a process has ended and is only kept until its parent notices. After a crash that
/// can take a while, and must not stand in the way of the next start.
fn has_ended(pid: i32) -> bool {
    // `<pid> (<name>) <state> …`, and the name may hold parentheses too.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

/// Ends a process: asks for half a minute, then insists.
pub(super) fn end(pid: Pid) -> anyhow::Result<()> {
    // A descriptor of the process, so that its number cannot come to mean another one.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other?,
    };
    for signal in std::iter::repeat_n(Signal::TERM, TERM_ROUNDS as usize).chain([Signal::KILL]) {
        match pidfd_send_signal(&process, signal) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            other => other?,
        }
        // The descriptor is readable once the process has ended.
        let mut ended = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        if poll(&mut ended, Some(&ROUND)) != Ok(0) {
            return Ok(());
        }
    }
    Err(anyhow!("it does not end"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_one_process_holds_the_claim_and_it_leaves_no_file() {
        let path = std::env::temp_dir().join(format!("net-pid-{}", std::process::id()));
        fs::remove_file(&path).ok();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(running(&path, own.trim_end()), None);
        let claim = PidFile::claim(&path).unwrap();
        assert!(PidFile::claim(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        assert_eq!(running(&path, own.trim_end()), Pid::from_raw(std::process::id() as i32));
        assert_eq!(running(&path, "somebody_else"), None);
        drop(claim);
        assert!(!path.exists());
        // As a killed process leaves it, when another instance gets its number.
        write!(File::create(&path).unwrap(), "{}", std::process::id()).unwrap();
        assert_eq!(running(&path, own.trim_end()), None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_process_is_found_by_its_name_and_ended() {
        let path = std::env::temp_dir().join(format!("net-pid-cat-{}", std::process::id()));
        let mut cat =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Its echo shows that it has its name: that is given last.
        cat.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let mut file = File::create(&path).unwrap();
        writeln!(file, "{}", cat.id()).unwrap();
        let pid = running(&path, "cat").unwrap();
        end(pid).unwrap();
        assert_eq!(running(&path, "cat"), None, "ended, though nobody has waited for it yet");
        assert!(!cat.wait().unwrap().success());
        assert_eq!(running(&path, "cat"), None);
        fs::remove_file(&path).unwrap();
    }
}
