//! The FastDFS protocol: bytes in, values out.
//!
//! Used by both daemons, the client in `net`, the tools and the nginx module. There is no
//! standard library here, so that no file, socket, clock or random source can be named:
//! whatever depends on one of them (the time in a file name, its random bits) is an argument.
//!
//! Read in this order: [`wire`] (a cursor over bytes), [`header`] (the ten bytes before every
//! message), [`command`] and [`status`] (the numbers), [`ids`], [`address`] and [`fileid`] (what
//! the fields mean), then the bodies of [`tracker`] and [`storage`] messages, one file a family.

#![no_std]
// Parsers are total: what arrives from outside can neither index nor overflow.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod wire; // start here: fixed fields, padded text, bounds

pub mod header; // the ten bytes before every message

pub mod command; // every command number

pub mod status; // errno on the wire, states of a storage

pub mod ids; // group, storage id, store path: names that cannot be mixed up

pub mod address; // one or two addresses with a port, in their several forms

pub mod base64; // the alphabet of file ids

pub mod fileid; // group1/M00/00/00/...: parse, print, what it encodes

pub mod trunk; // the bytes before a file in a trunk container

pub mod metadata; // name/value pairs of a file

pub mod binlog; // one line of the binlog; one mark file

pub mod sums; // block sums of a stored file: entries and header of their file

pub mod ini; // configuration text

pub mod members; // the file that tells the nginx module who is in the group

pub mod query; // parameters of a download address, percent coding

pub mod disposition; // the name under which a browser saves a file

pub mod token; // signed download links: compatible and strong form

pub mod tracker; // bodies of tracker messages

pub mod storage; // bodies of storage messages
