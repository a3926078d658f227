//! Several machines on one: an nginx for each, at an address of its own in 127.0.0.0/8, all on
//! one port, as members of a group have it.
//!
//! Used by the tests beside it. Addresses are taken from the process id and a counter, so that
//! tests of other processes never meet them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::{Scratch, Server};

/// Addresses and a port that nobody else uses.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) port: u16,
    pub(crate) ips: Vec<Ipv4Addr>,
}

impl Net {
    pub(crate) fn new(count: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = || NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = |_| {
            let last = u8::try_from(1 + next() % 250).expect("it is small");
            Ipv4Addr::new(127, 128 | high, low, last)
        };
        Self::at((0..count).map(ip).collect())
    }

    /// These addresses, and a port that is free at all of them.
    pub(crate) fn at(ips: Vec<Ipv4Addr>) -> Self {
        // Held until all are bound, so that no two tries meet.
        let mut taken = Vec::new();
        loop {
            let probe = TcpListener::bind((ips[0], 0)).expect("there are free ports");
            let port = probe.local_addr().expect("it is bound").port();
            taken.push(probe);
            let others: Vec<_> = ips[1..].iter().map(|ip| TcpListener::bind((*ip, port))).collect();
            if others.iter().all(Result::is_ok) {
                return Self { port, ips };
            }
        }
    }

    /// The text of a `members` file for the storage number `own`.
    pub(crate) fn members(&self, own: usize, store_path: &str) -> String {
        let mut text = format!("version = 1\ngroup_name = group1\nstore_path = {store_path}\n");
        for (number, ip) in self.ips.iter().enumerate() {
            let own = if number == own { " self" } else { "" };
            text.push_str(&format!("member = {ip} state=ACTIVE{own}\n"));
        }
        text
    }

    /// The usual server of the machine number `own`: a `members` file, and this in the server.
    pub(crate) fn server(&self, own: usize, more: &str) -> Server {
        let dir = Scratch::new();
        let text = self.members(own, &dir.path("store0").display().to_string());
        dir.write("members", text.as_bytes());
        self.start(dir, own, &format!("fastdfs_members DIR/members;\n{more}"))
    }

    /// The server of the machine number `own` with this in it, asked at its own address.
    pub(crate) fn start(&self, dir: Scratch, own: usize, more: &str) -> Server {
        self.start_with(dir, own, more, "")
    }

    /// The same, with this before the server.
    pub(crate) fn start_with(&self, dir: Scratch, own: usize, more: &str, http: &str) -> Server {
        let mut server = Server::start(dir, &format!("{http}\n{}", self.http(own, more)));
        server.at = Some((self.ips[own], self.port).into());
        server
    }

    /// A server block with this in it, which listens where the machine number `own` does.
    fn http(&self, own: usize, more: &str) -> String {
        let (ip, port) = (self.ips[own], self.port);
        format!(
            "types {{ image/jpeg jpg; text/plain txt; video/mp4 mp4; video/x-flv flv; }}
            default_type application/octet-stream;
            server {{
                listen unix:DIR/socket;
                listen {ip}:{port};
                server_name a;
                {more}
                location / {{ ngx_fastdfs_module; }}
            }}"
        )
    }
}
