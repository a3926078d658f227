//! With other parts of nginx: its modules for films, slices behind a cache, HTTP/2, limits.

use std::process::Command;

use crate::nodes::Net;
use crate::server::{Scratch, Server};
use crate::store::{content, made_by, put, summed, url};

#[test]
fn films_are_nginx_s_own_business() {
    let (dir, bytes) = (Scratch::new(), content(5000));
    let (film, still) = (summed(&bytes, "flv"), summed(&bytes, "mp4"));
    put(&dir, &film, &bytes);
    put(&dir, &still, &bytes);
    let head = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
    let http = "
        types { video/mp4 mp4; video/x-flv flv; }
        fastdfs_group group1; fastdfs_store_path DIR/store0;
        server { listen unix:DIR/socket; server_name behind; root /nowhere;
                 location / { ngx_fastdfs_module; flv; } }
        server { listen unix:DIR/socket; server_name before; root /nowhere;
                 location / { flv; ngx_fastdfs_module; } }
        server { listen unix:DIR/socket; server_name mp4;
                 location / { ngx_fastdfs_module; mp4; } }
    ";
    let server = Server::start(dir, http);
    for host in ["behind", "before"] {
        let whole = server.ask_host(host, "GET", &url(&film), &[]);
        assert!(whole.status == 200 && whole.body == bytes, "{host}");
        let part = server.ask_host(host, "GET", &format!("{}?start=100", url(&film)), &[]);
        assert!(part.status == 200 && part.body == [head, &bytes[100..]].concat(), "{host}");
        assert_eq!(part.header("Content-Type"), Some("video/x-flv"));
    }
    // Not a film: nginx's module looks into the right file and says so.
    let broken = server.ask_host("mp4", "GET", &format!("{}?start=1", url(&still)), &[]);
    assert_eq!(broken.status, 500);
    let name = still.true_name();
    assert!(server.error_log().contains(&format!("/store0/data/{name}\"")), "of that file");
    assert!(server.ask_host("mp4", "GET", &url(&still), &[]).body == bytes);
}

#[test]
fn slices_are_put_together_again() {
    let (dir, bytes) = (Scratch::new(), content(100_001));
    let f = summed(&bytes, "jpg");
    put(&dir, &f, &bytes);
    let http = "
        fastdfs_group group1; fastdfs_store_path DIR/store0;
        proxy_cache_path DIR/tmp/cache keys_zone=c:1m;
        server { listen unix:DIR/inner; location / { ngx_fastdfs_module; } }
        server {
            listen unix:DIR/socket;
            server_name sliced;
            location / {
                slice 16k;
                proxy_cache c;
                proxy_cache_key $uri$slice_range;
                proxy_set_header Range $slice_range;
                proxy_cache_valid 200 206 1h;
                proxy_pass http://unix:DIR/inner:;
            }
        }
    ";
    let server = Server::start(dir, http);
    for _ in 0..2 {
        let whole = server.ask_host("sliced", "GET", &url(&f), &[]);
        assert!(whole.status == 200 && whole.body == bytes);
        let part = server.ask_host("sliced", "GET", &url(&f), &["Range: bytes=20000-60000"]);
        assert!(part.status == 206 && part.body == bytes[20_000..=60_000]);
    }
}

#[test]
fn a_cache_in_the_location_keeps_what_members_sent() {
    let net = Net::new(2);
    let far = net.server(0, "");
    let cache = "proxy_cache c; proxy_cache_key $uri; proxy_cache_valid 200 1h;";
    let near = Scratch::new();
    near.write("members", net.members(1, &near.path("store0").display().to_string()).as_bytes());
    let settings = format!("fastdfs_members DIR/members;\n{cache}");
    let near = net.start_with(near, 1, &settings, "proxy_cache_path DIR/tmp/cache keys_zone=c:1m;");
    let bytes = content(50_000);
    let f = made_by(net.ips[0].octets(), crate::store::CREATED, &bytes, "jpg");
    put(&far.dir, &f, &bytes);
    assert!(near.get(&url(&f), &[]).body == bytes);
    far.kill();
    let kept = near.get(&url(&f), &[]);
    assert!(kept.status == 200 && kept.body == bytes);
    let part = near.get(&url(&f), &["Range: bytes=7-9"]);
    assert!(part.status == 206 && part.body == bytes[7..=9]);
}

#[test]
fn over_http_2_and_with_limits() {
    let (net, dir, bytes) = (Net::new(1), Scratch::new(), content(300_000));
    let f = summed(&bytes, "jpg");
    put(&dir, &f, &bytes);
    let http = format!(
        "fastdfs_group group1; fastdfs_store_path DIR/store0; fastdfs_verify once;
         server {{ listen {}:{} http2; limit_rate 4m; limit_rate_after 1k; sendfile on;
                   sendfile_max_chunk 8k; aio threads; location / {{ ngx_fastdfs_module; }} }}",
        net.ips[0], net.port
    );
    let server = Server::start(dir, &http);
    let at = format!("http://{}:{}{}", net.ips[0], net.port, url(&f));
    for (range, expected) in [("0-299999", &bytes[..]), ("5-1004", &bytes[5..1005])] {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--http2-prior-knowledge",
                "--max-time",
                "30",
                "--range",
                range,
                &at,
            ])
            .output()
            .expect("no curl: run conf/deps.sh run");
        assert!(output.status.success() && output.stdout == expected, "{range}");
    }
    let log = server.error_log();
    assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
}
