//! What `nginx -t` refuses, word for word, and what a location inherits.

use crate::server::{Scratch, Server, configuration, nginx};
use crate::store::{content, normal, put, url};

/// What nginx says to a configuration that it refuses, without the place.
fn refusal(http: &str) -> String {
    let dir = Scratch::new();
    dir.write("nginx.conf", configuration(&dir, http).as_bytes());
    let output = nginx(&dir, &["-t"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "nginx -t accepts: {http}\n{said}");
    // Debian's nginx writes `[emerg] 7#7: ` because its log is standard error from the start.
    let line = said.lines().find(|line| line.contains("[emerg] "));
    let line = line.unwrap_or_else(|| panic!("no reason in: {said}"));
    let (_, why) = line.split_once("[emerg] ").expect("it was found");
    let number = |text: &str| text.bytes().all(|b| b == b'#' || b.is_ascii_digit());
    let why = why.split_once(": ").filter(|(id, _)| number(id)).map_or(why, |(_, why)| why);
    let (why, place) = why.rsplit_once(" in ").expect(line);
    assert!(place.contains("/nginx.conf:"), "no file and line: {line}");
    why.replace(&dir.0.display().to_string(), "DIR")
}

#[test]
fn store_paths_must_be_there() {
    let cases = [
        (
            "fastdfs_store_path DIR/nowhere;",
            "directory \"DIR/nowhere\" of \"fastdfs_store_path\": \
             No such file or directory (os error 2)",
        ),
        (
            "fastdfs_store_path nowhere;", // counts from the prefix
            "directory \"DIR/nowhere\" of \"fastdfs_store_path\": \
             No such file or directory (os error 2)",
        ),
        (
            "fastdfs_store_path DIR/nginx.conf;",
            "directory \"DIR/nginx.conf\" of \"fastdfs_store_path\": not a directory",
        ),
        (
            "fastdfs_store_path DIR/store0; fastdfs_store_path DIR/store0/;",
            "directory \"DIR/store0/\" of \"fastdfs_store_path\": given twice",
        ),
        ("fastdfs_store_path;", "invalid number of arguments in \"fastdfs_store_path\" directive"),
    ];
    for (http, why) in cases {
        assert_eq!(refusal(http), why, "{http}");
    }
    let many: String = (0..257).map(|n| format!("fastdfs_store_path DIR/{n};\n")).collect();
    let dir = Scratch::new();
    for number in 0..257 {
        std::fs::create_dir(dir.path(&number.to_string())).expect("it is new");
    }
    dir.write("nginx.conf", configuration(&dir, &many).as_bytes());
    let said = nginx(&dir, &["-t"]).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("/256\" of \"fastdfs_store_path\": more than 256 store paths"), "{said}");
}

#[test]
fn mistakes_are_found_before_the_start() {
    let store = "fastdfs_store_path DIR/store0;";
    let location = "server { listen unix:DIR/s; location /x { ngx_fastdfs_module; } }";
    let cases: &[(&str, &str)] = &[
        (
            "fastdfs_group my-group;",
            "invalid group \"my-group\" in \"fastdfs_group\", \
             it must be 1 to 16 letters and digits",
        ),
        (
            "fastdfs_group group1group1group1;",
            "invalid group \"group1group1group1\" in \"fastdfs_group\", \
             it must be 1 to 16 letters and digits",
        ),
        ("fastdfs_group a; fastdfs_group b;", "\"fastdfs_group\" directive is duplicate"),
        (
            "fastdfs_url_have_group_name yes;",
            "invalid value \"yes\" in \"fastdfs_url_have_group_name\", \
             it must be \"on\" or \"off\"",
        ),
        (
            "fastdfs_url_have_group_name on; fastdfs_url_have_group_name on;",
            "\"fastdfs_url_have_group_name\" directive is duplicate",
        ),
        ("ngx_fastdfs_module;", "\"ngx_fastdfs_module\" directive is not allowed here"),
        ("server { ngx_fastdfs_module; }", "\"ngx_fastdfs_module\" directive is not allowed here"),
        (
            "server { location / { ngx_fastdfs_module on; } }",
            "invalid number of arguments in \"ngx_fastdfs_module\" directive",
        ),
        (
            "server { location / { ngx_fastdfs_module; ngx_fastdfs_module; } }",
            "\"ngx_fastdfs_module\" directive is duplicate",
        ),
        (
            &format!("{store} {location}"),
            "\"ngx_fastdfs_module\" in location \"/x\" needs a \"fastdfs_group\"",
        ),
        (
            &format!("fastdfs_group group1; {location}"),
            "\"ngx_fastdfs_module\" in location \"/x\" needs a \"fastdfs_store_path\"",
        ),
    ];
    for (http, why) in cases {
        assert_eq!(refusal(http), *why, "{http}");
    }
}

#[test]
fn only_what_is_unset_is_inherited() {
    let (dir, f, g) = (Scratch::new(), normal(1024, "jpg"), normal(512, "jpg"));
    put(&dir, &f, &content(1024));
    std::fs::create_dir_all(dir.path("other/data/00/00")).expect("the directory is ours");
    dir.write(&format!("other/data/{}", g.true_name()), &content(512));
    let server = Server::start(
        dir,
        "
        fastdfs_group group1;
        fastdfs_store_path store0; # from the prefix
        fastdfs_url_have_group_name off;
        server {
            listen unix:DIR/socket;
            server_name inherits;
            location / { ngx_fastdfs_module; }
        }
        server {
            listen unix:DIR/socket;
            server_name says_on;
            fastdfs_url_have_group_name on;
            location / { ngx_fastdfs_module; }
            location /group1/M00/00/0 { ngx_fastdfs_module; fastdfs_url_have_group_name off; }
            location /group2/ {
                fastdfs_group group2;
                fastdfs_store_path DIR/other;
                location ~ /M00/ { ngx_fastdfs_module; }
            }
        }
        server {
            listen unix:DIR/socket;
            server_name limited;
            location / { ngx_fastdfs_module; limit_except GET { allow all; } }
        }
        ",
    );
    for (host, target, status) in [
        ("inherits", format!("/{f}"), 200),
        ("inherits", url(&f), 400),
        ("says_on", url(&f), 400), // the inner location says off again
        ("says_on", format!("/group2/{g}"), 200),
        ("says_on", format!("/group2/{f}"), 404),
        ("says_on", format!("/{f}"), 400),
        ("limited", format!("/{f}"), 200),
    ] {
        assert_eq!(server.ask_host(host, "GET", &target, &[]).status, status, "{host} {target}");
    }
    let post = server.ask_host("limited", "POST", &format!("/{f}"), &["Content-Length: 0"]);
    assert_eq!((post.status, post.header("Allow")), (405, Some("GET, HEAD")));
}

#[test]
fn absent_files_are_logged_unless_told_otherwise() {
    let f = normal(1024, "jpg");
    for (told, lines) in [("", 1), ("log_not_found off;", 0)] {
        let server = Server::start(
            Scratch::new(),
            &crate::PLAIN.replacen("types", &format!("{told} types"), 1),
        );
        assert_eq!(server.get(&url(&f), &[]).status, 404);
        let expected = format!("{}\" failed (2: No such file or directory)", f.true_name());
        assert_eq!(server.error_log().matches(&expected).count(), lines, "{}", server.error_log());
    }
}
