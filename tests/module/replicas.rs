//! Files that are not here: whom nginx asks, whom it never asks, and what it says in the end.

use proto::token::{Key, Link};

use crate::nodes::Net;
use crate::server::{Scratch, Server, WORKERS, eventually};
use crate::store::{CREATED, content, made_by, place, put, url};

#[test]
fn the_source_is_asked_first_and_then_everybody_else() {
    let net = Net::new(3);
    let servers: Vec<Server> = (0..3).map(|own| net.server(own, "")).collect();
    let bytes = content(300_000);
    let f = made_by(net.ips[0].octets(), CREATED, &bytes, "jpg");
    put(&servers[0].dir, &f, &bytes);
    put(&servers[1].dir, &f, &bytes);
    let asked = |server: &Server| server.get(&url(&f), &[]);
    assert!(asked(&servers[2]).body == bytes);
    // The source has lost it, but another member has not.
    std::fs::remove_file(servers[0].dir.path(&place(&f))).expect("it is there");
    for server in &servers {
        let answer = asked(server);
        assert!(answer.status == 200 && answer.body == bytes);
        let part = server.get(&url(&f), &["Range: bytes=200000-200009"]);
        assert!(part.status == 206 && part.body == bytes[200_000..=200_009]);
        let head = server.ask("HEAD", &url(&f), &[]);
        assert_eq!((head.status, head.header("Content-Length")), (200, Some("300000")));
    }
    // The source is down.
    servers[0].kill();
    for _ in 0..4 * WORKERS {
        assert!(asked(&servers[2]).body == bytes);
    }
    // Each worker finds out for itself, once, and which of them takes a connection is chance.
    let log = servers[2].error_log();
    let refused = log.lines().filter(|line| line.contains("Connection refused"));
    let mut who: Vec<&str> = refused.map(worker).collect();
    assert!(!who.is_empty(), "it is asked: {log}");
    who.sort_unstable();
    assert!(who.windows(2).all(|two| two[0] != two[1]), "it is asked again soon: {log}");
    // Nobody left who has it: absent is said only by those who could know.
    std::fs::remove_file(servers[1].dir.path(&place(&f))).expect("it is there");
    assert_eq!(asked(&servers[2]).status, 502, "the source may have it");
    servers[0].revive();
    eventually("the source is asked again", || asked(&servers[2]).status == 404);
    put(&servers[0].dir, &f, &bytes);
    assert!(asked(&servers[2]).body == bytes);
}

/// The process that wrote a line of the error log: `2026/11/26 05:43:23 [error] 19753#19753: ...`.
fn worker(line: &str) -> &str {
    line.split(' ').nth(3).and_then(|who| who.split('#').next()).expect("nginx says who writes")
}

#[test]
fn damage_is_not_passed_on() {
    let net = Net::new(3);
    let servers: Vec<Server> = (0..3).map(|own| net.server(own, "")).collect();
    let bytes = content(5000);
    let f = made_by(net.ips[0].octets(), CREATED, &bytes, "jpg");
    put(&servers[0].dir, &f, &bytes[..4000]);
    put(&servers[1].dir, &f, &bytes);
    for server in &servers {
        assert!(server.get(&url(&f), &[]).body == bytes);
    }
    std::fs::remove_file(servers[1].dir.path(&place(&f))).expect("it is there");
    for server in &servers {
        assert_eq!(server.get(&url(&f), &[]).status, 502, "{}", server.error_log());
    }
    assert!(servers[0].error_log().contains("4000 bytes, its name says otherwise: damaged"));
}

#[test]
fn a_request_never_goes_in_circles() {
    let net = Net::new(3);
    let servers: Vec<Server> =
        (0..3).map(|own| net.server(own, "access_log DIR/log/access.log;")).collect();
    let f = made_by(net.ips[0].octets(), CREATED, &content(10), "jpg");
    assert_eq!(servers[2].get(&url(&f), &[]).status, 404);
    let lines = |server: &Server| server.dir.read("log/access.log").lines().count();
    eventually("all have logged", || servers.iter().all(|server| lines(server) == 1));
    // Whoever says that he is a server is not helped, and no cache may keep what he got.
    put(&servers[0].dir, &f, &content(10));
    let forged = servers[2].get(&url(&f), &["X-FastDFS-Hop: 1"]);
    assert_eq!((forged.status, forged.header("Cache-Control")), (404, Some("no-store")));
    assert_eq!(servers[2].get(&url(&f), &[]).status, 200);
}

#[test]
fn what_is_private_stays_with_the_first_server() {
    let net = Net::new(2);
    let near = net.server(1, "");
    let dir = Scratch::new();
    // Not one of ours: it shows what it was sent.
    let show = "add_header X-Saw \"$http_cookie|$http_authorization|$http_host|$http_x_fastdfs_hop|\
                $content_length\" always;\nreturn 404;";
    let _far = Server::start(
        dir,
        &format!(
            "server {{ listen unix:DIR/socket; listen {}:{}; location / {{ {show} }} }}",
            net.ips[0], net.port
        ),
    );
    let f = made_by(net.ips[0].octets(), CREATED, &content(10), "jpg");
    let headers = ["Cookie: session=1", "Authorization: Basic eDp5", "Content-Length: 0"];
    let answer = near.get(&url(&f), &headers);
    assert_eq!((answer.status, answer.header("X-Saw")), (404, Some("||a|1|")));
}

#[test]
fn a_client_is_sent_to_a_member_with_its_own_scheme() {
    let net = Net::new(3);
    let modes = "fastdfs_replica_mode redirect;";
    let server = |more: &str| net.server(2, &format!("{modes} {more}"));
    let plain = server("");
    let f = made_by(net.ips[1].octets(), CREATED, &content(10), "jpg");
    let at = |ip, port| format!("http://{ip}:{port}{}?redirect=1", url(&f));
    let sent = |server: &Server| {
        let answer = server.get(&url(&f), &[]);
        (answer.status, answer.header("Location").map(str::to_owned))
    };
    assert_eq!(sent(&plain), (302, Some(at(net.ips[1], net.port))));
    drop(plain);
    let other = server("fastdfs_replica_port 8080;");
    assert_eq!(sent(&other), (302, Some(at(net.ips[1], 8080))));
    let public = format!("fastdfs_member {} url=https://s2.example.com/;", net.ips[1]);
    drop(other);
    let public = server(&public);
    let there = format!("https://s2.example.com{}?redirect=1", url(&f));
    assert_eq!(sent(&public), (302, Some(there)));
    let six = net.server(0, &format!("{modes} fastdfs_member [2001:db8::1]:80;"));
    let stranger = made_by([203, 0, 113, 9], CREATED, &content(10), "jpg");
    let location = six.get(&url(&stranger), &[]).header("Location").map(str::to_owned);
    assert!(location.is_some_and(|to| !to.contains("203.0.113.9")), "only to members");
    drop(public);
    let off = net.server(2, "fastdfs_replica_mode off;");
    assert_eq!(sent(&off).0, 404);
}

#[test]
fn members_come_and_go_without_a_reload() {
    let net = Net::new(2);
    let far = net.server(0, "");
    let bytes = content(100);
    let f = made_by(net.ips[0].octets(), CREATED, &bytes, "jpg");
    put(&far.dir, &f, &bytes);
    // The file appears later: what is needed to serve stands in the configuration.
    let store = "fastdfs_group group1;\nfastdfs_store_path DIR/store0;\n";
    let near = net.start(Scratch::new(), 1, &format!("{store}fastdfs_members DIR/members;"));
    assert_eq!(near.get(&url(&f), &[]).status, 404);
    let write = |text: &str| {
        near.dir.write("members.new", text.as_bytes());
        let (from, to) = (near.dir.path("members.new"), near.dir.path("members"));
        std::fs::rename(from, to).expect("both are ours");
    };
    let good = net.members(1, "/");
    write(&good);
    eventually("the member is asked", || near.get(&url(&f), &[]).body == bytes);
    write("nonsense");
    eventually("nonsense is reported", || {
        near.get(&url(&f), &[]);
        near.error_log().contains("version is missing: kept the old members")
    });
    write(&good.replacen("state=ACTIVE", "state=DELETED", 1));
    eventually("a deleted member is not asked", || near.get(&url(&f), &[]).status == 404);
}

#[test]
fn a_link_is_judged_once() {
    let net = Net::new(2);
    let keys = "fastdfs_link_key k 'sixteen bytes of k';
                set_real_ip_from 0.0.0.0/0; set_real_ip_from unix:; real_ip_header X-Client;";
    let (far, near) = (net.server(0, keys), net.server(1, keys));
    let bytes = content(100);
    let f = made_by(net.ips[0].octets(), CREATED, &bytes, "jpg");
    put(&far.dir, &f, &bytes);
    // The second server sees another address than the first, and believes the first.
    let key = Key::new("k", b"sixteen bytes of k").expect("it is long enough");
    let link = Link {
        client: "10.0.0.9".parse().ok(),
        filename: Some(b"a.jpg"[..].into()),
        ..Link::until(4_000_000_000)
    };
    let target = format!("{}?{}", url(&f), link.sign(&key, &format!("group1/{f}")));
    let answer = near.get(&target, &["X-Client: 10.0.0.9"]);
    assert!(answer.status == 200 && answer.body == bytes);
    let disposition = "attachment; filename=\"a.jpg\"; filename*=UTF-8''a.jpg";
    assert_eq!(answer.header("Content-Disposition"), Some(disposition));
    assert_eq!(near.get(&target, &["X-Client: 10.0.0.8"]).status, 403);
    let forged = ["X-FastDFS-Hop: 1", "X-FastDFS-Hop: 1 k 4000000000 x"];
    for hop in forged {
        assert_eq!(far.get(&url(&f), &[hop]).status, 403, "{hop}");
    }
}
