//! Shares: links to files and folders for people without an account, saved into one's own disk by
//! people with one.
//!
//! `/api/shares` is what owners make and what is public; `/api/share/{id}` is what a visitor sees.
//! Every visitor's request looks the share up anew: one that is stopped, has expired or is used up
//! is over at once, on every route.

mod entrance; // whether a visitor may enter
mod owner; // making, editing, stopping
mod public; // the public list and the ranking
mod save; // into one's own disk
mod visitor; // looking, downloading, reporting

use std::sync::Arc;

use crate::app::App;
use crate::error::WebError;
use crate::request::{Method, Request};
use crate::response::Response;

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    let segments: Vec<String> = request.segments().into_iter().map(str::to_owned).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["api", "shares", rest @ ..] => shares(app, request, rest).await,
        ["api", "share", id, rest @ ..] => visit(app, request, id, rest).await,
        _ => Err(WebError::NoRoute),
    }
}

async fn shares(app: &App, request: Request, rest: &[&str]) -> Result<Response, WebError> {
    match (rest, request.method()) {
        ([], Method::Post) => owner::create(app, request).await,
        ([], Method::Get | Method::Head) => owner::list(app, &request).await,
        (["public"], Method::Get | Method::Head) => public::newest(app, &request).await,
        (["ranking"], Method::Get | Method::Head) => public::ranking(app, &request).await,
        (["public" | "ranking"], _) => Err(WebError::WrongMethod("GET, HEAD")),
        ([id], Method::Get | Method::Head) => owner::show(app, &request, id).await,
        ([id], Method::Patch) => owner::change(app, request, id).await,
        ([id], Method::Delete) => owner::stop(app, &request, id).await,
        ([], _) => Err(WebError::WrongMethod("GET, HEAD, POST")),
        ([_], _) => Err(WebError::WrongMethod("GET, HEAD, PATCH, DELETE")),
        _ => Err(WebError::NoRoute),
    }
}

async fn visit(
    app: &Arc<App>,
    request: Request,
    id: &str,
    rest: &[&str],
) -> Result<Response, WebError> {
    let reads = matches!(request.method(), Method::Get | Method::Head);
    match (rest, request.method()) {
        ([], _) if reads => visitor::look(app, &request, id).await,
        (["nodes"], _) if reads => visitor::list(app, &request, id, None).await,
        (["nodes", folder], _) if reads => visitor::list(app, &request, id, Some(folder)).await,
        (["download", node], _) if reads => visitor::download(app, &request, id, node).await,
        (["thumb", node], _) if reads => visitor::thumb(app, &request, id, node).await,
        (["zip"], Method::Get) => visitor::zip(app, &request, id).await,
        (["open"], Method::Post) => entrance::open(app, request, id).await,
        (["save"], Method::Post) => save::save(app, request, id).await,
        (["report"], Method::Post) => visitor::report(app, request, id).await,
        (["zip"], _) => Err(WebError::WrongMethod("GET")),
        (["open" | "save" | "report"], _) => Err(WebError::WrongMethod("POST")),
        ([] | ["nodes"] | ["nodes" | "download" | "thumb", _], _) => {
            Err(WebError::WrongMethod("GET, HEAD"))
        }
        _ => Err(WebError::NoRoute),
    }
}
