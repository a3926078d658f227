//! The table `node`: users' folders and files.
//!
//! Every statement that finds a node by its id also tests its owner and that it is not in the
//! trash. A name that is taken is found by the unique key, never by looking first. How a file
//! comes into a folder stands in `place`.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

use super::{Audit, Db, DbError, grams};
use crate::ids::{BlobId, NodeId, UnixMs, UserId};
use crate::media::Category;
use crate::name::Name;

/// What a [`Row`] is read from: `n` is the node, `b` its content.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT n.id, n.parent, n.kind, n.name, n.size, b.media_type, n.category, \
             n.created_ms, n.modified_ms, n.downloads, EXISTS(SELECT 1 FROM favourite f \
             WHERE f.owner = n.owner AND f.node = n.id), b.file_id ",
            $rest
        )
    };
}
pub(super) use columns;

const FOUND: &str = columns!(
    "FROM node n LEFT JOIN `blob` b ON b.id = n.blob_id
    WHERE n.id = ? AND n.owner = ? AND n.trashed_ms IS NULL"
);
const INSERT: &str = "\
INSERT INTO node (owner, parent, name, kind, blob_id, size, category, created_ms, modified_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
pub(super) const NAME_TAKEN: &str =
    "SELECT id FROM node WHERE owner = ? AND live_in = ? AND name = ?";

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Folder = 0,
    File = 1,
}

/// A folder or file as its owner sees it; the shape of `Node` in the API.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// None: in the root folder.
    pub(crate) parent: Option<NodeId>,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) media_type: Option<String>,
    pub(crate) category: Option<Category>,
    pub(crate) created_ms: UnixMs,
    pub(crate) modified_ms: UnixMs,
    pub(crate) downloads: u64,
    /// Marked by its owner.
    pub(crate) favourite: bool,
}

/// A node together with the file that holds its bytes; only `authorize` and `pack` ask for it.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) node: Node,
    pub(crate) file_id: Option<String>,
}

pub(super) type Row =
    (u64, Option<u64>, u8, String, u64, Option<String>, u8, u64, u64, u64, bool, Option<String>);

impl From<Row> for Stored {
    fn from(row: Row) -> Self {
        let (
            id,
            parent,
            kind,
            name,
            size,
            media_type,
            category,
            created,
            modified,
            downloads,
            favourite,
            file_id,
        ) = row;
        let node = Node {
            id: NodeId(id),
            parent: parent.map(NodeId),
            kind: if kind == Kind::Folder as u8 { Kind::Folder } else { Kind::File },
            name,
            size,
            media_type,
            category: Category::from_number(category),
            created_ms: UnixMs(created),
            modified_ms: UnixMs(modified),
            downloads,
            favourite,
        };
        Stored { node, file_id }
    }
}

/// What became of putting something into a folder.
#[derive(Debug)]
pub(crate) enum Published {
    Done(Node),
    NameTaken,
    /// The folder went, or is not this user's.
    NoFolder,
    /// It would be more than 64 folders in folders.
    TooDeep,
    /// The account was disabled meanwhile.
    NoUser,
    /// The quota does not hold it.
    Full,
    /// The content, or the upload it came by, is no longer there.
    Gone,
}

impl Db {
    /// A user's own live node with its file.
    pub(crate) async fn node(&self, owner: UserId, id: NodeId) -> Result<Option<Stored>, DbError> {
        let row: Option<Row> = self.first(FOUND, (id.0, owner.0)).await?;
        Ok(row.map(Stored::from))
    }

    /// Whether a name is taken right now; the next moment may change it.
    pub(crate) async fn name_taken(
        &self,
        owner: UserId,
        folder: Option<NodeId>,
        name: &Name,
    ) -> Result<bool, DbError> {
        let key = (owner.0, folder.map_or(0, |id| id.0), name.as_str());
        let row: Option<u64> = self.first(NAME_TAKEN, key).await?;
        Ok(row.is_some())
    }
}

pub(super) async fn noted(
    tx: &mut Transaction<'static>,
    owner: UserId,
    action: &'static str,
    node: Node,
    address: &str,
) -> Result<Published, DbError> {
    Audit::of_node(owner, action, &node, address).insert(tx).await?;
    Ok(Published::Done(node))
}

/// What a file's row has and a folder's has not.
pub(super) struct FileRow {
    pub(super) blob: BlobId,
    pub(super) size: u64,
    pub(super) media_type: String,
    pub(super) category: Category,
}

pub(super) struct NewRow<'a> {
    pub(super) owner: UserId,
    pub(super) parent: Option<NodeId>,
    pub(super) name: &'a Name,
    pub(super) file: Option<&'a FileRow>,
    pub(super) at: UnixMs,
}

impl NewRow<'_> {
    pub(super) async fn insert(&self, tx: &mut Transaction<'static>) -> Result<Node, DbError> {
        let kind = if self.file.is_some() { Kind::File } else { Kind::Folder };
        let size = self.file.map_or(0, |file| file.size);
        let category = self.file.map(|file| file.category);
        let row = (
            self.owner.0,
            self.parent.map(|id| id.0),
            self.name.as_str(),
            kind as u8,
            self.file.map(|file| file.blob.0),
            size,
            category.map_or(0, |category| category as u8),
            self.at.0,
            self.at.0,
        );
        tx.exec_drop(INSERT, row).await?;
        let id = NodeId(tx.last_insert_id().unwrap_or_default());
        grams::insert(tx, self.owner, &[(id, self.name.as_str())]).await?;
        Ok(Node {
            id,
            parent: self.parent,
            kind,
            name: self.name.as_str().to_owned(),
            size,
            media_type: self.file.map(|file| file.media_type.clone()),
            category,
            created_ms: self.at,
            modified_ms: self.at,
            downloads: 0,
            favourite: false,
        })
    }
}
