//! What fdfs prints: text or one JSON object a line, failures, progress bars.
//!
//! Standard output gets results and nothing else. A reader that has gone, as `head` does, ends
//! the output and is no failure.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::{Failure, strerror};

const BAR: &str = "{msg:24!} {bar:30.cyan/blue} {bytes:>10} of {total_bytes:<10} \
    {binary_bytes_per_sec:>12}  {eta:>4}";
const SPINNER: &str = "{msg:24!} {spinner} {bytes:>10} {binary_bytes_per_sec:>12}";

/// Where results and failures go.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    /// The errno of the first failure.
    failed: Option<u8>,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, failed: None }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// One result, as the text or as the record.
    pub(super) fn tell(&self, text: &dyn Display, record: &impl Serialize) {
        if self.json {
            match serde_json::to_string(record) {
                Ok(line) => print(&line),
                // Our records are structs of numbers and text; nothing else could fail.
                Err(error) => complain(&format!("fdfs: {error}")),
            }
        } else {
            print(text);
        }
    }

    /// Remembers and tells a failure; what comes after it may still be done.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let number = failure.status().0;
        self.failed.get_or_insert(number);
        if self.json {
            let text = failure.tell("fdfs");
            let error = json!({"errno": number, "meaning": strerror(number), "text": text});
            complain(&json!({ "error": error }).to_string());
        } else {
            complain(&failure.tell("fdfs"));
        }
    }

    /// Takes note of how one of several things went.
    pub(super) fn note(&mut self, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.fail(&failure);
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        self.failed.map_or(ExitCode::SUCCESS, ExitCode::from)
    }

    /// A bar on the terminal, if standard error is one; of no length for a stream.
    pub(super) fn bar(&self, name: &str, len: Option<u64>) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(if len.is_some() { BAR } else { SPINNER });
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(len, target).with_style(style);
        bar.set_message(name.to_owned());
        bar
    }
}

/// A line of the result.
pub(super) fn print(text: &dyn Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
