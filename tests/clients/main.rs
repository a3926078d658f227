//! Client libraries that nobody here wrote, against real daemons: upload, download, metadata,
//! slaves, append, modify, truncate, delete, as their users call them.
//!
//! Libraries come from their registries, in the versions that the lock files here name by their
//! sums, into directories of their own under `target`; what is there already, or in the cache
//! of npm, is taken. No library of PyPI, npm or crates.io that was looked at can store slaves as
//! it is: those for Python all give text to a packer of bytes, the others have no such call.
//! `narrow.py` shows that mistake and mends it from outside. Each script says what it leaves out.

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use proto::ids::GroupName;
use support::cluster::Cluster;
use support::history::History;
use support::recorder::Recorder;
use support::wait::eventually;

/// The last line of a flow that came to its end.
const DONE: &str = "all done\n";

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A directory under `target` for what registries give.
fn installed(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    fs::create_dir_all(&dir).expect("the build directory can be written");
    dir
}

/// Runs a command and returns what it printed; a failure is shown with what `what` says.
fn run(what: &str, command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{what}: {command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{what}\n{command:?}: {}\n{out}{err}", done.status);
    out.into_owned()
}

/// Lets a flow loose on a new cluster, once it takes uploads.
fn flow(name: &str, tracker_lines: &str, program: &Path, prepare: impl Fn(&mut Command)) {
    let cluster = Cluster::start_with(name, 1, tracker_lines);
    let dir = cluster.tracker.dir.parent().expect("it is in the cluster's").to_owned();
    let history = std::sync::Arc::new(History::create(&dir.join("history.jsonl")));
    let runtime = tokio::runtime::Runtime::new().expect("threads start");
    let client = Recorder::new(&history, 0, cluster.tracker.address).client;
    let group = GroupName::parse("group1").expect("a group name");
    eventually("the storage is active", Duration::from_secs(30), || {
        runtime.block_on(client.trackers().query_store(Some(&group))).ok()
    });
    let mut command = Command::new(program);
    prepare(&mut command);
    command.arg(cluster.tracker.address.port().to_string()).arg(&dir);
    let said = run("the flow does not come to its end", &mut command);
    assert!(said.ends_with(DONE), "{said}");
}

/// The Python with the libraries, installed once for all tests.
fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let install = || {
        let venv = installed("python");
        let python = venv.join("bin/python");
        if !venv.join("bin/pip").exists() {
            let what = "python3 with its venv is needed: conf/deps.sh test installs it";
            run(what, Command::new("python3").args(["-m", "venv"]).arg(&venv));
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        let patience = ["--retries", "2", "--timeout", "10"];
        let exact = ["--require-hashes", "--only-binary", ":all:", "--requirement"];
        let what = "the libraries cannot be installed: is https://pypi.org within reach?";
        let wanted = here().join("requirements.txt");
        run(what, Command::new(&python).args(pip).args(patience).args(exact).arg(wanted));
        python
    };
    PYTHON.get_or_init(install).clone()
}

#[test]
fn fdfs_client_py3_of_pypi() {
    flow("narrow", "", &python(), |command| {
        command.arg(here().join("narrow.py"));
    });
}

#[test]
fn fastdfs_client_of_pypi() {
    flow("wide", "response_ip_addr_size = ipv6\n", &python(), |command| {
        command.arg(here().join("wide.py"));
    });
}

#[test]
fn fastdfs_client_of_npm() {
    let dir = installed("node");
    for name in ["package.json", "package-lock.json"] {
        fs::copy(here().join(name), dir.join(name)).expect("the build directory can be written");
    }
    let what = "fastdfs-client cannot be installed: is https://registry.npmjs.org within reach?";
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let patience = ["--prefer-offline", "--fetch-timeout=20000", "--fetch-retry-mintimeout=1000"];
    run(what, Command::new("npm").args(install).args(patience).current_dir(&dir));
    flow("node", "", Path::new("node"), |command| {
        command.arg("--no-deprecation").arg(here().join("node.cjs"));
        command.env("NODE_PATH", dir.join("node_modules"));
    });
}
