//! A whole drive for a test: `serve-stack.sh` started, asked and ended.
//!
//! The drive lives as long as the pipe to that script: when the test program ends, however it
//! ends, everything is stopped and removed. Servers are killed here and started again through
//! `conf/stack.sh`, as an operator would.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use super::http;

/// A running drive.
#[derive(Debug)]
pub(crate) struct Stack {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// Its run directory: logs in `log/`, stored files in `data/`.
    pub(crate) run: PathBuf,
    /// What `make run` prints about the administrator.
    pub(crate) admin: String,
    command: Vec<String>,
    pipe: Option<ChildStdin>,
    server: Child,
}

impl Stack {
    /// The drive that all tests of a program share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A drive of its own; each edit is a `sed` expression on the shipped configuration.
    pub(crate) fn start(edits: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut server = Command::new(root.join("tests/support/serve-stack.sh"))
            .args(edits)
            .env("BIN_DIR", bin_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let pipe = server.stdin.take();
        let out = BufReader::new(server.stdout.take().expect("it is piped"));
        let mut facts = std::collections::BTreeMap::new();
        for line in out.lines() {
            let line = line.expect("the script prints text");
            if line == "ready" {
                break;
            }
            let (key, value) = line.split_once('=').expect("key=value");
            facts.insert(key.to_owned(), value.to_owned());
        }
        let fact = |key: &str| {
            facts.get(key).unwrap_or_else(|| panic!("no {key}: the drive did not start")).clone()
        };
        Self {
            url: fact("url"),
            run: fact("run").into(),
            admin: fact("admin"),
            command: fact("stack").split(' ').map(str::to_owned).collect(),
            pipe,
            server,
        }
    }

    /// Runs `conf/stack.sh` on this drive: `start`, `stop`, `status`. Returns what it printed.
    pub(crate) fn control(&self, verb: &str) -> String {
        let (program, args) = self.command.split_first().expect("a command has a program");
        let out = Command::new(program).args(args).arg(verb).output().expect("bash runs");
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(out.status.success() || verb == "status", "{verb}: {text}");
        text
    }

    /// `kill -9` for a service by its name in `status`: storage, tracker, upload, mysql, …
    pub(crate) fn kill(&self, service: &str) {
        let pids = std::fs::read_to_string(self.run.join("pid").join(service));
        for line in pids.expect("the service was started").lines() {
            let pid = line.split(' ').next().expect("a line begins with the number");
            let status = Command::new("kill").args(["-KILL", pid]).status().expect("kill runs");
            assert!(status.success(), "kill {service} {pid}");
        }
    }

    /// One request to the drive; panics if there is no answer.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> http::Answer {
        http::request(&self.url, method, path, headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// The log of a service, so far.
    pub(crate) fn log(&self, service: &str) -> String {
        let path = self.run.join("log").join(format!("{service}.log"));
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Copies the logs to `target/failures` before the drive goes.
    pub(crate) fn keep_logs(&self) {
        if let Some(mut pipe) = self.pipe.as_ref() {
            pipe.write_all(b"keep\n").expect("the script listens");
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
        self.pipe.take(); // its end is the signal to stop
        self.server.wait().expect("the script ends after it has stopped everything");
    }
}

/// Where the programs of this build are: beside the test program's own directory.
pub(crate) fn bin_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let deps = own.parent().expect("it is in a directory");
    deps.parent().expect("which is deps, in the build directory").to_owned()
}
