//! The one gate between somebody and a folder or file.
//!
//! Every handler that lists, adds to, changes or reads a node asks here, and gets a [`Grant`]: the
//! only thing that leads to a storage file id. Who asks is a user, who may do everything to what
//! is theirs, or a visitor of a share, who may look at and read what is in it. "Not yours", "in the
//! trash" and "not there" are the same answer. The ownership test itself stands in the
//! statement's `WHERE`.

use crate::db::{Crumb, Db, Kind, Node, User};
use crate::error::WebError;
use crate::ids::{NodeId, UserId};
use crate::visit::Visit;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// See what is in a folder.
    List,
    /// Put something into a folder.
    AddTo,
    /// Read a file's bytes.
    Read,
    /// See a file's or folder's own facts, or take a copy of it.
    Look,
    /// Read a file, or everything that is in a folder.
    Take,
    /// Rename, move, mark or throw away a file or folder, or share it.
    Change,
}

/// Who wants to do it.
#[derive(Clone, Copy)]
pub(crate) enum Principal<'a> {
    User(UserId),
    /// Somebody with a share that is open to them.
    Visitor(&'a Visit),
}

impl From<&User> for Principal<'_> {
    fn from(user: &User) -> Self {
        Self::User(user.id)
    }
}

impl<'a> From<&'a Visit> for Principal<'a> {
    fn from(visit: &'a Visit) -> Self {
        Self::Visitor(visit)
    }
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
    path: Vec<Crumb>,
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

    /// The way to the node, itself included, from the root or from the top of the share.
    pub(crate) fn path(&self) -> &[Crumb] {
        &self.path
    }

    /// What was granted to be taken: the node, and where the store keeps it if it is a file.
    pub(crate) fn into_parts(self) -> Option<(Node, Option<String>)> {
        self.node.map(|node| (node, self.file_id))
    }

    /// The file and where the store keeps it, if the grant is to read one.
    pub(crate) fn file(&self) -> Option<(&Node, &str)> {
        self.node.as_ref().zip(self.file_id.as_deref())
    }
}

/// Lets `who` do `what` to `target`, or says that there is no such thing.
pub(crate) async fn authorize<'a>(
    db: &Db,
    who: impl Into<Principal<'a>>,
    what: Action,
    target: Target,
) -> Result<Grant, WebError> {
    let who = who.into();
    let (owner, id) = match (who, target, what) {
        (Principal::User(_), Target::Root, Action::List | Action::AddTo) => {
            return Ok(Grant { node: None, path: Vec::new(), file_id: None });
        }
        (_, Target::Root, _) | (Principal::Visitor(_), _, Action::AddTo | Action::Change) => {
            return Err(WebError::NotFound);
        }
        (Principal::User(owner), Target::Node(id), _) => (owner, id),
        (Principal::Visitor(visit), Target::Node(id), _) => (visit.owner(), id),
    };
    let mut found = db.node(owner, id).await?.ok_or(WebError::NotFound)?;
    let fits = match what {
        Action::List | Action::AddTo => found.node.kind == Kind::Folder,
        Action::Read => found.node.kind == Kind::File,
        Action::Look | Action::Take | Action::Change => true,
    };
    if !fits {
        return Err(WebError::NotFound);
    }
    let mut path = match found.node.parent {
        Some(_) => db.path(owner, id).await?.ok_or(WebError::NotFound)?,
        None => vec![Crumb { id, name: found.node.name.clone() }],
    };
    if let Principal::Visitor(visit) = who {
        // Nothing above what was shared is anybody's business.
        path = visit.inside(path).ok_or(WebError::NotFound)?;
        found.node.favourite = false;
        if path.len() == 1 {
            found.node.parent = None;
        }
    }
    let reads = matches!(what, Action::Read | Action::Take);
    let file_id = found.file_id.filter(|_| reads);
    Ok(Grant { node: Some(found.node), path, file_id })
}
