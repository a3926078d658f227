//! The rules of the house, kept by reading the sources: budgets, headers, who may depend on
//! whom, which modules stay pure, where `unsafe` and `fetch` may stand.
//!
//! Run by `make check`. Each rule is a function from one file to its findings, and each is
//! itself tested below with a made-up violation that it must catch and a neighbour that it must
//! accept. It never builds or runs what it reads.

#[path = "support/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use source::{Source, files, has_word};

/// Lines of non-test code in a file, lines of a function, columns of a line, lines of a program.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
const PROGRAM_LINES_MAX: usize = 12;

/// What each crate may name in `[dependencies]` and `[build-dependencies]`. A new line in a
/// manifest fails until it stands here too: the moment to ask whether it is worth it.
const MAY_USE: &[(&str, &str)] = &[
    ("src/proto", "hmac md-5 sha2 subtle thiserror xxhash-rust"),
    ("src/fcgi", "thiserror"),
    (
        "src/net",
        "anyhow bytes env_logger flate2 getrandom log proto rustix socket2 thiserror tokio",
    ),
    ("src/tracker", "anyhow log net proto thiserror tokio"),
    (
        "src/storage",
        "anyhow bytes crc32fast flate2 log net proto rustix serde_json thiserror tokio",
    ),
    (
        "src/web",
        "anyhow argon2 base64 bytes chacha20poly1305 crc32fast fcgi futures-util hmac image \
         infer log md-5 multer mysql_async net proto redis rustix serde serde_json sha1 sha2 \
         subtle thiserror tokio toml unicode-normalization",
    ),
    (
        "src/tools",
        "bytes clap clap_complete console crc32fast hdrhistogram indicatif net proto rustix serde \
         serde_json tokio",
    ),
    ("tests/crash", "fuser proto storage tracker"),
    ("tests/sim", "bytes log net proto serde_json sha2 storage tokio tracker turmoil"),
    (
        "tests/fuzz",
        "arbitrary bytes fcgi futures-util libfuzzer-sys multer net proto serde serde_json storage \
         thiserror tokio tracker",
    ),
    ("nginx/module", "crc32fast nginx-sys ngx proto"),
    (".", "fcgi net proto storage tools tracker web"),
];

/// Modules that decide and never act (R1): no I/O, clock, chance, thread, lock or log.
const PURE: &[&str] = &[
    "src/proto/",
    "src/fcgi/",
    "src/tracker/cluster/",
    "src/storage/commit.rs",
    "src/storage/copies.rs",
    "src/storage/health.rs",
    "src/storage/tomb.rs",
    "src/storage/binlog/group.rs",
    "src/storage/sync/plan.rs",
    "src/storage/sync/pace.rs",
    "src/storage/scrub/plan.rs",
    "src/storage/trunk/space.rs",
];

/// What a pure module may not name. Addresses come from `core::net`, spans from `core::time`.
const IMPURE: &str = "tokio std::fs std::net std::io std::thread std::env std::process \
    Instant::now SystemTime SystemTime::now HashMap HashSet thread_rng getrandom rand File \
    OpenOptions TcpStream TcpListener UdpSocket Mutex RwLock RefCell async log:: info! warn! \
    error! debug! trace! println! eprintln! print! dbg!";

/// Who may not name which modules of its own crate.
const APART: &[(&str, &str)] = &[
    ("src/tracker/service/", "saved peers"),
    ("src/storage/service/", "sync report"),
    ("src/storage/disk/", "service sync report binlog access_log scrub"),
    ("src/storage/sync/", "service"),
    ("src/net/client/", "serve"),
    ("src/web/db/", "cache session register login upload instant mydisk category download share"),
];

/// The use cases of the drive: one file each, which do not know one another.
const HANDLERS: &str = "register login upload instant mydisk category download share thumb admin";

/// Parsers that must be total (R14): the two lints stand in the file itself.
const TOTAL: &[&str] = &[
    "src/proto/lib.rs",
    "src/fcgi/lib.rs",
    "src/web/multipart.rs",
    "src/storage/binlog/reader.rs",
];

/// A finding: the line, and what is wrong with it.
type Finding = (usize, String);
type Rule = fn(&Source) -> Vec<Finding>;

const RULES: &[(&str, Rule)] = &[
    ("header", header),
    ("width", width),
    ("file length", file_length),
    ("function length", function_length),
    ("purity", purity),
    ("apart", apart),
    ("database", database),
    ("unsafe", unsafe_code),
    ("total parsers", total_parsers),
    ("pages", pages),
    ("unfinished", unfinished),
];

/// The file says first what it is, for whom, and what it never does.
fn header(file: &Source) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let (wanted, line) = match file.path.rsplit('.').next().unwrap_or_default() {
        "rs" => ("//!", first),
        "js" | "mjs" => ("//", first),
        "sh" => ("# ", file.text.lines().nth(1).unwrap_or_default()),
        _ => return Vec::new(),
    };
    let shebang = line.starts_with("#!") && wanted == "//";
    let line = if shebang { file.text.lines().nth(1).unwrap_or_default() } else { line };
    if line.starts_with(wanted) || line.starts_with("/*") && wanted == "//" {
        return Vec::new();
    }
    vec![(1, format!("begins without a `{wanted}` header that says what it is"))]
}

fn width(file: &Source) -> Vec<Finding> {
    if !is_code(&file.path) {
        return Vec::new(); // pages hold the paths of icons, style sheets long selectors
    }
    let wide = file.text.lines().enumerate().filter(|(_, l)| l.chars().count() > COLUMNS_MAX);
    wide.map(|(i, l)| (i + 1, format!("{} columns", l.chars().count()))).collect()
}

fn file_length(file: &Source) -> Vec<Finding> {
    let count = file.live().count();
    let max = if file.path.starts_with("src/bin/") { PROGRAM_LINES_MAX } else { FILE_LINES_MAX };
    // Tests are data: a table of a thousand cases is easier to proofread than ten files.
    let budgeted = !file.path.starts_with("tests/") && is_code(&file.path);
    if !budgeted || count <= max {
        return Vec::new();
    }
    vec![(count, format!("{count} lines without tests, {max} are allowed"))]
}

fn function_length(file: &Source) -> Vec<Finding> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let long = file.functions().into_iter().filter(|(_, _, len)| *len > FUNCTION_LINES_MAX);
    long.map(|(name, line, len)| (line, format!("`{name}` takes {len} lines"))).collect()
}

fn purity(file: &Source) -> Vec<Finding> {
    if !file.path.ends_with(".rs") || !PURE.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    named(file, IMPURE, "is not pure: it names")
}

/// Neighbours inside a crate that must not know each other.
fn apart(file: &Source) -> Vec<Finding> {
    let mut banned: BTreeSet<&str> = BTreeSet::new();
    for (place, words) in APART {
        if file.path.starts_with(place)
            || file.path == format!("{}.rs", place.trim_end_matches('/'))
        {
            banned.extend(words.split_whitespace());
        }
    }
    let own = HANDLERS.split(' ').find(|name| is_handler(&file.path, name));
    if let Some(own) = own {
        banned.extend(HANDLERS.split(' ').filter(|name| *name != own));
    }
    let paths = file.own_paths().into_iter().filter(|(_, path)| {
        let first = path.split("::").find(|part| !matches!(*part, "crate" | "super"));
        first.is_some_and(|first| banned.contains(first.trim()))
    });
    paths.map(|(line, path)| (line, format!("may not know `{path}`"))).collect()
}

/// SQL stands beside its row in `web::db`; Redis is spoken in `web::cache` and nowhere else.
fn database(file: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if !file.path.starts_with("src/web/") || !file.path.ends_with(".rs") {
        return found;
    }
    if !file.path.starts_with("src/web/db") {
        found.extend(named(file, "mysql_async", "is outside `web::db` and names"));
    }
    if HANDLERS.split(' ').any(|name| is_handler(&file.path, name)) {
        found.extend(named(file, "redis::", "is a handler and names"));
        for (number, line) in file.live() {
            let text = file.text.lines().nth(number - 1).unwrap_or(line);
            let sql = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE FROM "];
            if sql.iter().any(|verb| text.contains(verb)) {
                found.push((number, "is a handler and holds SQL".to_owned()));
            }
        }
    }
    found
}

/// `unsafe` stands at the border with nginx and where the simulation stands in for the kernel's
/// chance, and each use under its own reason.
fn unsafe_code(file: &Source) -> Vec<Finding> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let border = file.path.strip_prefix("nginx/module/ffi");
    let border = border.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
    if !border && file.path != "tests/sim/entropy.rs" {
        return named(file, "unsafe", "is not nginx/module/ffi and names");
    }
    let text: Vec<&str> = file.text.lines().collect();
    let uses: Vec<usize> =
        file.live().filter(|(_, line)| has_word(line, "unsafe")).map(|(n, _)| n).collect();
    let reasons = text.iter().filter(|line| line.contains("SAFETY:")).count();
    let mut found: Vec<Finding> = Vec::new();
    for number in &uses {
        let above = text[..number - 1].iter().rev().take_while(|line| {
            let line = line.trim_start();
            line.starts_with("//") || line.starts_with("#[")
        });
        if !above.into_iter().any(|line| line.contains("SAFETY:")) {
            found.push((*number, "`unsafe` without a `SAFETY:` sentence above it".to_owned()));
        }
    }
    if reasons != uses.len() {
        let counts = format!("{} uses of `unsafe`, {reasons} reasons", uses.len());
        found.push((1, counts));
    }
    found
}

fn total_parsers(file: &Source) -> Vec<Finding> {
    let lints = ["clippy::indexing_slicing", "clippy::arithmetic_side_effects"];
    let missing = lints.iter().filter(|lint| !file.text.contains(**lint));
    if !TOTAL.contains(&file.path.as_str()) {
        return Vec::new();
    }
    missing.map(|lint| (1, format!("reads foreign bytes without denying {lint}"))).collect()
}

/// One file talks to the server; text enters the page as text; no script stands in a page.
fn pages(file: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if !file.path.starts_with("www/") {
        return found;
    }
    for (index, line) in file.text.lines().enumerate() {
        let code = line.split("// ").next().unwrap_or_default();
        let mut ban = |words: &str, why: &str| {
            for word in words.split(' ').filter(|word| has_word(code, word)) {
                found.push((index + 1, format!("`{word}`: {why}")));
            }
        };
        if !line.trim_start().starts_with(['*', '/']) {
            ban("innerHTML outerHTML insertAdjacentHTML document.write eval", "text is text");
            if file.path != "www/js/api.js" {
                ban("fetch( XMLHttpRequest EventSource sendBeacon WebSocket", "ask api.js");
            }
            if file.path.ends_with(".html") {
                ban("<script> onclick= onload= onsubmit= style= javascript:", "not in a page");
            }
        }
    }
    found
}

fn unfinished(file: &Source) -> Vec<Finding> {
    let words = concat!("TO", "DO FIX", "ME X", "XX");
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in words.split(' ').filter(|word| has_word(line, word)) {
            found.push((index + 1, format!("{word}: do it or leave it out")));
        }
    }
    found
}

fn is_code(path: &str) -> bool {
    [".rs", ".js", ".mjs", ".sh"].iter().any(|ending| path.ends_with(ending))
}

fn is_handler(path: &str, name: &str) -> bool {
    path == format!("src/web/{name}.rs") || path.starts_with(&format!("src/web/{name}/"))
}

fn named(file: &Source, words: &str, what: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in file.live() {
        for word in words.split_whitespace().filter(|word| has_word(line, word)) {
            found.push((number, format!("{what} `{word}`")));
        }
    }
    found
}

/// The names under `[dependencies]` and `[build-dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            let dev = section.contains("dev-") || section.starts_with("workspace");
            inside = !dev && section.ends_with("dependencies");
            let single = section.split_once("dependencies.").filter(|_| !dev);
            names.extend(single.map(|(_, name)| name.to_owned()));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}

/// Types that implement a port outside tests: the adapters that only programs may name.
fn adapters(sources: &[Source]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in sources.iter().filter(|file| file.path.ends_with(".rs")) {
        for (_, line) in file.live() {
            for port in ["Clock", "Random", "Disk", "Net"] {
                let Some((_, name)) = line.split_once(&format!("{port} for ")) else { continue };
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                let wrapper = matches!(name, "Arc" | "Box" | "Rc");
                if line.trim_start().starts_with("impl") && name.len() > 1 && !wrapper {
                    found.insert((name.to_owned(), file.path.clone()));
                }
            }
        }
    }
    found
}

/// Where an adapter is named although it is neither its own file, a program nor a test.
fn misplaced_adapters(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, home) in adapters(sources) {
        for file in sources.iter().filter(|f| f.path.starts_with("src/") && f.path != home) {
            let program = file.path.ends_with("/program.rs") || file.path.starts_with("src/bin/");
            for (number, line) in file.live().filter(|_| !program) {
                let exported = line.trim_start().starts_with("pub use");
                if has_word(line, &name) && !exported {
                    found.push(format!("{}:{number}: names the adapter {name}", file.path));
                }
            }
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours that a person wrote.
fn sources() -> Vec<Source> {
    let endings = [".rs", ".js", ".mjs", ".sh", ".html", ".css"];
    let places = ["src", "nginx", "www", "tests", "conf", ".ci"];
    let paths: Vec<PathBuf> =
        places.iter().flat_map(|place| files(&root(), place, &endings)).collect();
    // Libraries of others, byte for byte as published; a browser test compares them.
    let paths = paths.into_iter().filter(|path| !path.starts_with("www/vendor"));
    let mut sources: Vec<Source> = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(root().join(&path)).expect("sources are UTF-8");
        sources.push(Source::new(&path.to_string_lossy(), &text));
    }
    mark_test_modules(&mut sources);
    sources
}

/// A file that its parent declares under `#[cfg(test)]` is test code as a whole.
fn mark_test_modules(sources: &mut [Source]) {
    let mut tests: BTreeSet<String> = BTreeSet::new();
    for file in sources.iter() {
        let path = Path::new(&file.path);
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let below = if matches!(&*stem, "lib" | "mod" | "main") { dir } else { dir.join(stem) };
        for name in file.test_modules() {
            tests.insert(below.join(format!("{name}.rs")).to_string_lossy().into_owned());
        }
    }
    for file in sources.iter_mut().filter(|file| tests.contains(&file.path)) {
        file.is_test.fill(true);
    }
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let sources = sources();
    assert!(sources.len() > 5, "the sources were not found");
    let mut found = Vec::new();
    for file in &sources {
        for (rule, check) in RULES {
            let lines = check(file).into_iter();
            found.extend(lines.map(|(n, what)| format!("{}:{n}: {rule}: {what}", file.path)));
        }
    }
    found.extend(misplaced_adapters(&sources));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn crates_depend_only_on_what_the_map_allows() {
    for (dir, allowed) in MAY_USE {
        let manifest = root().join(dir).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("each crate has a manifest");
        for name in dependencies(&manifest) {
            let known = allowed.split_whitespace().any(|other| other == name);
            assert!(known, "{dir} may not depend on {name}");
        }
    }
}

/// The rules that `text` breaks when it stands at `path`.
fn broken(path: &str, text: &str) -> BTreeSet<&'static str> {
    let file = Source::new(path, text);
    RULES.iter().filter(|(_, check)| !check(&file).is_empty()).map(|(rule, _)| *rule).collect()
}

#[test]
fn each_rule_catches_its_violation_and_leaves_its_neighbour() {
    let long_file = format!("//! H.\n{}", "const A: u8 = 1;\n".repeat(500));
    let at_limit = format!("//! H.\n{}", "const A: u8 = 1;\n".repeat(499));
    let with_tests = format!("{at_limit}#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(90));
    let long_fn = format!("//! H.\nfn f(a: [u8; 2]) {{\n{}}}\n", "    g();\n".repeat(69));
    let fn_at_limit = format!("//! H.\nfn f(a: [u8; 2]) {{\n{}}}\n", "    g();\n".repeat(68));
    let wide = format!("//! {}\n", "x".repeat(97));
    let page_wide = format!("//! {}\n", "x".repeat(96));
    let unfinished = format!("//! H.\n// {}: later\n", concat!("TO", "DO"));
    let guarded = "//! H.\n// SAFETY: nginx.\nunsafe { f() }\n";
    let cases: &[(&str, &str, &str)] = &[
        ("src/net/a.rs", "use std::fs;\n", "header"),
        ("www/js/a.js", "let a = 1;\n", "header"),
        ("www/js/a.js", "// a.js: a.\nlet a = 1;\n", ""),
        ("conf/a.sh", "#!/bin/sh\nset -e\n", "header"),
        ("conf/a.sh", "#!/bin/sh\n# Starts it.\n", ""),
        ("src/net/a.rs", &wide, "width"),
        ("src/net/a.rs", &page_wide, ""),
        ("src/net/a.rs", &long_file, "file length"),
        ("src/net/a.rs", &at_limit, ""),
        ("src/net/a.rs", &with_tests, ""),
        ("src/bin/a.rs", &format!("//! H.\n{}", "\n".repeat(12)), "file length"),
        ("src/net/a.rs", &long_fn, "function length"),
        ("src/net/a.rs", &fn_at_limit, ""),
        ("src/proto/a.rs", "//! H.\nuse std::fs::File;\n", "purity"),
        ("src/proto/a.rs", "//! H. Not tokio.\nconst A: &str = \"tokio\";\n", ""),
        ("src/storage/commit.rs", "//! H.\nfn f() { let n = Instant::now(); }\n", "purity"),
        ("src/storage/commit.rs", "//! H.\nuse alloc::collections::HashMap;\n", "purity"),
        ("src/tracker/cluster/mod.rs", "//! H.\nfn f() { info!(\"x\"); }\n", "purity"),
        ("src/tracker/cluster/mod.rs", "//! H.\n#[cfg(test)]\nuse std::fs;\n", ""),
        ("src/tracker/saved.rs", "//! H.\nuse std::fs;\n", ""),
        ("src/tracker/service/a.rs", "//! H.\nuse crate::{cluster, saved::S};\n", "apart"),
        ("src/tracker/service/a.rs", "//! H.\nuse crate::{cluster, config::S};\n", ""),
        ("src/storage/disk/a.rs", "//! H.\nfn f() { crate::service::g() }\n", "apart"),
        ("src/web/login.rs", "//! H.\nuse crate::\n    upload::U;\n", "apart"),
        ("src/web/login.rs", "//! H.\nuse crate::session::U;\n", ""),
        ("src/web/db/user.rs", "//! H.\nuse crate::cache::C;\n", "apart"),
        ("src/web/login.rs", "//! H.\nconst A: &str = \"SELECT 1\";\n", "database"),
        ("src/web/files.rs", "//! H.\nuse mysql_async::Pool;\n", "database"),
        ("src/web/db/user.rs", "//! H.\nuse mysql_async::Pool;\n", ""),
        ("src/net/a.rs", guarded, "unsafe"),
        ("nginx/module/conf.rs", guarded, "unsafe"),
        ("tests/sim/run.rs", guarded, "unsafe"),
        ("tests/sim/entropy.rs", "//! H.\nunsafe { f() }\n", "unsafe"),
        ("nginx/module/ffi.rs", guarded, ""),
        ("nginx/module/ffi.rs", "//! H.\nunsafe { f() }\n", "unsafe"),
        ("nginx/module/ffi.rs", "//! H.\n// SAFETY: x.\nfn f() {}\n", "unsafe"),
        ("src/fcgi/lib.rs", "//! H.\n#![no_std]\n", "total parsers"),
        (
            "src/fcgi/lib.rs",
            "//! H.\n#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]\n",
            "",
        ),
        ("www/js/a.js", "// a.\nconst r = await fetch(\"/x\");\n", "pages"),
        ("www/js/api.js", "// a.\nconst r = await fetch(\"/x\");\n", ""),
        ("www/js/a.js", "// a.\nprefetch(\"/x\");\n", ""),
        ("www/js/api.js", "// a.\nrow.innerHTML = name;\n", "pages"),
        ("www/a.html", "<script>let a = 1;</script>\n", "pages"),
        ("www/a.html", "<script type=\"module\" src=\"js/a.js\"></script>\n", ""),
        ("src/net/a.rs", &unfinished, "unfinished"),
    ];
    for (path, text, rule) in cases {
        let wanted: BTreeSet<&str> = [*rule].into_iter().filter(|r| !r.is_empty()).collect();
        assert_eq!(broken(path, text), wanted, "{path}:\n{text:.200}");
    }
    let tried: BTreeSet<&str> = cases.iter().map(|(_, _, rule)| *rule).collect();
    for (rule, _) in RULES {
        assert!(tried.contains(rule), "no violation of `{rule}` is tried");
    }
}

#[test]
fn dependencies_are_read_from_every_kind_of_table() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true # why\n\
        c = { version = \"1\" }\n[dev-dependencies]\nd = \"1\"\n[build-dependencies]\ne = \"1\"\n\
        [target.'cfg(unix)'.dependencies]\nf = \"1\"\n[dependencies.g]\nversion = \"1\"\n";
    assert_eq!(dependencies(manifest), ["b", "c", "e", "f", "g"]);
}

#[test]
fn an_adapter_is_named_only_by_programs() {
    let home = Source::new("src/net/ports.rs", "//! H.\nimpl Clock for SystemClock {}\n");
    let program = Source::new("src/storage/program.rs", "//! H.\nlet c = SystemClock;\n");
    let test = "//! H.\n#[cfg(test)]\nmod tests {\n    use SystemClock;\n}\n";
    let test = Source::new("src/storage/disk/mod.rs", test);
    let wrong = Source::new("src/storage/report.rs", "//! H.\nlet c = SystemClock;\n");
    assert!(misplaced_adapters(&[home, program, test]).is_empty());
    let home = Source::new("src/net/ports.rs", "//! H.\nimpl Clock for SystemClock {}\n");
    let found = misplaced_adapters(&[home, wrong]);
    assert_eq!(found, ["src/storage/report.rs:2: names the adapter SystemClock"]);
}
