//! The command line of a daemon: `NAME [options] CONF [start | stop | restart | status]`
//! (storage.md 9.1, tracker.md 15.1). Only `program` uses it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{EXIT_FAILED, EXIT_INVALID};

/// What the first process gives the second one that goes to the background.
pub(super) const DETACHED: &str = "--detached";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    Status,
    /// Look at everything that is stored; for daemons that have such a pass.
    Verify,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Args {
    pub(super) conf: PathBuf,
    pub(super) action: Action,
    pub(super) foreground: bool,
    pub(super) detached: bool,
    pub(super) check_config: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Run(Args),
    Version,
    Help,
    /// The exit code is the reference's, except that it exits with 0 on unknown options and
    /// surplus arguments; a script cannot notice that, so ours is EINVAL there.
    Wrong {
        message: String,
        code: u8,
    },
}

pub(super) fn usage(name: &str, verifies: bool) -> String {
    let verify =
        "\n  --verify                        compare all stored files, print JSON lines, exit";
    let verify = if verifies { verify } else { "" };
    format!(
        "Usage: {name} [options] CONF [start | stop | restart | status]\n\
         \n\
         \x20 -N, --no-daemon, --foreground   stay in the foreground, log to standard error\n\
         \x20 --check-config                  check CONF and exit{verify}\n\
         \x20 -V, --version                   print the version and exit\n\
         \x20 -h, --help                      print this and exit"
    )
}

/// `args` begins with the name of the program.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Parsed {
    let wrong = |message: String, code| Parsed::Wrong { message, code };
    let (mut foreground, mut detached, mut check_config, mut verify) = (false, false, false, false);
    let mut plain = Vec::new();
    for arg in args.into_iter().skip(1) {
        match arg.to_str() {
            Some("-V" | "--version") => return Parsed::Version,
            Some("-h" | "--help") => return Parsed::Help,
            Some("-N" | "--no-daemon" | "--foreground") => foreground = true,
            Some("--check-config") => check_config = true,
            Some("--verify") => verify = true,
            Some(DETACHED) => detached = true,
            Some(option) if option.starts_with('-') => {
                return wrong(format!("unknown option {option}"), EXIT_INVALID);
            }
            _ => plain.push(arg),
        }
    }
    let mut plain = plain.into_iter();
    let Some(conf) = plain.next() else {
        return wrong("which configuration file?".to_owned(), EXIT_FAILED);
    };
    let action = match plain.next() {
        None if verify => Action::Verify,
        None => Action::Start,
        Some(_) if verify => return wrong("--verify takes no action".to_owned(), EXIT_INVALID),
        Some(word) => match word.to_str() {
            Some("start") => Action::Start,
            Some("stop") => Action::Stop,
            Some("restart") => Action::Restart,
            Some("status") => Action::Status,
            _ => return wrong(format!("unknown action {}", word.display()), EXIT_INVALID),
        },
    };
    if plain.next().is_some() {
        return wrong("too many arguments".to_owned(), EXIT_INVALID);
    }
    Parsed::Run(Args { conf: conf.into(), action, foreground, detached, check_config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_read_as_the_reference_does() {
        let run = |action, foreground, check_config| {
            let conf = PathBuf::from("c.conf");
            Ok(Args { conf, action, foreground, detached: false, check_config })
        };
        for (line, want) in [
            ("", Err(1)),
            ("c.conf", run(Action::Start, false, false)),
            ("c.conf start", run(Action::Start, false, false)),
            ("-N c.conf", run(Action::Start, true, false)),
            ("c.conf start --foreground", run(Action::Start, true, false)),
            ("c.conf stop", run(Action::Stop, false, false)),
            ("c.conf restart", run(Action::Restart, false, false)),
            ("c.conf status", run(Action::Status, false, false)),
            ("--check-config c.conf", run(Action::Start, false, true)),
            ("c.conf --verify", run(Action::Verify, false, false)),
            ("c.conf --verify start", Err(22)),
            ("c.conf reload", Err(22)),
            ("c.conf start now", Err(22)),
            ("-x c.conf", Err(22)),
        ] {
            let args = ["name"].into_iter().chain(line.split_whitespace()).map(OsString::from);
            let got = match parse(args) {
                Parsed::Run(args) => Ok(args),
                Parsed::Wrong { code, .. } => Err(code),
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(got, want, "{line}");
        }
        let parsed = |option: &str| parse(["name", option, "c.conf"].map(OsString::from));
        assert_eq!(parsed("-V"), Parsed::Version);
        assert_eq!(parsed("--help"), Parsed::Help);
    }
}
