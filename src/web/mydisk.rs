//! `GET /api/disk/{folder}`: one page of a folder. `POST /api/disk`: makes a folder.

use serde::Deserialize;

use crate::app::{App, client, json};
use crate::authorize::{Action, Target, authorize};
use crate::db::{Cursor, Order, Page, Published, Sort};
use crate::error::WebError;
use crate::name::{NAME_RULE, Name};
use crate::notify::Event;
use crate::request::{Fields, Method, Request};
use crate::response::Response;

/// Entries of a page when the request does not say.
const PAGE_ENTRIES: u64 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    parent: Option<String>,
    name: String,
}

pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, WebError> {
    match (request.segments().as_slice(), request.method()) {
        (["api", "disk", folder], Method::Get | Method::Head) => list(app, &request, folder).await,
        (["api", "disk"], Method::Post) => make_folder(app, request).await,
        (["api", "disk", _], _) => Err(WebError::WrongMethod("GET, HEAD")),
        (["api", "disk"], _) => Err(WebError::WrongMethod("POST")),
        _ => Err(WebError::NoRoute),
    }
}

async fn list(app: &App, request: &Request, folder: &str) -> Result<Response, WebError> {
    let user = app.user(request).await?;
    let page = page(&request.query()?, app.config.limits.page_entries_max)?;
    let grant = authorize(&app.db, &user, Action::List, Target::parse(folder)?).await?;
    let (nodes, next) = app.db.list(user.id, grant.node_id(), &page).await?;
    json(
        200,
        &serde_json::json!({
            "folder": grant.node(),
            "nodes": nodes,
            "next": next.map(|cursor| cursor.print()),
        }),
    )
}

async fn make_folder(app: &App, mut request: Request) -> Result<Response, WebError> {
    let user = app.user(&request).await?;
    let form: Form = request.json(app.json_bytes_max()).await?;
    let name = Name::parse(&form.name).ok_or(WebError::InvalidName("name", NAME_RULE))?;
    let target = Target::parse(form.parent.as_deref().unwrap_or("root"))?;
    let grant = authorize(&app.db, &user, Action::AddTo, target).await?;
    let address = client(&request).to_string();
    match app.db.make_folder(user.id, grant.node_id(), &name, app.now(), &address).await? {
        Published::Done(node) => {
            app.notify.tell(user.id, &Event::files([node.parent]));
            json(201, &node)
        }
        Published::NameTaken => Err(WebError::NameTaken),
        Published::NoFolder => Err(WebError::NotFound),
        Published::NoUser => Err(WebError::Unauthenticated),
        Published::Full | Published::Gone => Err(WebError::Busy("a folder takes no space")),
    }
}

/// What the query asks for. What it does not say has a default; what it says must be sense.
fn page(query: &Fields, entries_max: u64) -> Result<Page, WebError> {
    let sort = match query.get("sort") {
        None | Some("name") => Sort::Name,
        Some("size") => Sort::Size,
        Some("modified") => Sort::Modified,
        Some(_) => return Err(WebError::Invalid("sort", "use name, size or modified")),
    };
    let order = match query.get("order") {
        None | Some("asc") => Order::Asc,
        Some("desc") => Order::Desc,
        Some(_) => return Err(WebError::Invalid("order", "use asc or desc")),
    };
    let limit = match query.get("limit") {
        None => PAGE_ENTRIES.min(entries_max),
        Some(text) => {
            let limit = text.parse().ok().filter(|n| (1..=entries_max).contains(n));
            limit.ok_or(WebError::Invalid("limit", "use a number within the limit"))?
        }
    };
    let after = match query.get("cursor") {
        None => None,
        Some(text) => {
            let cursor = Cursor::parse(text, sort, order);
            Some(cursor.ok_or(WebError::Invalid("cursor", "use `next` of the page before"))?)
        }
    };
    Ok(Page { sort, order, limit, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_wanted_or_is_refused() {
        let parse = |text: &str| page(&Fields::parse(text.as_bytes()).unwrap(), 1000);
        let plain = parse("").unwrap();
        assert_eq!((plain.sort, plain.order, plain.limit), (Sort::Name, Order::Asc, 200));
        let full = parse("sort=modified&order=desc&limit=1000").unwrap();
        assert_eq!((full.sort, full.order, full.limit), (Sort::Modified, Order::Desc, 1000));
        let wrong =
            ["sort=owner", "order=up", "limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=7b"];
        for text in wrong {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
