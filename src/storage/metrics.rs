//! The page of metrics: what this storage has done, what it holds, what it found damaged.
//!
//! Reads numbers that others keep; never waits for a disk.

use std::sync::atomic::Ordering;

use net::metrics::Page;
use proto::{ids::StorePath, tracker::beat::Tally};

use crate::{progress::PeerProgress, store::Store};

/// Writes the page.
pub(crate) fn gather(store: &Store, page: &mut Page) {
    let s = store.counters.snapshot().statistics;
    page.counter("fdfs_storage_operations_total", "Operations by outcome.");
    for (op, tally) in [
        ("upload", s.upload),
        ("append", s.append),
        ("modify", s.modify),
        ("truncate", s.truncate),
        ("download", s.download),
        ("set_metadata", s.set_metadata),
        ("get_metadata", s.get_metadata),
        ("delete", s.delete),
        ("create_link", s.create_link),
        ("delete_link", s.delete_link),
    ] {
        pair(page, "fdfs_storage_operations_total", op, tally);
    }
    page.counter("fdfs_storage_bytes_total", "Bytes of operations by outcome.");
    for (op, tally) in [
        ("upload", s.upload_bytes),
        ("append", s.append_bytes),
        ("modify", s.modify_bytes),
        ("download", s.download_bytes),
        ("sync_in", s.sync_in_bytes),
        ("sync_out", s.sync_out_bytes),
    ] {
        pair(page, "fdfs_storage_bytes_total", op, tally);
    }
    page.gauge("fdfs_storage_connections", "Connections of clients and peers.");
    page.value("fdfs_storage_connections", &[("state", "open")], s.connections.current);
    page.value("fdfs_storage_connections", &[("state", "most")], s.connections.max);
    paths(store, page);
    peers(store, page);
    damage(store, page);
    scrub(store, page);
    copies(store, page);
}

/// What the other members lack of our changes.
fn peers(store: &Store, page: &mut Page) {
    let peers = store.progress.peers();
    let mut family = |name: &str, help: &str, of: fn(&PeerProgress) -> u64| {
        match name.ends_with("_total") {
            true => page.counter(name, help),
            false => page.gauge(name, help),
        }
        for (id, peer) in &peers {
            page.value(name, &[("peer", &id.to_string())], of(peer));
        }
    };
    family("fdfs_storage_peer_lag_records", "Changes that a peer lacks.", |p| p.lag.records);
    family("fdfs_storage_peer_lag_bytes", "Bytes of their records.", |p| p.lag.bytes);
    family("fdfs_storage_peer_lag_seconds", "Age of the oldest of them.", |p| p.lag.secs);
    family("fdfs_storage_peer_connected", "Whether it can be sent to.", |p| p.connected.into());
    family("fdfs_storage_peer_sent_total", "Changes sent since the start.", |p| p.sent);
    family("fdfs_storage_peer_aside_total", "Changes it will never take.", |p| p.aside);
    page.gauge("fdfs_storage_peer_error", "What the last attempt to send ended with.");
    for (id, peer) in &peers {
        if let Some(error) = &peer.last_error {
            let error = error.replace(['"', '\\', '\n'], " ");
            let labels = [("peer", &*id.to_string()), ("error", &*error)];
            page.value("fdfs_storage_peer_error", &labels, 1);
        }
    }
    let Some(lag) = store.progress.exposed() else { return };
    for (name, help, value) in [
        ("fdfs_storage_exposed_records", "Acknowledged changes at no other member.", lag.records),
        ("fdfs_storage_exposed_bytes", "Bytes of their records.", lag.bytes),
        ("fdfs_storage_exposed_seconds", "Age of the oldest of them.", lag.secs),
    ] {
        page.gauge(name, help);
        page.value(name, &[], value);
    }
}

fn pair(page: &mut Page, family: &str, op: &str, tally: Tally) {
    page.value(family, &[("op", op), ("outcome", "ok")], tally.success);
    let failed = tally.total.saturating_sub(tally.success);
    page.value(family, &[("op", op), ("outcome", "failed")], failed);
}

fn paths(store: &Store, page: &mut Page) {
    let all = || (0..=u8::MAX).map(StorePath).zip(store.places.iter());
    page.gauge("fdfs_storage_path_bytes", "Room of each store path as it was measured last.");
    for (path, place) in all() {
        let (path, space) = (path.to_string(), place.space());
        page.value("fdfs_storage_path_bytes", &[("path", &path), ("kind", "total")], space.total);
        page.value("fdfs_storage_path_bytes", &[("path", &path), ("kind", "free")], space.free);
    }
    page.gauge("fdfs_storage_path_takes", "Whether a store path takes uploads and changes.");
    for (path, _) in all() {
        let (text, takes) = (path.to_string(), store.takes(path));
        for (kind, takes) in [("uploads", takes.0), ("changes", takes.1)] {
            let labels = [("path", &*text), ("kind", kind)];
            page.value("fdfs_storage_path_takes", &labels, u8::from(takes));
        }
    }
}

fn damage(store: &Store, page: &mut Page) {
    let damage = &store.sums.damage;
    page.counter("fdfs_storage_damage_total", "Damaged files and sums by what became of them.");
    for (kind, counter) in [
        ("found", &damage.found),
        ("sums_healed", &damage.sums_healed),
        ("repaired", &damage.repaired),
    ] {
        let value = counter.load(Ordering::Relaxed);
        page.value("fdfs_storage_damage_total", &[("kind", kind)], value);
    }
    page.gauge("fdfs_storage_unrepairable", "Files that no member could repair in the last pass.");
    let value = damage.unrepairable.load(Ordering::Relaxed);
    page.value("fdfs_storage_unrepairable", &[], value);
    page.counter("fdfs_storage_verified_reads_total", "Reads that were compared and good.");
    let value = damage.blocks_good.load(Ordering::Relaxed);
    page.value("fdfs_storage_verified_reads_total", &[], value);
}

/// How far the scrub is.
fn scrub(store: &Store, page: &mut Page) {
    let (files, bytes) = store.scrub.done();
    page.counter("fdfs_storage_scrub_files_total", "Files that the scrub has read.");
    page.value("fdfs_storage_scrub_files_total", &[], files);
    page.counter("fdfs_storage_scrub_bytes_total", "Bytes that the scrub has read.");
    page.value("fdfs_storage_scrub_bytes_total", &[], bytes);
    let family = "fdfs_storage_scrub_unreadable_total";
    page.counter(family, "Directories that the scrub could not read.");
    page.value(family, &[], store.scrub.unreadable.load(Ordering::Relaxed));
    let family = "fdfs_storage_scrub_age_seconds";
    page.gauge(family, "Time since the scrub had read all of a store path.");
    let now = store.clock.now().secs();
    for (path, ended) in store.scrub.ended() {
        page.value(family, &[("path", &path.to_string())], now.saturating_sub(ended));
    }
}

/// Second copies before the answer.
fn copies(store: &Store, page: &mut Page) {
    let copies = &store.copies;
    let family = "fdfs_storage_copies_total";
    page.counter(family, "Changes by their second copy before the answer (copies = 2).");
    for (kind, counter) in
        [("second", &copies.second), ("missing", &copies.missing), ("refused", &copies.refused)]
    {
        page.value(family, &[("outcome", kind)], counter.load(Ordering::Relaxed));
    }
    let family = "fdfs_storage_copies_alone";
    page.gauge(family, "Whether no second member keeps up although copies = 2 asks for one.");
    page.value(family, &[], u8::from(copies.is_alone()));
}
