//! One source file as the tidy test sees it: its text, its code without comments and strings,
//! and which of its lines are test code.
//!
//! Called by `tests/tidy.rs`. It is a scanner and no parser: it knows where comments, strings
//! and blocks begin and end, and nothing about meaning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file, named by its path from the root of the repository.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the inside of strings blanked, line for line.
    pub(crate) code: Vec<String>,
    /// For each line: does it belong to `#[cfg(test)]`?
    pub(crate) is_test: Vec<bool>,
}

impl Source {
    /// Reads `text` as the content of `path`; Rust is scanned, anything else is taken as it is.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let masked = if path.ends_with(".rs") { mask(text) } else { text.to_owned() };
        let code: Vec<String> = masked.lines().map(str::to_owned).collect();
        let is_test = test_lines(&code, path);
        Self { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }

    /// Lines of code that are not test code, with their numbers from 1.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.is_test).enumerate();
        lines.filter(|(_, (_, test))| !**test).map(|(i, (line, _))| (i + 1, line.as_str()))
    }

    /// Paths named after `crate::` or `super::`, in `use` trees and elsewhere, with the line.
    pub(crate) fn own_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut pending: Option<(usize, String)> = None;
        for (number, line) in self.live() {
            let starts = line.trim_start().trim_start_matches("pub(crate) ");
            let opened = starts.trim_start_matches("pub ");
            if pending.is_none() && opened.starts_with("use ") {
                pending = Some((number, String::new()));
            }
            if let Some((first, tree)) = &mut pending {
                tree.push_str(line.trim());
                if line.contains(';') {
                    let first = *first;
                    let tree = tree.split("use ").nth(1).unwrap_or("").trim_end_matches(';');
                    expand("", tree, &mut |path| found.push((first, path)));
                    pending = None;
                }
                continue;
            }
            for at in line.match_indices("crate::").map(|(at, _)| at) {
                let path =
                    line[at..].split(|c: char| !(c == ':' || c == '_' || c.is_alphanumeric()));
                found.extend(path.take(1).map(|path| (number, path.to_owned())));
            }
        }
        found.retain(|(_, path)| path.starts_with("crate::") || path.starts_with("super::"));
        found
    }

    /// Each function outside test code: its name, its first line, how many lines it takes.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        for (number, line) in self.live() {
            for (at, _) in line.match_indices("fn ") {
                let before = line[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let name: String = line[at + 3..].chars().take_while(|c| is_ident(*c)).collect();
                if let (false, Some(last)) = (name.is_empty(), self.block_end(number - 1, at)) {
                    found.push((name, number, last + 2 - number));
                }
            }
        }
        found
    }

    /// The index of the line where the block after `(line, column)` closes; `None` without one.
    fn block_end(&self, line: usize, column: usize) -> Option<usize> {
        let (mut round, mut curly) = (0_i64, 0_i64);
        for (index, text) in self.code.iter().enumerate().skip(line) {
            let skip = if index == line { column } else { 0 };
            for c in text[skip..].chars() {
                match c {
                    '(' | '[' => round += 1,
                    ')' | ']' => round -= 1,
                    ';' if round == 0 && curly == 0 => return None,
                    '{' => curly += 1,
                    '}' => {
                        curly -= 1;
                        if curly == 0 {
                            return Some(index);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Modules this file declares for tests only: `#[cfg(test)] mod name;`.
    pub(crate) fn test_modules(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (index, line) in self.code.iter().enumerate() {
            if is_test_attribute(line) {
                let next = self.code.get(index + 1).map_or("", |l| l.trim());
                let name = next.strip_prefix("pub(crate) ").unwrap_or(next);
                let name = name.strip_prefix("pub ").unwrap_or(name);
                let name = name.strip_prefix("mod ").and_then(|n| n.strip_suffix(';'));
                names.extend(name.map(str::to_owned));
            }
        }
        names
    }
}

/// Is `word` in `line`, not as a part of a longer name?
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let edge =
        |c: Option<char>, own: Option<char>| !own.is_some_and(is_ident) || !c.is_some_and(is_ident);
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        edge(before.chars().next_back(), word.chars().next())
            && edge(after.chars().next(), word.chars().next_back())
    })
}

/// Every file below `root/dir` whose name ends in one of `endings`, sorted, from the root.
pub(crate) fn files(root: &Path, dir: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.join(dir)];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.expect("the sources can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign = matches!(name.as_str(), "target" | "node_modules" | "vendor");
                if !foreign && !name.starts_with('.') {
                    todo.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(root).expect("it is below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn is_ident(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn is_test_attribute(line: &str) -> bool {
    let line = line.trim();
    // The one feature of ours is that of builds for tests.
    let kinds = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test", "#[cfg(feature"];
    kinds.iter().any(|kind| line.starts_with(kind))
}

/// Marks the lines of items under `#[cfg(test)]`; a file named `tests` is test code as a whole.
fn test_lines(code: &[String], path: &str) -> Vec<bool> {
    let named = path.ends_with("/tests.rs") || path.contains("/tests/");
    let whole = named || path.starts_with("tests/");
    let mut marks = vec![whole && !path.starts_with("tests/"); code.len()];
    let mut index = 0;
    while index < code.len() {
        if !is_test_attribute(&code[index]) {
            index += 1;
            continue;
        }
        let mut depth = 0_i64;
        while index < code.len() {
            marks[index] = true;
            let line = &code[index];
            depth += i64::try_from(line.matches('{').count()).unwrap_or(0);
            depth -= i64::try_from(line.matches('}').count()).unwrap_or(0);
            index += 1;
            let attribute = line.trim_start().starts_with("#[");
            if depth == 0 && !attribute && (line.contains('}') || line.contains(';')) {
                break;
            }
        }
    }
    marks
}

/// Hands out the paths of a `use` tree one by one: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str, give: &mut impl FnMut(String)) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        give(format!("{prefix}{tree}"));
        return;
    };
    let head = format!("{prefix}{}", &tree[..open]);
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0_i64, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&head, &inner[start..at], give);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        let closed = format!("{}{}", &inner[start..], if depth > 0 { "}" } else { "" });
        expand(&head, &closed, give);
    }
}

/// Blanks comments and the inside of strings and character literals; keeps lines and columns.
fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = token_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        for c in &chars[at..end] {
            out.push(if *c == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

/// Where the comment, string or character literal that starts at `at` ends; `at` if none does.
fn token_end(chars: &[char], at: usize) -> usize {
    let is = |offset: usize, c: char| chars.get(at + offset) == Some(&c);
    let find = |from: usize, end: &[char]| {
        let tail = chars.get(from..).unwrap_or_default();
        let hit = tail.windows(end.len()).position(|w| w == end);
        hit.map_or(chars.len(), |p| from + p + end.len())
    };
    if is(0, '/') && is(1, '/') {
        return find(at, &['\n']).saturating_sub(1).max(at + 2);
    }
    if is(0, '/') && is(1, '*') {
        return find(at + 2, &['*', '/']);
    }
    let inside_name = at > 0 && is_ident(chars[at - 1]) && !matches!(chars[at - 1], 'b' | 'c');
    if is(0, 'r') && !inside_name {
        let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
        if chars.get(at + 1 + hashes) == Some(&'"') {
            let mut end = vec!['"'];
            end.resize(hashes + 1, '#');
            return find(at + 2 + hashes, &end);
        }
    }
    if is(0, '"') {
        let mut i = at + 1;
        while i < chars.len() && chars[i] != '"' {
            i += if chars[i] == '\\' { 2 } else { 1 };
        }
        return (i + 1).min(chars.len());
    }
    if is(0, '\'') && is(1, '\\') {
        return find(at + 3, &['\'']);
    }
    if is(0, '\'') && is(2, '\'') { at + 3 } else { at }
}
