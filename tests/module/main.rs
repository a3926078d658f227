//! The download module in a real nginx: the conformance list of http.md 17 as far as it applies,
//! ranges, conditions, hostile addresses, reloads, and what `nginx -t` says.
//!
//! Needs nginx and the module (`nginx/module/build.sh`). Each test has a server of its own.

mod server;
mod store;

mod configuration; // what is refused, what is inherited
mod requests; // addresses, headers, ranges, conditions
mod sending; // sendfile, directio, threads, subrequests, reloads
mod site; // nginx/nginx.conf as a whole

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
