//! The program `thumbnail`: one picture on standard input, a small JPEG of it on standard output.
//!
//! Started by the worker `thumb` for each picture, in a cage of limits. Opens no file and no
//! connection. Bounds what a picture claims to be before it takes memory for it.

use std::ffi::OsString;
use std::io::{Cursor, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits, Rgb, RgbImage};

/// Bytes that are read at all.
const SOURCE_BYTES_MAX: u64 = 256 << 20;
/// Pixels of one side, and of all of a picture.
const SIDE_PIXELS_MAX: u32 = 30_000;
const PIXELS_MAX: u64 = 100_000_000;
/// Bytes that decoding may take.
const DECODE_BYTES_MAX: u64 = 512 << 20;
const QUALITY: u8 = 80;

/// The program: `thumbnail PIXELS`. Exits with 1 if no picture can be made, 2 if used wrongly.
pub fn thumbnail(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let pixels = args.into_iter().nth(1).and_then(|arg| arg.to_str()?.parse().ok());
    let Some(pixels) = pixels.filter(|pixels| (16..=4096).contains(pixels)) else {
        return ExitCode::from(2);
    };
    let mut source = Vec::new();
    let read = std::io::stdin().take(SOURCE_BYTES_MAX).read_to_end(&mut source);
    let made = read.context("read").and_then(|_| shrink(&source, pixels));
    let written = made.and_then(|picture| Ok(std::io::stdout().write_all(&picture)?));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A JPEG of at most `pixels` by `pixels`, upright.
fn shrink(source: &[u8], pixels: u32) -> anyhow::Result<Vec<u8>> {
    let mut reader = ImageReader::new(Cursor::new(source)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_PIXELS_MAX);
    limits.max_image_height = Some(SIDE_PIXELS_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let all = u64::from(width).saturating_mul(u64::from(height));
    anyhow::ensure!(0 < all && all <= PIXELS_MAX, "{width} by {height} pixels");
    let bytes = decoder.total_bytes();
    anyhow::ensure!(bytes <= DECODE_BYTES_MAX, "{width} by {height} pixels are {bytes} bytes");
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if pixels < picture.width() || pixels < picture.height() {
        picture = picture.thumbnail(pixels, pixels);
    }
    picture.apply_orientation(orientation);
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, QUALITY).encode_image(&on_white(&picture))?;
    Ok(out)
}

/// What is transparent becomes white.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let from = picture.to_rgba8();
    RgbImage::from_fn(from.width(), from.height(), |x, y| {
        let [r, g, b, alpha] = from.get_pixel(x, y).0;
        let mix = |colour: u8| {
            let (colour, alpha) = (u32::from(colour), u32::from(alpha));
            let mixed = (colour * alpha + 255 * (255 - alpha)) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        Rgb([mix(r), mix(g), mix(b)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    fn size(jpeg: &[u8]) -> (u32, u32) {
        let picture = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).unwrap();
        (picture.width(), picture.height())
    }

    #[test]
    fn pictures_shrink_to_their_longer_side_and_never_grow() {
        let picture = DynamicImage::ImageRgba8(RgbaImage::from_pixel(600, 300, Rgba([9, 8, 7, 0])));
        for format in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
            let small = shrink(&encoded(&picture, format), 128).unwrap();
            assert_eq!(size(&small), (128, 64), "{format:?}");
        }
        let png = encoded(&picture, ImageFormat::Png);
        assert_eq!(size(&shrink(&png, 4096).unwrap()), (600, 300));
        let white = image::load_from_memory(&shrink(&png, 128).unwrap()).unwrap().to_rgb8();
        assert!(white.get_pixel(5, 5).0.iter().all(|c| 250 < *c));
    }

    #[test]
    fn a_picture_is_turned_as_its_camera_says() {
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(64, 32, Rgb([200, 0, 0])));
        let jpeg = encoded(&picture, ImageFormat::Jpeg);
        // An EXIF segment that says: turned by 90 degrees (orientation 6).
        let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\
            \x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
        assert_eq!(size(&shrink(&jpeg, 32).unwrap()), (32, 16));
        assert_eq!(size(&shrink(&turned, 32).unwrap()), (16, 32));
    }

    #[test]
    fn what_claims_too_much_or_is_no_picture_is_refused() {
        let picture = DynamicImage::ImageRgb8(RgbImage::new(8, 8));
        let mut png = encoded(&picture, ImageFormat::Png);
        for cut in 0..png.len() - 12 {
            assert!(shrink(&png[..cut], 64).is_err(), "{cut}");
        }
        // A header of 4 billion by 4 billion pixels.
        png[16..24].copy_from_slice(&[0xff; 8]);
        assert!(shrink(&png, 64).is_err());
        for wrong in [&b""[..], b"<svg/>", b"\xff\xd8\xff", b"GIF89a"] {
            assert!(shrink(wrong, 64).is_err());
        }
    }
}
