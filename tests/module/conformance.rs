//! The conformance list of http.md 17, line by line, on two machines with the configuration that
//! a C module has: `mod_fastdfs.conf`, `http.conf`, `storage_ids.conf`.
//!
//! Where we do better than the list says, the line names the section that asks for it.

use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::nodes::Net;
use crate::server::{Scratch, Server, configuration, nginx};
use crate::store::{
    CHANGED_TEXT, appender, content, in_second_path, made_by, normal, place, put, slave, slot,
    summed, url,
};

/// Two machines, N1 with the files and N2 without.
struct Pair {
    net: Net,
    n1: Server,
    n2: Server,
}

/// What stands in both machines' `mod_fastdfs.conf`, `more` last.
fn old_configuration(dir: &Scratch, more: &str) -> String {
    format!(
        "# as an installation has it\nconnect_timeout=2\nnetwork_timeout=30\nbase_path=/tmp\n\
         load_fdfs_parameters_from_tracker=true\ntracker_server=127.0.0.1:22122\n\
         storage_server_port=23000\ngroup_name=group1\nurl_have_group_name=true\n\
         store_path_count=2\nstore_path0={0}/store0\nstore_path1={0}/store1\n\
         store_path0_readonly = false\nlog_level=info\nlog_filename=\nif_alias_prefix=\n\
         flv_support=true\nflv_extension=flv\ngroup_count=0\n{more}\n#include http.conf\n",
        dir.0.display()
    )
}

/// One machine; `http_conf` and `more` are lines of its old configuration.
fn machine(net: &Net, own: usize, more: &str, http_conf: &str) -> Server {
    let dir = Scratch::new();
    dir.write("mod_fastdfs.conf", old_configuration(&dir, more).as_bytes());
    let head = "http.default_content_type = application/octet-stream\n\
                http.mime_types_filename = mime.types\n";
    dir.write("http.conf", format!("{head}{http_conf}").as_bytes());
    let members: String = (0..net.ips.len())
        .map(|n| {
            let own = if n == own { "self" } else { "" };
            format!("fastdfs_member {} group=group1 {own};\n", net.ips[n])
        })
        .collect();
    // All of them are this machine here, so it has to be said which one is meant.
    let more = format!("fastdfs_conf DIR/mod_fastdfs.conf;\n{members}");
    net.start(dir, own, &more)
}

impl Pair {
    fn new(more: &str, http_conf: &str) -> Self {
        let net = Net::new(2);
        let n1 = machine(&net, 0, more, http_conf);
        let n2 = machine(&net, 1, more, http_conf);
        Self { net, n1, n2 }
    }
}

fn now() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "files of the tests are young")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u32::try_from(now.as_secs()).expect("before 2106")
}

#[test]
fn line_1_group_in_the_address() {
    let net = Net::new(1);
    let f = summed(&content(1024), "jpg");
    for (with_group, target, status) in [
        ("true", url(&f), 200),
        ("true", format!("/{f}"), 400),
        ("false", format!("/{f}"), 200),
        ("false", url(&f), 400),
    ] {
        let server = machine(&net, 0, &format!("url_have_group_name={with_group}"), "");
        put(&server.dir, &f, &content(1024));
        assert_eq!(server.get(&target, &[]).status, status, "{with_group} {target}");
    }
}

#[test]
fn lines_2_to_6_and_13() {
    let pair = Pair::new("", "");
    let (server, bytes) = (&pair.n1, content(1024));
    let f = summed(&bytes, "jpg");
    put(&server.dir, &f, &bytes);
    let whole = server.get(&url(&f), &[]);
    assert!(whole.status == 200 && whole.body == bytes);
    // 2: store path, directory, extension.
    for (from, to, status) in
        [("M00", "M05", 400), ("/00/00/", "/0a/00/", 400), (".jpg", "", 400), (".jpg", ".png", 404)]
    {
        assert_eq!(server.get(&url(&f).replacen(from, to, 1), &[]).status, status, "{to}");
    }
    // 3: methods.
    assert_eq!(server.ask("POST", &url(&f), &["Content-Length: 0"]).status, 405);
    let head = server.ask("HEAD", &url(&f), &[]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("1024")));
    // 4: dates; on the machine without the file it is the other one's answer.
    let (s, p) = (slave(&f, "_big", "jpg"), appender("txt"));
    put(&server.dir, &s, &bytes);
    put(&server.dir, &p, &bytes);
    for (name, date) in
        [(&f, "Sun, 22 Nov 2026 21:55:52 GMT"), (&s, CHANGED_TEXT), (&p, CHANGED_TEXT)]
    {
        assert_eq!(server.get(&url(name), &[]).header("Last-Modified"), Some(date), "{name}");
    }
    // 5: not modified.
    let same = server.get(&url(&f), &["If-Modified-Since: Sun, 22 Nov 2026 21:55:52 GMT"]);
    assert_eq!(same.status, 304);
    // 6: ranges.
    for (range, status) in [
        ("0-9", 206),
        ("1000-", 206),
        ("-24", 206),
        ("0-9,20-29", 206),
        ("2000-", 416),
        ("0-0", 206), // 9: one byte, where the C module sends everything
    ] {
        let answer = server.get(&url(&f), &[&format!("Range: bytes={range}")]);
        assert_eq!(answer.status, status, "{range}");
        let parts = answer.header("Content-Type").is_some_and(|kind| kind.starts_with("multipart"));
        assert_eq!(parts, range.contains(','), "{range}");
    }
    // 13: nothing.
    let empty = summed(b"", "txt");
    put(&server.dir, &empty, b"");
    let nothing = server.get(&url(&empty), &[]);
    assert_eq!((nothing.status, nothing.header("Content-Length")), (200, Some("0")));
    assert_eq!(server.get(&url(&empty), &["Range: bytes=0-0"]).status, 416);
}

#[test]
fn line_7_the_other_machine_is_asked() {
    let Pair { net, n1, n2 } = Pair::new("response_mode=proxy", "");
    let bytes = content(100_000);
    let f = made_by(net.ips[0].octets(), now(), &bytes, "jpg");
    put(&n1.dir, &f, &bytes);
    let (here, there) = (n1.get(&url(&f), &[]), n2.get(&url(&f), &[]));
    assert!(there.status == 200 && there.body == bytes, "{there:?}");
    for header in ["ETag", "Last-Modified", "Content-Type", "Cache-Control"] {
        assert_eq!(there.header(header), here.header(header), "{header}");
    }
    assert_eq!(n2.get(&format!("{}?redirect=1", url(&f)), &[]).status, 400);
    assert_eq!(n1.get(&format!("{}?redirect=1", url(&f)), &[]).status, 200, "it is here");
    n1.kill();
    assert_eq!(n2.get(&url(&f), &[]).status, 502, "nobody else has it");
}

#[test]
fn line_8_the_client_is_sent_there() {
    let Pair { net, n1, n2 } = Pair::new("response_mode=redirect", "");
    let f = made_by(net.ips[0].octets(), now(), &content(10), "jpg");
    put(&n1.dir, &f, &content(10));
    let at = format!("http://{}:{}{}", net.ips[0], net.port, url(&f));
    for (query, ending) in [("", "?redirect=1"), ("?filename=a", "?filename=a&redirect=1")] {
        let answer = n2.get(&format!("{}{query}", url(&f)), &["Range: bytes=0-1"]);
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("Location"), Some(&*format!("{at}{ending}")));
        // 16.4: with a length, and nothing of the request in it.
        assert_eq!(answer.header("Range"), None);
    }
    // 16.2: a long address is sent back whole.
    let long = format!("{}?x={}", url(&f), "y".repeat(6000));
    let answer = n2.get(&long, &[]);
    let location = answer.header("Location").expect("it is a redirect");
    assert!(location.ends_with(&format!("{}&redirect=1", "y".repeat(6000))));
}

#[test]
fn line_9_absence() {
    let Pair { net, n1, n2 } = Pair::new("storage_sync_file_max_delay=86400", "");
    let (young, old) = (now(), now() - 86_500);
    for created in [young, old] {
        let gone = made_by(net.ips[0].octets(), created, &content(20), "jpg");
        assert_eq!(n2.get(&url(&gone), &[]).status, 404, "everybody was asked");
        // 8.6: a file that is there is sent, whatever its age.
        put(&n1.dir, &gone, &content(20));
        assert_eq!(n2.get(&url(&gone), &[]).status, 200);
        std::fs::remove_file(n1.dir.path(&place(&gone))).expect("it is there");
        let own = made_by(net.ips[1].octets(), created, &content(30), "jpg");
        let sent_here = format!("{}?redirect=1", url(&own));
        assert_eq!(n2.get(&sent_here, &[]).status, 404, "the source itself says it");
    }
}

#[test]
fn line_10_tokens() {
    let secret = "http.anti_steal.check_token = true\nhttp.anti_steal.token_ttl = 900\n\
                  http.anti_steal.secret_key = FastDFS1234567890\n";
    let bypass = "anti_steal_bypass_header_name = X-Internal\n\
                  anti_steal_bypass_header_value = Yes";
    let net = Net::new(1);
    let server = machine(&net, 0, bypass, secret);
    let f = normal(1024, "jpg");
    put(&server.dir, &f, &content(1024));
    let good = "?token=0257fd34e9550a58333b6063cc62fe46&ts=0";
    for (query, header, status) in [
        (good, "", 200),
        ("?ts=0&token=0257fd34e9550a58333b6063cc62fe46", "Range: bytes=0-1", 206),
        ("?token=0257fd34e9550a58333b6063cc62fe46&ts=1", "", 400),
        ("?token=2d4c13f7ddc9f3885244832510b9c7e4&ts=1700000000", "", 400),
        ("?token=cc11a0cf22e0613f197bb43525479102&ts=1700000000", "", 400), // expired
        ("?token=0257fd34e9550a58333b6063cc62fe46", "", 400),
        ("", "", 400),
        ("", "x-internal: Yes", 200),
        ("", "X-Internal: yes", 400),
        ("", "X-Internal:", 400),
    ] {
        let headers: Vec<&str> = [header].into_iter().filter(|line| !line.is_empty()).collect();
        let answer = server.get(&format!("{}{query}", url(&f)), &headers);
        assert_eq!(answer.status, status, "{query} {header}");
    }
    // A file instead, with status 200; a token that is missing stays 400.
    let dir = Scratch::new();
    dir.write("sorry.txt", b"no");
    let fail = format!("http.anti_steal.token_check_fail={}/sorry.txt\n", dir.0.display());
    let server = machine(&Net::new(1), 0, "", &format!("{secret}{fail}"));
    put(&server.dir, &f, &content(1024));
    let wrong = format!("{}?token=0257fd34e9550a58333b6063cc62fe47&ts=0", url(&f));
    let sorry = server.get(&wrong, &["Range: bytes=0-0"]);
    assert_eq!((sorry.status, sorry.body.as_slice()), (200, &b"no"[..]));
    assert_eq!(sorry.header("Last-Modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(sorry.header("Content-Type"), Some("text/plain"));
    assert_eq!(server.get(&url(&f), &[]).status, 400);
}

#[test]
fn line_11_no_header_comes_in_through_a_name() {
    let pair = Pair::new("", "");
    let f = summed(&content(10), "jpg");
    put(&pair.n1.dir, &f, &content(10));
    for server in [&pair.n1, &pair.n2] {
        let answer = server.get(&format!("{}?filename=a%0d%0aX:1", url(&f)), &[]);
        assert_eq!((answer.status, answer.header("X")), (200, None));
        let name = "attachment; filename=\"aX:1\"; filename*=UTF-8''aX%3A1";
        assert_eq!(answer.header("Content-Disposition"), Some(name));
    }
}

#[test]
fn line_12_slots() {
    let pair = Pair::new("", "");
    let server = &pair.n1;
    let bytes = content(2000);
    let (t, stored) = slot(&bytes, "jpg", 4096, b'F');
    let container = "store0/data/00/00/000001";
    server.dir.write(container, &vec![0; 65_536]);
    let write = |at: u64, bytes: &[u8]| {
        use std::os::unix::fs::FileExt as _;
        let file = File::options().write(true).open(server.dir.path(container));
        file.expect("it was made").write_all_at(bytes, at).expect("the disk has room");
    };
    assert_eq!(server.get(&url(&t), &[]).status, 404, "a free slot");
    write(4096, &stored);
    let whole = server.get(&url(&t), &[]);
    assert!(whole.status == 200 && whole.body == bytes);
    assert_eq!(whole.header("Last-Modified"), Some("Sun, 22 Nov 2026 21:55:52 GMT"));
    let part = server.get(&url(&t), &["Range: bytes=100-199"]);
    assert!(part.status == 206 && part.body == bytes[100..200]);
    let parts = server.get(&url(&t), &["Range: bytes=0-0,1999-1999"]);
    assert!(
        parts.status == 206 && parts.body.windows(24).any(|w| w == b"Content-Range: bytes 0-0")
    );
    assert_eq!(pair.n2.get(&url(&t), &[]).body, bytes, "through the other machine");
    // A link, which is followed once.
    let (link, there) = slot(t.as_str().as_bytes(), "jpg", 8192, b'L');
    write(8192, &there);
    assert_eq!(server.get(&url(&link), &[]).body, bytes);
    // Deleted: overwritten with zeros. Used again: another file's header.
    write(4096, &vec![0; stored.len()]);
    assert_eq!(server.get(&url(&t), &[]).status, 404);
    let (other, stored) = slot(&content(1500), "jpg", 4096, b'F');
    write(4096, &stored);
    assert_eq!(server.get(&url(&t), &[]).status, 404);
    assert_eq!(server.get(&url(&other), &[]).body, content(1500));
}

#[test]
fn line_14_a_stranger_is_never_asked() {
    let net = Net::new(3);
    let stranger = machine(&net, 2, "", "");
    let bytes = content(10);
    let forged = made_by(net.ips[2].octets(), now(), &bytes, "jpg");
    put(&stranger.dir, &forged, &bytes);
    // Only the first two are members of anything.
    let two = Net { port: net.port, ips: net.ips[..2].to_vec() };
    let server = machine(&two, 1, "", "");
    for (target, mode) in [
        (url(&forged), "a group of ours"),
        (url(&forged).replacen("group1", "group9", 1), "a group of nobody"),
    ] {
        assert_eq!(stranger.get(&url(&forged), &[]).status, 200);
        let answer = server.get(&target, &[]);
        assert!([404, 502].contains(&answer.status), "{mode}: {}", answer.status);
        assert!(answer.body != bytes, "{mode}");
        assert!(!server.error_log().contains(&net.ips[2].to_string()), "{mode}");
    }
    assert_eq!(server.get(&url(&forged).replacen("group1", "group9", 1), &[]).status, 404);
}

#[test]
fn line_15_films() {
    let pair = Pair::new("", "");
    let (server, bytes) = (&pair.n1, content(5000));
    let f = summed(&bytes, "flv");
    put(&server.dir, &f, &bytes);
    let head = b"FLV\x01\x01\0\0\0\x09\0\0\0\x09";
    for (query, expected) in [
        ("?start=100", Some([head, &bytes[100..]].concat())),
        ("?start=100&end=200", Some([head, &bytes[100..200]].concat())),
        ("?start=0", Some(bytes.clone())),
        ("?start=-10", Some(bytes[4990..].to_vec())),
        ("?start=5000", None),
        ("?start=x", Some(bytes.clone())),
    ] {
        let answer = server.get(&format!("{}{query}", url(&f)), &[]);
        assert_eq!(answer.status, if expected.is_some() { 200 } else { 400 }, "{query}");
        assert!(expected.is_none_or(|expected| answer.body == expected), "{query}: other bytes");
        assert_eq!(answer.header("Content-Range"), None, "{query}");
    }
    let part = server.get(&format!("{}?start=100", url(&f)), &["Range: bytes=0-9"]);
    assert!(part.status == 206 && part.body == bytes[..10], "a range goes before `start`");
}

#[test]
fn several_groups_of_one_machine() {
    let dir = Scratch::new();
    let (f, g) = (summed(&content(1024), "jpg"), in_second_path(512, "txt"));
    std::fs::create_dir_all(dir.path("other/data/0A/FF")).expect("the directory is ours");
    put(&dir, &f, &content(1024));
    dir.write(&format!("other/data/{}", g.true_name()), &content(512));
    dir.write(
        "mod_fastdfs.conf",
        format!(
            "url_have_group_name=true\nstore_path_count=1\ngroup_count=2\n[group1]\n\
             group_name=group1\nstore_path_count=1\nstore_path0={0}/store0\n[group2]\n\
             group_name=second\nstore_path_count=2\nstore_path0={0}/store1\n\
             store_path1={0}/other\n",
            dir.0.display()
        )
        .as_bytes(),
    );
    let http = "server { listen unix:DIR/socket; fastdfs_conf DIR/mod_fastdfs.conf;
                location ~ /(group1|second)/M0[0-9] { ngx_fastdfs_module; } }";
    let server = Server::start(dir, http);
    for (target, status) in [
        (url(&f), 200),
        (format!("/second/{g}"), 200),
        (format!("/second/{f}"), 404),
        (format!("/group1/{g}"), 400), // it has one store path
    ] {
        assert_eq!(server.get(&target, &[]).status, status, "{target}");
    }
}

#[test]
fn an_old_configuration_is_checked_before_the_start() {
    let refused = |text: &str, more: &[(&str, &str)]| {
        let dir = Scratch::new();
        dir.write("mod_fastdfs.conf", text.replace("DIR", &dir.0.display().to_string()).as_bytes());
        for (name, text) in more {
            dir.write(name, text.as_bytes());
        }
        let http = "server { listen unix:DIR/s; fastdfs_conf DIR/mod_fastdfs.conf;
                    location /x { ngx_fastdfs_module; } }";
        dir.write("nginx.conf", configuration(&dir, http).as_bytes());
        let output = nginx(&dir, &["-t"]);
        let said =
            String::from_utf8_lossy(&output.stderr).replace(&dir.0.display().to_string(), "DIR");
        (output.status.success(), said)
    };
    let base = "group_name=group1\nstore_path0=DIR/store0\n";
    let (good, said) = refused(base, &[]);
    assert!(good, "{said}");
    for (text, more, why) in [
        ("store_path0=DIR/store0\n", &[][..], "group_name is missing"),
        ("group_name=group1\n", &[], "store_pathN is missing"),
        ("group_name=g-1\nstore_path0=DIR/store0\n", &[], "must be 1 to 16 letters and digits"),
        (
            "group_name=group1\nstore_path0=DIR/nowhere\n",
            &[],
            "store_path0 = DIR/nowhere: No such file or directory",
        ),
        (&format!("{base}store_path_count=2\n"), &[], "store_pathN is missing"),
        (&format!("{base}#include http.conf\n"), &[], "\"DIR/http.conf\": No such file"),
        (
            &format!("{base}#include http.conf\n"),
            &[("http.conf", "http.anti_steal.check_token=true\n")],
            "http.anti_steal.secret_key is missing",
        ),
        (
            &format!("{base}anti_steal_bypass_header_name=X\n"),
            &[],
            "anti_steal_bypass_header_value is missing",
        ),
        (
            &format!("{base}use_storage_id=true\nstorage_ids_filename=ids.conf\n"),
            &[("ids.conf", "100001 group1 10.0.0.1\n100002 group1 host\n")],
            "\"DIR/ids.conf\" line 2: needs an id, a group and an address",
        ),
        (&format!("{base}#include mod_fastdfs.conf\n"), &[], "includes too many files"),
        (
            "group_count=1\n[group1]\ngroup_name=group1\nstore_path0=DIR/store0\n",
            &[],
            "url_have_group_name must be true",
        ),
    ] {
        let (good, said) = refused(text, more);
        assert!(!good && said.contains(why), "{text}\n{said}");
    }
}
