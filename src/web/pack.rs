//! A selection of files and folders as one Zip archive, made while it is sent.
//!
//! Used by `download` and `share` behind the gate: what is packed comes out of grants. Walks the
//! folders page by page and reads the contents from the store piece by piece; small ones a few at
//! a time, ahead of their turn. Keeps nothing on disk. A content that is missing, short or damaged
//! ends the stream with an error, so that the client sees a cut archive and no success.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, unfold};
use net::client::ClientError;
use net::client::storage::Download;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::archive::{Archive, Open};
use crate::authorize::Grant;
use crate::db::{DbError, Kind, Node, Stored};
use crate::error::WebError;
use crate::files::FilesError;
use crate::ids::{NodeId, UserId};
use crate::name::Name;
use crate::response::Response;
use crate::sending::disposition;
use crate::slots::Slot;

/// Files and folders of a folder that are looked up at once.
const PAGE: u64 = 500;
/// A content up to this size is read as a whole, ahead of its turn, so many at a time.
const SMALL_BYTES_MAX: u64 = 128 * 1024;
const AHEAD: usize = 8;
/// Bytes gathered before they are handed on: many small members are few pieces.
const PIECE_BYTES: usize = 48 * 1024;

/// One file or folder of the archive.
struct Member {
    path: String,
    node: Node,
    file_id: Option<String>,
}

/// What is ahead: a member, and its content if that is small.
struct Ahead {
    member: Member,
    content: Option<JoinHandle<anyhow::Result<Vec<u8>>>>,
}

/// A folder that is being walked.
struct Walk {
    folder: NodeId,
    path: String,
    /// The last name that was seen.
    after: String,
}

/// An archive under way.
struct Pack {
    app: Arc<App>,
    owner: UserId,
    /// None: the end was written.
    archive: Option<Archive>,
    members: VecDeque<Member>,
    walks: Vec<Walk>,
    ahead: VecDeque<Ahead>,
    current: Option<(Open, Download, u64)>,
    left: u64,
    /// One of its user's, until the archive ends.
    _slot: Slot,
}

/// An archive whose first bytes are there.
pub(crate) struct Begun {
    first: Option<Bytes>,
    pack: Pack,
}

/// Begins an archive of what was granted; all of one owner. A store or a database that is away is
/// found out here, while that can still be said. `slot` is held until the end.
pub(crate) async fn begin(
    app: &Arc<App>,
    owner: UserId,
    grants: Vec<Grant>,
    slot: Slot,
) -> Result<Begun, WebError> {
    let mut pack = Pack {
        app: app.clone(),
        owner,
        archive: Some(Archive::new()),
        members: tops(grants),
        walks: Vec::new(),
        ahead: VecDeque::new(),
        current: None,
        left: app.config.limits.zip_members_max,
        _slot: slot,
    };
    match pack.piece().await {
        Ok(first) => Ok(Begun { first, pack }),
        Err(error) => Err(failure(error)),
    }
}

/// What an archive did not begin for, as a client is told.
fn failure(error: anyhow::Error) -> WebError {
    let error = match error.downcast::<FilesError>() {
        Ok(error) => return error.into(),
        Err(other) => other,
    };
    let error = match error.downcast::<DbError>() {
        Ok(error) => return error.into(),
        Err(other) => other,
    };
    match error.downcast::<ClientError>() {
        Ok(error) => FilesError::Client(error).into(),
        Err(other) => WebError::Internal(other),
    }
}

impl Begun {
    pub(crate) fn answer(self, name: &Name) -> Result<Response, WebError> {
        let Self { first, pack } = self;
        let first = futures_util::stream::iter(first.map(Ok));
        // Nginx passes it on through its buffers: without them it takes an archive that was cut
        // off for a whole one.
        Ok(Response::stream("application/zip", first.chain(stream(pack)))
            .with_header("content-disposition", disposition("attachment", name.as_str()))?
            .with_header("cache-control", "private, no-store")?)
    }
}

/// The selection, each under a name of its own: they may come from many folders.
fn tops(grants: Vec<Grant>) -> VecDeque<Member> {
    let mut taken = HashSet::new();
    let mut members = VecDeque::new();
    for grant in grants {
        let Some((node, file_id)) = grant.into_parts() else { continue };
        let name = Name::stored(&node.name);
        let free = (0u32..).map(|n| name.numbered(n).as_str().to_owned());
        let path = free.into_iter().find(|path| taken.insert(path.clone())).unwrap_or_default();
        members.push_back(Member { path, node, file_id });
    }
    members
}

fn stream(pack: Pack) -> impl Stream<Item = anyhow::Result<Bytes>> + Send {
    unfold(Some(pack), |pack| async {
        let mut pack = pack?;
        match pack.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(pack))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Pack {
    /// The next bytes; None behind the end.
    async fn piece(&mut self) -> anyhow::Result<Option<Bytes>> {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES {
            let Some(archive) = &mut self.archive else { break };
            if let Some((open, download, size)) = &mut self.current {
                match download.chunk().await? {
                    Some(chunk) => archive.content(open, &chunk, &mut out),
                    None => {
                        anyhow::ensure!(open.size() == *size, "a content is shorter than its file");
                        let (open, ..) = self.current.take().context("it was there")?;
                        archive.end(open, &mut out);
                    }
                }
                continue;
            }
            self.look_ahead().await?;
            match self.ahead.pop_front() {
                Some(next) => self.begin(next, &mut out).await?,
                None => {
                    let archive = self.archive.take().context("it was there")?;
                    out.extend(archive.finish());
                }
            }
        }
        Ok((!out.is_empty()).then(|| Bytes::from(out)))
    }

    async fn begin(&mut self, next: Ahead, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Ahead { member: Member { path, node, file_id }, content } = next;
        let archive = self.archive.as_mut().context("a member behind the end")?;
        let modified = node.modified_ms.0;
        if node.kind == Kind::Folder {
            archive.folder(&path, modified, out);
            return Ok(());
        }
        let mut open = archive.begin(&path, modified, node.size, out);
        if let Some(content) = content {
            archive.content(&mut open, &content.await??, out);
            archive.end(open, out);
            return Ok(());
        }
        let file_id = file_id.context("a file without a content")?;
        let download = self.app.files.open(&file_id).await?;
        self.current = Some((open, download, node.size));
        Ok(())
    }

    /// Keeps a few members ahead.
    async fn look_ahead(&mut self) -> anyhow::Result<()> {
        while self.ahead.len() < AHEAD {
            let Some(member) = self.next_member().await? else { break };
            self.left =
                self.left.checked_sub(1).context("more members than one archive may have")?;
            if member.node.kind == Kind::Folder {
                let (folder, path) = (member.node.id, member.path.clone());
                self.walks.push(Walk { folder, path, after: String::new() });
            }
            let small = member.node.size <= SMALL_BYTES_MAX;
            let content = member.file_id.clone().filter(|_| small).map(|file_id| {
                let (app, size) = (self.app.clone(), member.node.size);
                tokio::spawn(async move { whole(&app, &file_id, size).await })
            });
            self.ahead.push_back(Ahead { member, content });
        }
        Ok(())
    }

    async fn next_member(&mut self) -> anyhow::Result<Option<Member>> {
        while self.members.is_empty() {
            let Some(mut walk) = self.walks.pop() else { return Ok(None) };
            let page =
                self.app.db.members(self.owner, Some(walk.folder), &walk.after, PAGE).await?;
            if let Some(last) = page.last() {
                walk.after.clone_from(&last.node.name);
            }
            for Stored { node, file_id } in page.iter().cloned() {
                let path = format!("{}/{}", walk.path, node.name);
                self.members.push_back(Member { path, node, file_id });
            }
            if page.len() as u64 == PAGE {
                self.walks.push(walk);
            }
        }
        Ok(self.members.pop_front())
    }
}

/// A small content as a whole.
async fn whole(app: &App, file_id: &str, size: u64) -> anyhow::Result<Vec<u8>> {
    let mut download = app.files.open(file_id).await?;
    anyhow::ensure!(download.len() == size, "{file_id} has another length than its file");
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}
