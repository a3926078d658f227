//! The worked examples of http.md 14.3, and that nothing about a strong link can be changed.

use alloc::borrow::ToOwned as _;

use super::*;

const SECRET: &[u8] = b"FastDFS1234567890";
const NAME: &str = "M00/00/00/Ck0AAWsDZOiASVnZAAAEALcLTCY514.jpg";
const FILE: &str = "group1/M00/00/00/Ck0AAWsDZOiASVnZAAAEALcLTCY514.jpg";

#[test]
fn the_tokens_of_the_specification() {
    for (path, ts, token) in [
        (NAME, 1_700_000_000, "cc11a0cf22e0613f197bb43525479102"),
        (NAME, 0, "0257fd34e9550a58333b6063cc62fe46"),
        (
            "M00/00/00/Ck0AAWsDZOiASVnZAAAEALcLTCY514_big.jpg",
            1_700_000_000,
            "7d2f8df523909bb8983ed9314a422590",
        ),
        (
            "M01/0A/FF/Ck0AAWsDZOiASVnZAAAEALcLTCY514.jpg",
            1_700_000_000,
            "62e970b59471fa32b7a503761101bb78",
        ),
        (FILE, 1_700_000_000, "2d4c13f7ddc9f3885244832510b9c7e4"),
    ] {
        assert_eq!(md5_token(path.as_bytes(), SECRET, ts), token.as_bytes(), "{path} {ts}");
    }
}

#[test]
fn md5_tokens_are_checked_as_by_the_c_module() {
    let good = "token=cc11a0cf22e0613f197bb43525479102";
    let forever = "token=0257fd34e9550a58333b6063cc62fe46";
    for (query, now, outcome) in [
        (format!("{good}&ts=1700000000"), 1_700_000_600, Ok(Some(1_700_000_600))),
        (format!("{good}&ts=1700000000"), 1_700_000_601, Err(Refusal::Expired)),
        (format!("{good}&ts=1700000000"), 1_600_000_000, Ok(Some(1_700_000_600))), // of the future
        (format!("a=b&ts=1700000000abc&{good}"), 1_700_000_000, Ok(Some(1_700_000_600))), // atoi
        (format!("{good}&ts=1700000001"), 1_700_000_000, Err(Refusal::Wrong)),
        (format!("{forever}&ts=0"), u64::MAX, Ok(None)),
        (format!("{forever}&ts=never"), u64::MAX, Ok(None)), // also 0
        (format!("{forever}&ts=99999999999999999999"), 5, Ok(None)), // undefined in C: 0 here
        (forever.to_owned(), 0, Err(Refusal::Missing)),
        ("ts=0".to_owned(), 0, Err(Refusal::Missing)),
        ("token=0257FD34E9550A58333B6063CC62FE46&ts=0".to_owned(), 0, Err(Refusal::Wrong)),
        ("token=&ts=0".to_owned(), 0, Err(Refusal::Wrong)),
        ("token=2d4c13f7ddc9f3885244832510b9c7e4&ts=1700000000".to_owned(), 0, Err(Refusal::Wrong)),
    ] {
        let query = Query::new(query.as_bytes());
        assert_eq!(verify_md5(NAME.as_bytes(), SECRET, 600, query, now), outcome, "{query:?}");
    }
}

fn key(name: &str) -> Key {
    Key::new(name, format!("{name} is sixteen bytes").as_bytes()).unwrap()
}

fn full() -> Link<'static> {
    Link {
        expires: 1000,
        inline: true,
        media_type: Some("image/png".into()),
        filename: Some("照 & \"片\"\r\n.png".as_bytes().into()),
        client: Some("10.0.0.9".parse().unwrap()),
    }
}

#[test]
fn a_strong_link_is_frozen() {
    // Computed with another implementation: python3, hmac and hashlib.
    let signed = Link::until(1_700_000_000).sign(&key("2026a"), FILE);
    assert_eq!(signed, "k=2026a&e=1700000000&s=qjHzWchIHE26hUA-felZOU3oU7BqC-yu89oRToZKp5g");
}

#[test]
fn what_was_signed_is_granted_until_it_expires() {
    let keys = [key("old"), key("new")];
    let here = Some("10.0.0.9".parse().unwrap());
    for link in [full(), Link::until(1000), Link { client: None, ..full() }] {
        for key in &keys {
            let query = link.sign(key, FILE);
            let check = |now| verify_link(&keys, FILE, Query::new(query.as_bytes()), now, here);
            assert_eq!(check(1000).as_ref(), Ok(&link));
            assert_eq!(check(1001), Err(Refusal::Expired));
        }
    }
    let query = full().sign(&key("old"), FILE);
    assert!(is_link(Query::new(query.as_bytes())) && !is_link(Query::new(b"s=1&e=2")));
    let mapped = Some("::ffff:10.0.0.9".parse().unwrap());
    assert!(verify_link(&keys, FILE, Query::new(query.as_bytes()), 0, mapped).is_ok());
}

#[test]
fn nothing_about_a_link_can_be_changed() {
    let keys = [key("old"), key("new")];
    let here: Option<IpAddr> = Some("10.0.0.9".parse().unwrap());
    let elsewhere = Some("10.0.0.8".parse().unwrap());
    let query = full().sign(&key("new"), FILE);
    let check = |file: &str, text: &str, client| {
        verify_link(&keys, file, Query::new(text.as_bytes()), 0, client).map(|_| ())
    };
    assert_eq!(check(FILE, &query, here), Ok(()));
    assert_eq!(check(&FILE.replace('1', "2"), &query, here), Err(Refusal::Wrong));
    assert_eq!(check(FILE, &query, elsewhere), Err(Refusal::Wrong));
    assert_eq!(check(FILE, &query, None), Err(Refusal::Wrong));
    for (from, to, refusal) in [
        ("k=new", "k=old", Refusal::Wrong),
        ("k=new", "k=none", Refusal::UnknownKey),
        ("k=new&", "", Refusal::Missing),
        ("e=1000", "e=1001", Refusal::Wrong),
        ("e=1000", "e=+1000", Refusal::Malformed),
        ("e=1000&", "", Refusal::Malformed),
        ("inline=1&", "", Refusal::Wrong),
        ("inline=1", "inline=2", Refusal::Malformed),
        ("image", "text", Refusal::Wrong),
        ("type=image%2Fpng", "type=image%2Fpng%0d%0aX:", Refusal::Malformed),
        ("type=image%2Fpng&", "", Refusal::Wrong),
        ("&b=1", "", Refusal::Wrong),
        (".png", ".exe", Refusal::Wrong),
        ("&s=", "&s=A", Refusal::Malformed),
        ("&s=", "&t=", Refusal::Missing),
    ] {
        let changed = query.replacen(from, to, 1);
        assert_ne!(changed, query, "{from}");
        assert_eq!(check(FILE, &changed, here), Err(refusal), "{from} -> {to}");
    }
    // No field can be moved into another one.
    let name = Link { filename: Some(b"a"[..].into()), ..Link::until(1) }.sign(&key("new"), FILE);
    let moved = name.replace("filename=a", "type=a/a");
    assert_eq!(check(FILE, &moved, here), Err(Refusal::Wrong));
}

#[test]
fn keys_need_a_name_and_enough_of_a_secret() {
    for (name, secret, good) in [
        ("a", &b"0123456789abcdef"[..], true),
        ("a", b"0123456789abcde", false),
        ("", b"0123456789abcdef", false),
        ("a b", b"0123456789abcdef", false),
        ("0123456789abcdef", b"0123456789abcdef", true),
        ("0123456789abcdefg", b"0123456789abcdef", false),
    ] {
        assert_eq!(Key::new(name, secret).is_some(), good, "{name}");
    }
    assert_eq!(format!("{:?}", key("a")), "Key(\"a\")");
}

#[test]
fn a_hop_is_passed_once_and_not_for_ever() {
    let keys = [key("old"), key("new")];
    let pass = sign_hop(&key("new"), FILE, 1000);
    let check = |file, pass: &str, now| verify_hop(&keys, file, pass.as_bytes(), now);
    assert!(check(FILE, &pass, 1000) && check(FILE, &pass, 1300) && check(FILE, &pass, 900));
    assert!(!check(FILE, &pass, 1301) && !check(FILE, &pass, 600));
    assert!(!check("group1/M00/00/00/other", &pass, 1000));
    assert!(!check(FILE, &pass.replace("new", "old"), 1000));
    for pass in ["", "1", "1 new", "1 new 1300", "1 new x y", "1 none 1300 "] {
        assert!(!check(FILE, pass, 1000), "{pass}");
    }
}

#[test]
fn a_link_says_how_to_save() {
    assert_eq!(Link::until(1).disposition(), None);
    let inline = Link { inline: true, ..Link::until(1) };
    assert_eq!(inline.disposition().as_deref(), Some("inline"));
    let named = Link { filename: Some(b"a.txt"[..].into()), ..Link::until(1) };
    let want = "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt";
    assert_eq!(named.disposition().as_deref(), Some(want));
}

proptest::proptest! {
    #[test]
    fn arbitrary_queries_never_panic_and_are_never_granted(bytes: Vec<u8>) {
        let query = Query::new(&bytes);
        assert!(verify_link(&[key("a")], FILE, query, 0, None).is_err());
        assert!(verify_md5(NAME.as_bytes(), SECRET, 1, query, 0).is_err());
        assert!(!verify_hop(&[key("a")], FILE, &bytes, 0));
    }
}
