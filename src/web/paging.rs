//! What a query says about a page: how many, in which order, after which.
//!
//! Used by every handler that lists. What a query does not say has a default; what it says must be
//! sense.

use crate::db::{Cursor, Order, Page, Sort, TimeCursor};
use crate::error::WebError;
use crate::ids::NodeId;
use crate::request::Fields;

/// Entries of a page when the request does not say.
const PAGE_ENTRIES: u64 = 200;

/// What a cursor that is none is answered with.
pub(crate) const BAD_CURSOR: WebError =
    WebError::Invalid("cursor", "use `next` of the page before");

/// A page of a folder.
pub(crate) fn folder(query: &Fields, entries_max: u64) -> Result<Page, WebError> {
    let sort = match query.get("sort") {
        None | Some("name") => Sort::Name,
        Some("size") => Sort::Size,
        Some("modified") => Sort::Modified,
        Some("type") => Sort::Type,
        Some(_) => return Err(WebError::Invalid("sort", "use name, size, modified or type")),
    };
    let order = order(query, Order::Asc)?;
    let limit = limit(query, entries_max)?;
    let after = match query.get("cursor") {
        None => None,
        Some(text) => Some(Cursor::parse(text, sort, order).ok_or(BAD_CURSOR)?),
    };
    Ok(Page { sort, order, limit, after })
}

pub(crate) fn order(query: &Fields, default: Order) -> Result<Order, WebError> {
    match query.get("order") {
        None => Ok(default),
        Some("asc") => Ok(Order::Asc),
        Some("desc") => Ok(Order::Desc),
        Some(_) => Err(WebError::Invalid("order", "use asc or desc")),
    }
}

pub(crate) fn limit(query: &Fields, entries_max: u64) -> Result<u64, WebError> {
    limit_of(query, PAGE_ENTRIES.min(entries_max), entries_max)
}

pub(crate) fn limit_of(query: &Fields, default: u64, max: u64) -> Result<u64, WebError> {
    let Some(text) = query.get("limit") else { return Ok(default) };
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let limit = text.parse().ok().filter(|n| plain && (1..=max).contains(n));
    limit.ok_or(WebError::Invalid("limit", "use a number within the limit"))
}

pub(crate) fn time_cursor(query: &Fields) -> Result<Option<TimeCursor>, WebError> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    TimeCursor::parse(text).map(Some).ok_or(BAD_CURSOR)
}

/// The first `limit` of rows of which one more was asked for, and the cursor of the next page.
pub(crate) fn cut<T>(
    mut rows: Vec<T>,
    limit: u64,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let more = limit < rows.len() as u64;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(cursor);
    (rows, next)
}

/// Ids with commas between them.
pub(crate) fn ids(list: &str, most: u64) -> Result<Vec<NodeId>, WebError> {
    let mut ids: Vec<NodeId> = Vec::new();
    for text in list.split(',') {
        let id = NodeId::parse(text).ok_or(WebError::Invalid("ids", "use ids with commas"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if most < ids.len() as u64 {
            return Err(WebError::Invalid("ids", "use fewer at a time"));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_wanted_or_is_refused() {
        let parse = |text: &str| folder(&Fields::parse(text.as_bytes()).unwrap(), 1000);
        let plain = parse("").unwrap();
        assert_eq!((plain.sort, plain.order, plain.limit), (Sort::Name, Order::Asc, 200));
        let full = parse("sort=modified&order=desc&limit=1000").unwrap();
        assert_eq!((full.sort, full.order, full.limit), (Sort::Modified, Order::Desc, 1000));
        assert_eq!(parse("sort=type").unwrap().sort, Sort::Type);
        let wrong =
            ["sort=owner", "order=up", "limit=0", "limit=1001", "limit=-1", "limit=x", "cursor=7b"];
        for text in wrong {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
