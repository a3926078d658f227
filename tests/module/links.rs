//! Signed links: what the strong form permits, what else is refused and how, and what a link
//! makes of the answer's headers.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::token::{Key, Link, md5_token};

use crate::server::{Answer, Scratch, Server};
use crate::store::{appender, content, put, slave, summed, url};

const HTTP: &str = "
    types { image/jpeg jpg; text/html html; }
    default_type application/octet-stream;
    fastdfs_group group1;
    fastdfs_store_path DIR/store0;
    fastdfs_link_key new 'sixteen bytes of new';
    fastdfs_link_key old file:DIR/old.key;
    server {
        listen unix:DIR/socket;
        server_name a;
        set_real_ip_from unix:;
        real_ip_header X-Client;
        location / { ngx_fastdfs_module; }
    }
    server {
        listen unix:DIR/socket;
        server_name bare;
        fastdfs_url_have_group_name off;
        location / { ngx_fastdfs_module; }
    }
    server {
        listen unix:DIR/socket;
        server_name both;
        fastdfs_md5_secret FastDFS1234567890 ttl=900;
        fastdfs_token_bypass X-Internal 'let me in';
        location / { ngx_fastdfs_module; }
        location ^~ /group1/M00/00/00/open { ngx_fastdfs_module; fastdfs_token off; }
    }
    server {
        listen unix:DIR/socket;
        server_name gone;
        fastdfs_token_fail 410;
        location / { ngx_fastdfs_module; }
    }
    server {
        listen unix:DIR/socket;
        server_name sorry;
        fastdfs_token_fail DIR/sorry.jpg;
        location / { ngx_fastdfs_module; }
    }
    server {
        listen unix:DIR/socket;
        server_name free;
        fastdfs_token off;
        location / { ngx_fastdfs_module; }
        location ^~ /group1/M00/00/00/C { ngx_fastdfs_module; expires 1h; }
        location ^~ /plain/ { rewrite ^/plain(/.*) $1 break; ngx_fastdfs_module; }
    }
";

struct Site {
    server: Server,
    f: proto::fileid::FileName,
}

fn key(name: &str) -> Key {
    Key::new(name, format!("sixteen bytes of {name}").as_bytes()).expect("it is long enough")
}

fn now() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "links of the tests expire by nginx's clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Site {
    fn start() -> Self {
        let (dir, f) = (Scratch::new(), summed(&content(1024), "jpg"));
        dir.write("old.key", b"sixteen bytes of old\n");
        dir.write("sorry.jpg", b"sorry");
        put(&dir, &f, &content(1024));
        Self { server: Server::start(dir, HTTP), f }
    }

    fn ask(&self, host: &str, link: &Link<'_>, by: &str, headers: &[&str]) -> Answer {
        let query = link.sign(&key(by), &format!("group1/{}", self.f));
        let path = if host == "bare" { format!("/{}", self.f) } else { url(&self.f) };
        self.server.ask_host(host, "GET", &format!("{path}?{query}"), headers)
    }
}

#[test]
fn a_strong_link_opens_its_file_and_no_other() {
    let site = Site::start();
    let (server, f) = (&site.server, &site.f);
    let link = Link::until(now() + 100);
    for host in ["a", "bare", "both", "gone"] {
        for by in ["new", "old"] {
            let answer = site.ask(host, &link, by, &[]);
            assert!(answer.status == 200 && answer.body == content(1024), "{host} {by}");
        }
    }
    let query = link.sign(&key("new"), &format!("group1/{f}"));
    assert_eq!(server.ask("HEAD", &format!("{}?{query}", url(f)), &[]).status, 200);
    let s = slave(f, "_x", "jpg");
    put(&server.dir, &s, &content(9));
    let stranger = Key::new("new", b"not the secret of it").expect("it is long enough");
    let unknown = Key::new("other", b"sixteen bytes of new").expect("it is long enough");
    let file = format!("group1/{f}");
    for (target, what) in [
        (url(f), "no token"),
        (format!("{}?{query}", url(&s)), "another file"),
        (format!("{}?{}", url(f), link.sign(&stranger, &file)), "another secret"),
        (format!("{}?{}", url(f), link.sign(&unknown, &file)), "another key"),
        (format!("{}?{}", url(f), Link::until(now() - 5).sign(&key("new"), &file)), "expired"),
        (format!("{}?{query}&filename=a", url(f)), "a name that nobody signed"),
        (format!("{}?{query}&inline=1", url(f)), "shown, which nobody signed"),
    ] {
        for (host, status) in [("a", 403), ("gone", 410)] {
            assert_eq!(server.ask_host(host, "GET", &target, &[]).status, status, "{what}");
        }
        let sorry = server.ask_host("sorry", "GET", &target, &[]);
        assert_eq!((sorry.status, sorry.body.as_slice()), (200, &b"sorry"[..]), "{what}");
        assert_eq!(sorry.header("Cache-Control"), Some("no-store"), "{what}");
    }
}

#[test]
fn a_link_can_be_for_one_address() {
    let site = Site::start();
    let client = "2001:db8::7".parse().ok();
    let link = Link { client, ..Link::until(now() + 100) };
    for (from, status) in
        [("2001:db8::7", 200), ("2001:db8:0::7", 200), ("2001:db8::8", 403), ("10.0.0.1", 403)]
    {
        let answer = site.ask("a", &link, "new", &[&format!("X-Client: {from}")]);
        assert_eq!(answer.status, status, "{from}");
    }
    assert_eq!(site.ask("a", &link, "new", &[]).status, 403, "no address at all");
}

#[test]
fn both_kinds_of_token_side_by_side() {
    let site = Site::start();
    let (server, f) = (&site.server, &site.f);
    let token = |ts: u64| {
        let ts = i64::try_from(ts).expect("it is small");
        let token = md5_token(f.as_str().as_bytes(), b"FastDFS1234567890", ts);
        format!("{}?token={}&ts={ts}", url(f), String::from_utf8_lossy(&token))
    };
    let ask =
        |host, target: &str, headers: &[&str]| server.ask_host(host, "GET", target, headers).status;
    assert_eq!(ask("both", &token(now()), &[]), 200);
    assert_eq!(ask("both", &token(now() - 1000), &[]), 400);
    assert_eq!(ask("a", &token(now()), &[]), 403, "only strong links there");
    assert_eq!(ask("both", &url(f), &[]), 400);
    assert_eq!(ask("both", &url(f), &["X-Internal: let me in"]), 200);
    assert_eq!(ask("both", &url(f), &["X-Internal: let me"]), 400);
    let open = url(f).replacen("/C", "/open-C", 1);
    assert_eq!(ask("both", &open, &[]), 404, "no such file, and no token needed");
    let md5 = server.ask_host("both", "GET", &token(now()), &[]);
    let kept = md5.header("Cache-Control").expect("it is a normal file").to_owned();
    let secs = kept.strip_prefix("private, max-age=").and_then(|rest| rest.split(',').next());
    let secs: u64 = secs.and_then(|secs| secs.parse().ok()).expect(&kept);
    assert!((800..=900).contains(&secs), "no longer than the token lives: {kept}");
}

#[test]
fn a_link_says_how_the_file_is_shown() {
    let site = Site::start();
    let base = || Link::until(now() + 100);
    let name = "照 \"1\"\r\nSet-Cookie: a=b.png";
    let shown = "filename=\"_ _1_Set-Cookie: a=b.png\"; \
                 filename*=UTF-8''%E7%85%A7%20%221%22Set-Cookie%3A%20a%3Db.png";
    for (link, disposition, kind) in [
        (base(), None, "image/jpeg"),
        (Link { inline: true, ..base() }, Some("inline".to_owned()), "image/jpeg"),
        (
            Link { filename: Some(name.as_bytes().into()), ..base() },
            Some(format!("attachment; {shown}")),
            "image/jpeg",
        ),
        (
            Link {
                inline: true,
                filename: Some(name.as_bytes().into()),
                media_type: Some("text/plain; charset=utf-8".into()),
                ..base()
            },
            Some(format!("inline; {shown}")),
            "text/plain; charset=utf-8",
        ),
    ] {
        for headers in [&[][..], &["Range: bytes=0-9"]] {
            let answer = site.ask("a", &link, "new", headers);
            assert_eq!(answer.header("Content-Disposition"), disposition.as_deref());
            assert_eq!(answer.header("Content-Type"), Some(kind));
            assert_eq!(answer.header("Set-Cookie"), None);
        }
    }
}

#[test]
fn what_never_changes_may_be_kept() {
    let site = Site::start();
    let (server, f) = (&site.server, &site.f);
    let forever = Some("public, max-age=31536000, immutable");
    let plain = server.ask_host("free", "GET", &format!("/plain{}", url(f)), &[]);
    assert_eq!(plain.header("Cache-Control"), forever);
    let unchanged = [&*format!("If-None-Match: {}", plain.header("ETag").expect("it has one"))];
    let unchanged = server.ask_host("free", "GET", &format!("/plain{}", url(f)), &unchanged);
    assert_eq!((unchanged.status, unchanged.header("Cache-Control")), (304, forever));
    let operator = server.ask_host("free", "GET", &url(f), &[]);
    assert_eq!(operator.header("Cache-Control"), Some("max-age=3600"), "`expires` decides");
    for name in [appender("jpg"), slave(f, "_big", "jpg")] {
        put(&server.dir, &name, &content(5));
        let answer = server.ask_host("free", "GET", &format!("/plain{}", url(&name)), &[]);
        assert_eq!((answer.status, answer.header("Cache-Control")), (200, None), "{name}");
    }
    // Without a signature a name can be asked for, but never that the file is shown.
    let named = format!("/plain{}?filename=b.jpg&inline=1", url(f));
    let named = server.ask_host("free", "GET", &named, &[]);
    let disposition = "attachment; filename=\"b.jpg\"; filename*=UTF-8''b.jpg";
    assert_eq!(named.header("Content-Disposition"), Some(disposition));
}
