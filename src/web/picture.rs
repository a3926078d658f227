//! Small pictures of files as answers: nginx asks Memcached, and the worker `thumb` on a miss.
//!
//! Used by `thumb` and `share` behind the gate. The address that nginx is sent to names the stored
//! content and the size, so a picture is made once for all who may see it; nobody else can ask
//! for that address.

use crate::authorize::Grant;
use crate::error::WebError;
use crate::request::Fields;
use crate::response::Response;

/// Where nginx looks: `/_thumb/<size>/<file id>`.
pub(crate) const PLACE: &str = "/_thumb/";

/// For so long a browser shows a picture without asking again.
pub(crate) const CACHE: &str = "private, max-age=600";

/// How large a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    pub(crate) fn asked(query: &Fields) -> Result<Self, WebError> {
        let word = query.get("size").unwrap_or("medium");
        Self::parse(word).ok_or(WebError::Invalid("size", "use small, medium or large"))
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Small, Self::Medium, Self::Large].into_iter().find(|size| size.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Pixels of the longer side.
    pub(crate) fn pixels(self) -> u32 {
        match self {
            Self::Small => 128,
            Self::Medium => 320,
            Self::Large => 1280,
        }
    }
}

/// Whether a picture may be made of a content at all.
pub(crate) fn has_picture(media_type: &str) -> bool {
    matches!(media_type, "image/jpeg" | "image/png" | "image/gif" | "image/webp" | "image/bmp")
}

/// The answer that nginx turns into the picture.
pub(crate) fn answer(grant: &Grant, size: Size) -> Result<Response, WebError> {
    let (node, file_id) = grant.file().ok_or(WebError::NotFound)?;
    if !has_picture(node.media_type.as_deref().unwrap_or_default()) {
        return Err(WebError::NoThumbnail);
    }
    Ok(Response::empty(200)
        .with_header("content-type", "image/jpeg")?
        .with_header("cache-control", CACHE)?
        .with_header("x-accel-redirect", format!("{PLACE}{}/{file_id}", size.word()))?)
}

/// The size and the file id of such an address.
pub(crate) fn wanted(place: &str) -> Option<(Size, &str)> {
    let (word, file_id) = place.strip_prefix(PLACE)?.split_once('/')?;
    Some((Size::parse(word)?, file_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_wanted() {
        let wanted_size = wanted("/_thumb/large/group1/M00/00/00/x.jpg");
        assert_eq!(wanted_size, Some((Size::Large, "group1/M00/00/00/x.jpg")));
        for wrong in ["", "/_thumb/", "/_thumb/huge/x", "/api/thumb/1", "/_thumb/large"] {
            assert_eq!(wanted(wrong), None, "{wrong}");
        }
    }
}
