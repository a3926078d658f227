//! A share that is open to whoever asks: what they may see of it.
//!
//! Made by `share` after it has checked that the share is alive and its code was given; taken by
//! `authorize`. Never decides by itself that a share is open.

use crate::db::Crumb;
use crate::ids::{NodeId, UserId};

/// Somebody's way into a share, for one request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    owner: UserId,
    nodes: Vec<NodeId>,
}

impl Visit {
    /// `nodes` are what was shared, as the database has it now.
    pub(crate) fn new(owner: UserId, nodes: Vec<NodeId>) -> Self {
        Self { owner, nodes }
    }

    /// Who shared it.
    pub(crate) fn owner(&self) -> UserId {
        self.owner
    }

    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The part of a path that begins with something shared; None if nothing on it is.
    pub(crate) fn inside(&self, path: Vec<Crumb>) -> Option<Vec<Crumb>> {
        let top = path.iter().position(|crumb| self.nodes.contains(&crumb.id))?;
        Some(path.into_iter().skip(top).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_what_was_shared() {
        let crumb = |id: u64| Crumb { id: NodeId(id), name: String::new() };
        let visit = Visit::new(UserId(1), vec![NodeId(3), NodeId(9)]);
        let path = || vec![crumb(1), crumb(3), crumb(5)];
        assert_eq!(visit.inside(path()), Some(vec![crumb(3), crumb(5)]));
        assert_eq!(visit.inside(vec![crumb(1), crumb(5)]), None);
        assert_eq!(visit.inside(Vec::new()), None);
    }
}
