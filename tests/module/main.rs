//! The download module in a real nginx: the conformance list of http.md 17, ranges, conditions,
//! links, other members, hostile addresses, reloads, and what `nginx -t` says.
//!
//! Needs nginx and the module (`nginx/module/build.sh`). Each test has a server of its own.

#[path = "../support/mod.rs"]
mod support;

mod nodes;
mod server;
mod store;

mod configuration; // what is refused, what is inherited
mod conformance; // the list of http.md 17, line by line, with an old configuration
mod history; // members die and come back while readers read
mod hostile; // damaged addresses, headers and tokens, many of them
mod links; // tokens, strong links, and what they make of the answer
mod media; // films, slices, caches, HTTP/2
mod memory; // reloads, dead workers, leaks
mod replicas; // files that are not here
mod requests; // addresses, headers, ranges, conditions
mod sending; // sendfile, directio, threads, subrequests, reloads
mod site;
mod verifying; // content against the sum in its name // nginx/nginx.conf as a whole

/// One server with two store paths, as most tests need it.
const PLAIN: &str = "
    types { image/jpeg jpg; text/plain txt; }
    default_type application/octet-stream;
    fastdfs_group group1;
    fastdfs_store_path DIR/store0;
    fastdfs_store_path DIR/store1;
    server {
        listen unix:DIR/socket;
        server_name a;
        location / { ngx_fastdfs_module; }
    }
    server {
        listen unix:DIR/socket;
        server_name bare; # addresses without the group
        fastdfs_url_have_group_name off;
        location / { ngx_fastdfs_module; }
    }
";
