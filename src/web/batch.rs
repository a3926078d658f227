//! Requests about many things at once: each is done or refused by itself, and the answer says what
//! became of each, in the order of the request.

use serde::Serialize;

use crate::app::{App, json};
use crate::db::Node;
use crate::error::WebError;
use crate::response::Response;

/// What became of one; the shape of `Result` in the API.
#[derive(Serialize)]
pub(crate) struct Outcome {
    id: String,
    node: Option<Node>,
    error: Option<Problem>,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
}

impl Outcome {
    pub(crate) fn is_done(&self) -> bool {
        self.error.is_none()
    }
}

/// `rename` or `fail`.
pub(crate) fn renames(conflict: Option<&str>, default: bool) -> Result<bool, WebError> {
    match conflict {
        None => Ok(default),
        Some("fail") => Ok(false),
        Some("rename") => Ok(true),
        Some(_) => Err(WebError::Invalid("conflict", "use fail or rename")),
    }
}

/// Whether a request holds a number of items that one request may have.
pub(crate) fn some(app: &App, count: usize) -> Result<(), WebError> {
    let fits = 0 < count && count as u64 <= app.config.limits.batch_items_max;
    if fits { Ok(()) } else { Err(WebError::Invalid("ids", "send some, within the limit")) }
}

/// A server that is away ends the whole request: what comes after would fare no better.
pub(crate) fn outcome(
    id: String,
    done: Result<Option<Node>, WebError>,
) -> Result<Outcome, WebError> {
    match done {
        Ok(node) => Ok(Outcome { id, node, error: None }),
        Err(error @ (WebError::Db(_) | WebError::Cache(_) | WebError::Internal(_))) => Err(error),
        Err(error) => {
            let (code, message) = error.item();
            Ok(Outcome { id, node: None, error: Some(Problem { code, message }) })
        }
    }
}

pub(crate) fn results(outcomes: &[Outcome]) -> Result<Response, WebError> {
    json(200, &serde_json::json!({ "results": outcomes }))
}
