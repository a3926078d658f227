//! Small pictures: every format, turned as the camera says, for those alone who may see the file;
//! pictures that want too much, broken ones, and servers that are away.

use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::database;
use crate::drive;
use crate::person::{Person, code};
use crate::support::http::Answer;
use crate::support::stack::{Stack, bin_dir};
use crate::support::wait::eventually;

const RED: [u8; 3] = [220, 20, 20];
const GREY: [u8; 3] = [120, 120, 120];
/// Longer than daemons need to come back on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Grey, with a red quarter at the top left.
fn picture(width: u32, height: u32) -> DynamicImage {
    let colour = |x, y| if x < width / 2 && y < height / 2 { RED } else { GREY };
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y))))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn small(person: &Person<'_>, id: &str, size: &str) -> Answer {
    person.get(&format!("/api/thumb/{id}?size={size}"))
}

/// The picture of an answer that must hold one, and must be safe to keep and to show.
fn shown(answer: &Answer) -> RgbImage {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    assert_eq!(answer.header("cache-control"), Some("private, max-age=600"));
    assert_eq!(answer.header("vary"), Some("Cookie"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
    image::load_from_memory_with_format(&answer.body, ImageFormat::Jpeg).unwrap().to_rgb8()
}

fn none(answer: &Answer) {
    assert_eq!((answer.status, code(answer).as_str()), (404, "no_thumbnail"));
}

/// Which corners are red: top left, top right, bottom left, bottom right.
fn red_corners(picture: &RgbImage) -> [bool; 4] {
    let (right, bottom) = (picture.width() * 7 / 8, picture.height() * 7 / 8);
    let (left, top) = (picture.width() / 8, picture.height() / 8);
    [(left, top), (right, top), (left, bottom), (right, bottom)].map(|(x, y)| {
        let Rgb([r, g, _]) = *picture.get_pixel(x, y);
        180 < r && g < 80
    })
}

/// What nginx asks Memcached for.
fn key(drive: &Stack, node: &str, size: &str) -> String {
    let sql = format!(
        "SELECT b.file_id FROM node n JOIN `blob` b ON b.id = n.blob_id WHERE n.id = {node}"
    );
    format!("/_thumb/{size}/{}", database::query::<String>(drive, &sql)[0])
}

/// What Memcached has under a key.
fn kept(drive: &Stack, key: &str) -> Option<Vec<u8>> {
    let mut stream = UnixStream::connect(drive.run.join("memcached.sock")).unwrap();
    stream.write_all(format!("get {key}\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let len = line.strip_prefix("VALUE ")?.trim_end().rsplit(' ').next()?.parse().unwrap();
    let mut value = vec![0; len];
    reader.read_exact(&mut value).unwrap();
    Some(value)
}

#[test]
fn every_format_becomes_small_in_every_size() {
    let owner = Person::sign_up(drive(), "formats");
    let formats = [
        ("p.png", ImageFormat::Png),
        ("p.jpg", ImageFormat::Jpeg),
        ("p.gif", ImageFormat::Gif),
        ("p.webp", ImageFormat::WebP),
        ("p.bmp", ImageFormat::Bmp),
    ];
    for (name, format) in formats {
        let id = owner.make_file(name, &encoded(&picture(1400, 700), format));
        for (size, longer) in [("small", 128), ("medium", 320), ("large", 1280)] {
            let first = small(&owner, &id, size);
            let made = shown(&first);
            assert_eq!(made.dimensions(), (longer, longer / 2), "{name} {size}");
            assert_eq!(red_corners(&made), [true, false, false, false], "{name} {size}");
            // The next comes from Memcached.
            let kept = kept(drive(), &key(drive(), &id, size));
            assert_eq!(kept.as_ref(), Some(&first.body), "{name} {size}");
            assert_eq!(small(&owner, &id, size).body, first.body);
        }
        assert_eq!(shown(&owner.get(&format!("/api/thumb/{id}"))).width(), 320, "the default");
        let head = owner.ask("HEAD", &format!("/api/thumb/{id}"), &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    let tiny = owner.make_file("tiny.png", &encoded(&picture(8, 20), ImageFormat::Png));
    assert_eq!(shown(&small(&owner, &tiny, "large")).dimensions(), (8, 20), "nothing grows");
    database::check(drive());
}

/// A JPEG with an EXIF segment that says how the camera was held.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\
        \x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0"
        .to_vec();
    exif[28] = orientation;
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn pictures_are_upright_however_the_camera_was_held() {
    let owner = Person::sign_up(drive(), "turned");
    let jpeg = encoded(&picture(640, 320), ImageFormat::Jpeg);
    // Where the corner that was recorded first is seen (EXIF 2.32, tag 274).
    let corners = [0, 1, 3, 2, 0, 1, 3, 2];
    for (orientation, corner) in (1u8..).zip(corners) {
        let id = owner.make_file(&format!("{orientation}.jpg"), &turned(&jpeg, orientation));
        let made = shown(&small(&owner, &id, "small"));
        let upright = if orientation < 5 { (128, 64) } else { (64, 128) };
        assert_eq!(made.dimensions(), upright, "{orientation}");
        let mut want = [false; 4];
        want[corner] = true;
        assert_eq!(red_corners(&made), want, "{orientation}");
    }
}

/// A PNG that claims to be large; its checksums are right.
fn claims(width: u32, height: u32, bits: u8, colour: u8) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[bits, colour, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let sum = crc32fast::hash(&header);
    file.extend_from_slice(&header);
    file.extend_from_slice(&sum.to_be_bytes());
    // The beginning of pixels that would be all there is, were the claim believed.
    let data = b"IDAT\x78\x9c\x03\0\0\0\0\x01";
    file.extend_from_slice(&8u32.to_be_bytes());
    file.extend_from_slice(data);
    file.extend_from_slice(&crc32fast::hash(data).to_be_bytes());
    file
}

#[test]
fn bombs_and_broken_pictures_are_refused_and_remembered() {
    let owner = Person::sign_up(drive(), "bombs");
    let gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\0;";
    let png = encoded(&picture(64, 64), ImageFormat::Png);
    let webp = encoded(&picture(64, 64), ImageFormat::WebP);
    let bad: [(&str, Vec<u8>); 8] = [
        ("huge.png", claims(65_535, 65_535, 8, 6)),
        ("wide.png", claims(1 << 31, 1, 8, 2)),
        ("deep.png", claims(9_999, 9_999, 16, 6)), // 100 million pixels of 8 bytes
        ("huge.gif", gif.to_vec()),
        ("cut.png", png[..png.len() / 2].to_vec()),
        ("cut.webp", webp[..webp.len() / 2].to_vec()),
        ("text.png", b"no picture at all".to_vec()),
        ("drawn.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec()),
    ];
    for (name, bytes) in bad {
        let id = owner.make_file(name, &bytes);
        for size in ["small", "small", "large"] {
            none(&small(&owner, &id, size));
        }
        assert!(owner.download(&id) == bytes, "{name}: the file itself is as it was");
    }
    // A good one is made all the same.
    let id = owner.make_file("good.png", &png);
    shown(&small(&owner, &id, "small"));
    assert_eq!(small(&owner, &id, "huge").status, 400);
}

/// The decoder by itself, in 256 MiB of memory: its exit code.
fn decode(arg: &str, input: &[u8]) -> Option<i32> {
    let program = bin_dir().join("thumbnail");
    let mut child = Command::new("prlimit")
        .args(["--as=268435456", "--cpu=10", "--core=0", "--"])
        .arg(program)
        .arg(arg)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may have seen enough before all is written.
    let _closed = child.stdin.take().unwrap().write_all(input);
    child.wait().unwrap().code()
}

#[test]
fn the_decoder_refuses_a_bomb_before_it_takes_memory_for_it() {
    // Within 256 MiB neither would end with 1 if its pixels were asked for: it would be killed.
    assert_eq!(decode("128", &claims(30_000, 30_000, 8, 6)), Some(1));
    assert_eq!(decode("128", &claims(9_999, 9_999, 16, 6)), Some(1));
    assert_eq!(decode("128", b""), Some(1));
    assert_eq!(decode("128", &encoded(&picture(64, 64), ImageFormat::Png)), Some(0));
    for wrong in ["", "0", "15", "99999", "-1", "x"] {
        assert_eq!(decode(wrong, b""), Some(2), "{wrong:?}");
    }
}

#[test]
fn only_who_may_see_a_file_sees_its_picture_also_when_it_is_kept() {
    let owner = Person::sign_up(drive(), "pictures");
    let stranger = Person::sign_up(drive(), "pictures");
    let nobody = Person::nobody(drive());
    let png = encoded(&picture(400, 400), ImageFormat::Png);
    let (mine, outside) = (owner.make_file("p.png", &png), owner.make_file("o.png", &png));
    shown(&small(&owner, &mine, "small"));
    assert!(kept(drive(), &key(drive(), &mine, "small")).is_some());
    assert_eq!(small(&stranger, &mine, "small").status, 404);
    assert_eq!(small(&nobody, &mine, "small").status, 401);
    // Whoever stored the same content has a right to its picture, and to no other's node.
    let same = stranger.make_file("s.png", &png);
    assert_eq!(shown(&small(&stranger, &same, "small")).dimensions(), (128, 128));
    assert_eq!(small(&owner, &same, "small").status, 404);
    // Nobody gets to where pictures are kept from outside.
    for path in [key(drive(), &mine, "small"), "/_thumb/".to_owned()] {
        assert_eq!(owner.drive.ask("GET", &path, &[("Cookie", &owner.cookie)], b"").status, 404);
    }
    let headers = [("THUMB_PLACE", "x"), ("Thumb-Place", "/_thumb/small/x")];
    assert_eq!(nobody.ask("GET", &format!("/api/thumb/{mine}"), &headers, b"").status, 401);

    let form = json!({"nodes": [mine], "code": "abcd1234"});
    let made = owner.post("/api/shares", &form);
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let at = |node: &str| format!("/api/share/{id}/thumb/{node}?size=small");
    let answer = nobody.get(&at(&mine));
    assert_eq!((answer.status, code(&answer).as_str()), (403, "code_required"));
    let opened = nobody.post(&format!("/api/share/{id}/open"), &json!({"code": "abcd1234"}));
    assert_eq!(opened.status, 204);
    let pass = opened.cookie(&format!("share-{id}")).unwrap();
    let cookie = format!("share-{id}={pass}");
    let visitor = Person { cookie, ..Person::nobody(drive()) };
    shown(&visitor.get(&at(&mine)));
    assert_eq!(visitor.get(&at(&outside)).status, 404, "not shared");
    let shares = |owner: &Person<'_>| owner.get(&format!("/api/shares/{id}")).json();
    assert_eq!(shares(&owner)["downloads"], json!(0), "a picture is no download");
    assert_eq!(owner.ask("DELETE", &format!("/api/shares/{id}"), &[], b"").status, 204);
    assert_eq!(visitor.get(&at(&mine)).status, 410);

    assert_eq!(owner.ask("DELETE", &format!("/api/disk/{mine}"), &[], b"").status, 204);
    assert_eq!(small(&owner, &mine, "small").status, 404, "in the trash");
    let admin = crate::admin::admin(drive());
    let headers = [("Content-Type", "application/json")];
    let path = format!("/api/admin/users/{}", owner.id);
    let disabled = admin.ask("PATCH", &path, &headers, br#"{"disabled":true}"#);
    assert_eq!(disabled.status, 200);
    assert_eq!(small(&owner, &outside, "small").status, 401);
}

/// Sends a signal to the processes of a service.
fn signal(drive: &Stack, service: &str, name: &str) {
    let pids = std::fs::read_to_string(drive.run.join("pid").join(service)).unwrap();
    for pid in pids.lines().filter_map(|line| line.split(' ').next()) {
        assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
    }
}

#[test]
fn pictures_are_made_without_memcached_and_come_back_after_the_store_was_away() {
    let drive = Stack::start(&[]);
    let owner = Person::sign_up(&drive, "away");
    let files: Vec<String> = (0..5)
        .map(|n| {
            let png = encoded(&picture(300 + n, 300), ImageFormat::Png);
            owner.make_file(&format!("{n}.png"), &png)
        })
        .collect();
    shown(&small(&owner, &files[0], "small"));

    // Memcached does not answer, then is gone.
    signal(&drive, "memcached", "-STOP");
    shown(&small(&owner, &files[0], "small"));
    signal(&drive, "memcached", "-CONT");
    drive.kill("memcached");
    shown(&small(&owner, &files[0], "small"));
    shown(&small(&owner, &files[1], "small"));
    drive.control("start");
    eventually("it is kept again", BACK_WITHIN, || {
        shown(&small(&owner, &files[1], "small"));
        kept(&drive, &key(&drive, &files[1], "small"))
    });

    // What Memcached has is shown without the store; what it has not is for later, and no failure
    // is remembered.
    for (what, file) in [("storage", &files[2]), ("tracker", &files[3])] {
        drive.kill(what);
        shown(&small(&owner, &files[1], "small"));
        let answer = small(&owner, file, "small");
        assert_eq!((answer.status, code(&answer).as_str()), (503, "unavailable"), "{what}");
        assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()));
        drive.control("start");
        eventually(what, BACK_WITHIN, || {
            (small(&owner, file, "small").status == 200).then_some(())
        });
    }

    // Without the worker a share still shows what is kept, and says in JSON that the rest is away.
    let made = owner.post("/api/shares", &json!({"nodes": files}));
    let share = made.json()["id"].as_str().unwrap().to_owned();
    drive.kill("thumb");
    let visit = |node: &str| {
        let path = format!("/api/share/{share}/thumb/{node}?size=small");
        drive.ask("GET", &path, &[], b"")
    };
    shown(&visit(&files[1]));
    let own = format!("/api/thumb/{}", files[4]);
    for answer in [visit(&files[4]), drive.ask("GET", &own, &[("Cookie", &owner.cookie)], b"")] {
        let error: Value = answer.json()["error"]["code"].take();
        assert_eq!((answer.status, error), (502, json!("unavailable")));
        assert!(answer.header("retry-after").is_some());
    }
    drive.control("start");
    shown(&visit(&files[4]));
    database::check(&drive);
}
