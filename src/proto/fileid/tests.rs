//! The worked examples of storage.md 2.13, and the checks on names from the network.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::*;

const TIME: u32 = 1_700_000_000;
const CRC: u32 = 0xC458_1F24;
const ALL_DIRS: SubDirCount = SubDirCount(256);

fn record(source: SourceId, size: SizeField, crc32: u32) -> Record {
    Record { source, timestamp: TIME, size, crc32 }
}

fn server_105() -> SourceId {
    SourceId::of_ip("192.168.1.105".parse().unwrap())
}

fn extension(text: &str) -> Extension {
    Extension::parse(text).unwrap()
}

fn name(text: &str) -> FileName {
    FileName::parse(text, STORE_PATHS_MAX).unwrap()
}

#[test]
fn the_worked_examples_encode_and_decode() {
    let id = SourceId::of_number(100_001);
    let big = SizeField::normal(5_368_709_120, 0x12_3456);
    for (case, want, text, dir) in [
        (
            "A",
            record(server_105(), SizeField::normal(13, 0x12_3456), CRC),
            "wKgBaWVT8QCAEjRWAAAADcRYHyQ",
            Some(("66/D1", 185_820_881)),
        ),
        (
            "B",
            record(id, SizeField::normal(13, 0x12_3456), CRC),
            "oYYBAGVT8QCAEjRWAAAADcRYHyQ",
            Some(("6E/D1", 234_843_857)),
        ),
        (
            "C",
            record(server_105(), big, 0xDEAD_BEEF),
            "wKgBaWVT8QAAAAABQAAAAN6tvu8",
            Some(("FA/18", 122_419_736)),
        ),
        (
            "D",
            record(server_105(), SizeField::appender(0x2B_CDEF), CRC),
            "wKgBaWVT8QCEK83vAAAAAMRYHyQ",
            None,
        ),
        (
            "F",
            record(server_105(), SizeField::trunk(13, 0x0F_EDCB), CRC),
            "wKgBaWVT8QCID-3LAAAADcRYHyQ",
            None,
        ),
    ] {
        assert_eq!(want.encode(), text, "{case}");
        assert_eq!(Record::decode(text.as_bytes()), Some(want), "{case}");
        if let Some((dir, hash)) = dir {
            assert_eq!(pjw(text.as_bytes()), hash, "{case}");
            assert_eq!(SubDir::hashed(text, ALL_DIRS).to_string(), dir, "{case}");
        }
    }
    let appender = SubDir::hashed("wKgBaWVT8QCEK83vAAAAAMRYHyQ", ALL_DIRS);
    assert_eq!(appender.to_string(), "53/61");
    assert_eq!(SubDir::of_container(1, ALL_DIRS).to_string(), "55/61");
    assert_eq!(SubDir::of_container(37, ALL_DIRS).to_string(), "55/F1");
    assert_eq!(pjw(b"AAAAAQ"), 72_701_281);
    let few = SubDirCount::new(4).unwrap();
    assert_eq!(SubDir::of_container(37, few), SubDir { high: 0x55 % 4, low: 0xF1 % 4 });
}

#[test]
fn whole_names_are_printed_and_read_back() {
    let slot = TrunkSlot { container: 37, offset: 65792, size: 256 };
    let source = server_105();
    for (parts, text) in [
        (
            NewName {
                store_path: StorePath(0),
                dir: SubDir { high: 0, low: 0 },
                record: record(source, SizeField::normal(13, 0x12_3456), CRC),
                slot: None,
                ext: ExtField::new(&extension("txt"), 482),
            },
            "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt",
        ),
        (
            NewName {
                store_path: StorePath(1),
                dir: SubDir { high: 0x0A, low: 0xFF },
                record: record(source, SizeField::normal(5 << 30, 0), 0xDEAD_BEEF),
                slot: None,
                ext: ExtField::new(&extension("mpeg"), 17),
            },
            "M01/0A/FF/wKgBaWVT8QAAAAABQAAAAN6tvu817.mpeg",
        ),
        (
            NewName {
                store_path: StorePath(0),
                dir: SubDir { high: 2, low: 0x44 },
                record: record(source, SizeField::appender(0x2B_CDEF), CRC),
                slot: None,
                ext: ExtField::new(&Extension::NONE, 7_736_042),
            },
            "M00/02/44/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042",
        ),
        (
            NewName {
                store_path: StorePath(0),
                dir: SubDir { high: 0x11, low: 0x9C },
                record: record(source, SizeField::trunk(13, 0x0F_EDCB), CRC),
                slot: Some(slot),
                ext: ExtField::new(&extension("txt"), 482),
            },
            "M00/11/9C/wKgBaWVT8QCID-3LAAAADcRYHyQAAAAJQABAQAAAAEA482.txt",
        ),
    ] {
        let printed = parts.print();
        assert_eq!(printed.as_str(), text);
        assert_eq!(name(text), printed);
        assert_eq!(printed.record(), Some(parts.record));
        assert_eq!(printed.dir(), parts.dir);
        assert_eq!(printed.store_path(), parts.store_path);
        assert_eq!(printed.slot(), parts.slot);
    }
}

#[test]
fn extension_fields_have_seven_characters() {
    for (ext, random, field) in [
        ("", 7_736_042, "7736042"),
        ("", 5, "0000005"),
        ("", u32::MAX, "4967295"),
        ("txt", 999_482, "482.txt"),
        ("abcdef", 123, ".abcdef"),
        ("a", 1, "00001.a"),
    ] {
        assert_eq!(ExtField::new(&extension(ext), random).0, field.as_bytes(), "{ext}");
    }
}

#[test]
fn names_of_real_servers_are_decoded() {
    let image = name("M00/00/00/wKhiDlTYvSuAYLLjAABc9UGmlZ0912.jpg");
    let seen = image.record().unwrap();
    assert_eq!(seen.source.source(), Source::Address(Ipv4Addr::new(192, 168, 98, 14)));
    assert_eq!((seen.timestamp, seen.crc32), (1_423_490_347, 0x41a6_959d));
    assert_eq!(seen.size, SizeField(0x8060_b2e3_0000_5cf5));
    assert_eq!((image.kind(), image.size()), (Some(Kind::Normal), Some(23797)));

    let log = name("M00/00/00/oYYBAGsDaGyEJipCAAAAAKaEx8Y970.log");
    let seen = log.record().unwrap();
    assert_eq!(seen.source.source(), Source::Server(100_001));
    assert_eq!(seen.size, SizeField(0x8426_2a42_0000_0000));
    assert_eq!((log.kind(), log.size()), (Some(Kind::Appender), None));

    let after = Record {
        timestamp: seen.timestamp + 2,
        size: SizeField::normal(15, 0x0054_3275),
        crc32: 0xe17d_7922,
        ..seen
    };
    let text = "M00/00/00/oYYBAGsDaG6AVDJ1AAAAD-F9eSI970.log";
    assert_eq!(log.regenerated(&after), Some(name(text)));
}

#[test]
fn an_ipv6_address_lends_four_of_its_bytes() {
    let ip = "2409:8a20:42d:2f40:587a:4c47:72c0:ad8e".parse().unwrap();
    assert_eq!(SourceId::of_ip(ip), SourceId([0x58, 0x7a, 0x4c, 0x47]));
}

#[test]
fn slaves_are_named_after_their_master() {
    let master = name("M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt");
    let bare = name("M00/02/44/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042");
    let jpg = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482_100x100.jpg";
    for (of, prefix, ext, want) in [
        (&master, "_100x100", "jpg", Ok(jpg)),
        (&master, "_100x100", ".jpg", Ok(jpg)),
        (&master, "_1", "", Ok("M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482_1")),
        (&bare, "_1", "log", Ok("M00/02/44/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042_1.log")),
        (&bare, "", "", Err(BadName::Collision)),
        (&master, "", "txt", Err(BadName::Collision)),
        (&master, "-m", "", Err(BadName::Collision)),
        (&name("M00/00/00/000001"), "_1", "", Err(BadName::TooShort)),
    ] {
        let slave = of.slave(&Prefix::parse(prefix).unwrap(), &extension(ext));
        assert_eq!(slave.as_ref().map(FileName::as_str), want.as_ref().map(|t| *t), "{prefix}");
    }
    let slave = name(jpg);
    assert_eq!((slave.kind(), slave.size()), (Some(Kind::Slave), None));
    assert_eq!(slave.record(), master.record());
    let again = slave.slave(&Prefix::parse("_s").unwrap(), &extension("png")).unwrap();
    assert!(again.as_str().ends_with("482_100x100_s.png"));
}

#[test]
fn kinds_follow_length_and_bits() {
    let trunk = "M00/11/9C/wKgBaWVT8QCID-3LAAAADcRYHyQAAAAJQABAQAAAAEA482.txt";
    let plain = "M00/11/9C/wKgBaWVT8QCAEjRWAAAADcRYHyQ0123456789abcdef482.txt";
    for (text, kind, in_trunk) in [
        (trunk.to_string(), Some(Kind::Normal), true),
        (format!("{trunk}_1"), Some(Kind::Slave), false),
        (plain.to_string(), Some(Kind::Slave), false),
        ("M00/00/00/000001".to_string(), None, false),
        ("M00/00/00/????????????????????????????????.t".to_string(), None, false),
    ] {
        assert_eq!(name(&text).kind(), kind, "{text}");
        assert_eq!(name(&text).slot().is_some(), in_trunk, "{text}");
    }
}

#[test]
fn names_from_the_network_are_checked() {
    let long = format!("M00/00/00/{}", "x".repeat(118));
    for (text, want) in [
        ("M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", Ok("M00")),
        ("M0a/00/00/x", Err(BadName::BadStorePath)),
        ("M01/00/00/x", Ok("M01")),
        ("M02/00/00/x", Err(BadName::BadStorePath)),
        ("M+0/00/00/x", Err(BadName::BadStorePath)),
        ("M000/00/00/x", Err(BadName::BadStorePath)),
        ("M00/0a/00/x", Err(BadName::Malformed)),
        ("M00/0G/00/x", Err(BadName::Malformed)),
        ("M00/00/00/../../../etc/passwd", Err(BadName::Malformed)),
        ("M00/00/00/..", Err(BadName::Malformed)),
        ("M00/00/00/.", Err(BadName::Malformed)),
        ("M00/00/00/", Err(BadName::TooShort)),
        ("M00/00/00/a\0b", Err(BadName::Malformed)),
        ("M00/00/00/a b", Err(BadName::Malformed)),
        ("M00/00/00/\u{e4}", Err(BadName::Malformed)),
        ("M00/00/00/wKg-m", Ok("M00")),
        ("00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt", Ok("M00")),
        ("../../etc/passwd", Err(BadName::Malformed)),
        ("", Err(BadName::TooShort)),
        (&long, Err(BadName::TooLong)),
        (&long[..127], Ok("M00")),
        // Without `M00/`, which it gets: it has to fit with it (found by fuzzing).
        (&long[4..128], Err(BadName::TooLong)),
        (&long[4..127], Ok("M00")),
    ] {
        let path = FileName::parse(text, 2).map(|n| n.store_path().to_string());
        assert_eq!(path.as_deref().map_err(|e| *e), want, "{text}");
    }
    assert_eq!(FileName::parse("M0a/00/00/x", 256).unwrap().as_str(), "M0A/00/00/x");
    assert_eq!(FileName::parse("M00/00/00/x", 0), Err(BadName::BadStorePath));
    assert_eq!(name(&long[..126]).metadata(), None);
}

#[test]
fn a_file_id_is_a_group_and_a_name() {
    let text = "group1/M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    let id = FileId::parse(text).unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!(id.group.as_str(), "group1");
    assert_eq!(id.name.true_name(), "00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt");
    assert_eq!(id.name.file_part(), "wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt");
    assert_eq!(FileId::parse("group1"), Err(BadName::TooShort));
    assert_eq!(FileId::parse("/M00/00/00/x"), Err(BadName::BadGroup));
    assert_eq!(FileId::parse("group1/../../etc/passwd"), Err(BadName::Malformed));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_stay_inside(bytes: Vec<u8>) {
        if let Ok(name) = FileName::parse(&bytes, 256) {
            assert_eq!(name.true_name().split('/').count(), 3);
            let _ = (name.kind(), name.slot(), name.size(), name.dir());
        }
    }

    #[test]
    fn names_that_look_right_never_panic(tail in "[A-Za-z0-9._-]{0,120}") {
        if let Ok(name) = FileName::parse(format!("M00/A0/FF/{tail}"), 256) {
            let slave = name.slave(&Prefix::parse("_1").unwrap(), &Extension::NONE);
            assert!(slave.is_err() || slave != Ok(name.clone()));
            let _ = (name.kind(), name.slot(), name.size(), name.metadata());
        }
    }
}
