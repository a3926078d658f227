//! The one gate between somebody and a folder or file.
//!
//! Every handler that lists, adds to or reads a node asks here, and gets a [`Grant`]: the only
//! thing that leads to a storage file id. "Not yours" and "not there" are the same answer. The
//! ownership test itself stands in the statement's `WHERE`.

use crate::db::{Db, Kind, Node, User};
use crate::error::WebError;
use crate::ids::NodeId;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// See what is in a folder.
    List,
    /// Put something into a folder.
    AddTo,
    /// Read a file's bytes.
    Read,
}

/// What the action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The user's own root folder, which has no row.
    Root,
    Node(NodeId),
}

impl Target {
    /// `root`, or an id; what is neither is not there.
    pub(crate) fn parse(text: &str) -> Result<Self, WebError> {
        if text == "root" {
            return Ok(Self::Root);
        }
        NodeId::parse(text).map(Self::Node).ok_or(WebError::NotFound)
    }
}

/// Permission to do one action to one node; only [`authorize`] makes it.
pub(crate) struct Grant {
    node: Option<Node>,
    file_id: Option<String>,
}

impl Grant {
    /// None: the root folder.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub(crate) fn node_id(&self) -> Option<NodeId> {
        self.node.as_ref().map(|node| node.id)
    }

    /// The file and where the store keeps it, if the grant is to read one.
    pub(crate) fn file(&self) -> Option<(&Node, &str)> {
        self.node.as_ref().zip(self.file_id.as_deref())
    }
}

/// Lets `who` do `what` to `target`, or says that there is no such thing.
pub(crate) async fn authorize(
    db: &Db,
    who: &User,
    what: Action,
    target: Target,
) -> Result<Grant, WebError> {
    let id = match (target, what) {
        (Target::Root, Action::List | Action::AddTo) => {
            return Ok(Grant { node: None, file_id: None });
        }
        (Target::Root, Action::Read) => return Err(WebError::NotFound),
        (Target::Node(id), _) => id,
    };
    let found = db.node(who.id, id).await?.ok_or(WebError::NotFound)?;
    let want = if what == Action::Read { Kind::File } else { Kind::Folder };
    if found.node.kind != want {
        return Err(WebError::NotFound);
    }
    let file_id = found.file_id.filter(|_| what == Action::Read);
    Ok(Grant { node: Some(found.node), file_id })
}
