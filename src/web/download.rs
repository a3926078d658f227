//! `GET /api/download/{node}`: decides whether and how, then hands over to nginx, which sends
//! the bytes through the storage module. No byte of a file passes here.

use crate::app::App;
use crate::authorize::{Action, Target, authorize};
use crate::error::WebError;
use crate::media::inline_type;
use crate::request::{Method, Request};
use crate::response::Response;

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "download", node], Method::Get | Method::Head) => {
            download(app, &request, node).await
        }
        (["api", "download", _], _) => Err(WebError::WrongMethod("GET, HEAD")),
        _ => Err(WebError::NoRoute),
    }
}

async fn download(app: &App, request: &Request, node: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let inline = match request.query()?.get("inline") {
        None | Some("0") => false,
        Some("1") => true,
        Some(_) => return Err(WebError::Invalid("inline", "use 0 or 1")),
    };
    let grant = authorize(&app.db, &user, Action::Read, Target::parse(node)?).await?;
    let (node, file_id) = grant.file().ok_or(WebError::NotFound)?;
    let stored = node.media_type.as_deref().unwrap_or_default();
    let shown = inline_type(stored).filter(|_| inline);
    // What must be saved is not even named as something that could be opened.
    let media_type = shown.unwrap_or("application/octet-stream");
    let kind = if shown.is_some() { "inline" } else { "attachment" };
    Ok(Response::empty(200)
        .with_header("content-type", media_type)?
        .with_header("content-disposition", disposition(kind, &node.name))?
        .with_header("cache-control", "private, no-cache")?
        .with_header("x-content-type-options", "nosniff")?
        .with_header("content-security-policy", "sandbox; default-src 'none'")?
        .with_header("x-accel-redirect", format!("/{file_id}"))?)
}

/// RFC 6266: a name in ASCII for old clients, and the name itself in the form of RFC 8187.
fn disposition(kind: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\' | '%');
    let fallback: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut exact = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_header() {
        let cases = [
            ("a.txt", "a.txt", "a.txt"),
            ("a b\".txt", "a b_.txt", "a%20b%22.txt"),
            ("é%41'*;.txt", "__41'*;.txt", "%C3%A9%2541%27%2A%3B.txt"),
            ("照.png", "_.png", "%E7%85%A7.png"),
        ];
        for (name, fallback, exact) in cases {
            let want = format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{exact}");
            assert_eq!(disposition("attachment", name), want);
        }
    }
}
