//! Header -> handler: one match over the commands of a storage.
//!
//! Called by `net::serve` for each connection. A handler decodes, acts and says what to answer;
//! here the answer is written, what follows an error is dealt with, and the connection goes on
//! or ends (storage.md 1.4).

mod append;
mod change; // what all changing commands end with

pub(crate) mod copies; // the wait for a second member

mod content; // the content behind a request

mod delete;
mod download;
mod elsewhere; // not here: another member may have it

mod error;
mod fetch; // what a member of the reference needs that has lost a disk

mod info;
mod inventory; // what lies here, for `fdfs resync`

pub(crate) mod late; // records that the log refused when their change was made
mod metadata;
mod read; // verified reads, also when a change is under way
mod replicate; // what peers send

mod upload;

#[cfg(any(test, feature = "faults"))]
pub(crate) mod served; // a whole store in memory

#[cfg(test)]
mod tests; // every disk fault during every operation

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use net::{
    conn::{CHUNK_BYTES_MAX, Conn, ConnError},
    shutdown::Stop,
};
use proto::{command::Command, header::Header, ids::StorageId, status::Status};

use self::{change::Changed, content::Content, error::ServiceError};
use crate::{
    access_log::{Line, name_in},
    store::Store,
};

/// Largest body of a request without content; that of the reference's smallest buffer.
const BODY_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(BODY_BYTES_MAX <= CHUNK_BYTES_MAX);
/// Unread content is read and dropped after an error, so that the client gets to read the
/// answer: a connection closed with bytes unread resets it in the middle of sending. With more
/// than this to come the connection ends here.
const DISCARD_BYTES_MAX: u64 = 16 << 20;
/// And for at most this long.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// What is known of a caller besides its address.
#[derive(Debug)]
struct Caller {
    /// The storage that has introduced itself on this connection (9).
    id: Option<StorageId>,
    address: IpAddr,
    /// How often a storage had introduced itself from that address before.
    session: u64,
}

impl Caller {
    /// A change that was sent before its sender began anew over other connections may have been
    /// sent again by those, with what has followed it: done now it would put back what was then.
    /// To be asked with the name locked. Members that share an address are not told apart.
    fn is_current(&self, store: &Store) -> Result<(), ServiceError> {
        match self.session < store.progress.session_of(self.address) {
            true if !store.facts.parameters.use_storage_id => Err(ServiceError::Overtaken),
            _ => Ok(()),
        }
    }
}

/// What is sent back.
#[derive(Debug)]
enum Answer {
    /// To a changing command.
    Changed(Changed),
    /// To a reading command: a body that fits into memory.
    Found(Vec<u8>),
    /// The handler has streamed its answer itself.
    Sent,
    /// The same; its end is that of the connection.
    Last,
}

/// Serves one connection until it ends.
pub(crate) async fn connection(store: Arc<Store>, mut conn: Conn, mut stop: Stop) {
    let address = conn.peer().ip();
    let session = store.progress.session_of(address);
    let mut caller = Caller { id: None, address, session };
    loop {
        let ended = match conn.next_request(&mut stop).await {
            Ok(Some(header)) => request(&store, &mut conn, &mut caller, header).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match ended {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if error.is_ordinary() => return,
            Err(error) => {
                log::debug!("{}: {error}", conn.peer());
                return;
            }
        }
    }
}

/// Handles one request; false if the connection ends here in good order.
async fn request(
    store: &Arc<Store>,
    conn: &mut Conn,
    caller: &mut Caller,
    header: Header,
) -> Result<bool, ConnError> {
    let begun = store.access_log.as_ref().map(|_| (store.clock.now(), store.clock.moment()));
    let client = conn.peer().ip();
    let mut content = Content::new(conn, header.body_len);
    let outcome = handle(store, caller, header, &mut content).await;
    let (unread, mut name) = (content.left(), std::mem::take(&mut content.name));
    let mut answer_len = content.sent;
    let (status, ended) = match outcome {
        Ok(answer) => {
            let body = match &answer {
                Answer::Changed(changed) => Some(changed.body()),
                Answer::Found(body) => Some(&body[..]),
                Answer::Sent | Answer::Last => None,
            };
            let goes_on = unread == 0 && !matches!(answer, Answer::Last);
            if let (Some(stored), Some(_)) = (body, begun) {
                name = name_after(header.cmd, name, stored);
            }
            answer_len = answer_len.max(body.map_or(0, <[u8]>::len) as u64);
            let sent = match body {
                Some(body) => conn.answer(body).await,
                None => Ok(()),
            };
            // A handler that succeeds has read its request; what is left is nobody's.
            (Status::OK, sent.map(|()| goes_on))
        }
        Err(ServiceError::Conn(error)) => (error.status(), Err(error)),
        Err(error) => {
            let status = error.status().unwrap_or(Status::EIO);
            (status, refuse(conn, header, &error, unread).await)
        }
    };
    if let (Some(log), Some(begun)) = (&store.access_log, begun) {
        let head = Header::LEN as u64;
        let line = Line {
            begun,
            client,
            command: header.cmd,
            name: &name,
            status: status.0,
            request_len: header.body_len.saturating_add(head),
            answer_len: answer_len.saturating_add(head),
        };
        log.note(&line, store.clock.moment());
    }
    ended
}

/// The name to be logged, given the one in the request and the body of a success: that of a
/// new file, or `old=>new`.
fn name_after(command: u8, name: String, answer: &[u8]) -> String {
    let new = || String::from_utf8_lossy(answer.get(16..).unwrap_or_default()).into_owned();
    match Command::try_from(command) {
        Ok(Command::UploadFile | Command::UploadAppenderFile | Command::UploadSlaveFile) => new(),
        Ok(Command::RegenerateAppenderFilename) => format!("{name}=>{}", new()),
        _ => name,
    }
}

/// Answers with the status of `error`; false if the connection has to end.
async fn refuse(
    conn: &mut Conn,
    header: Header,
    error: &ServiceError,
    unread: u64,
) -> Result<bool, ConnError> {
    let peer = conn.peer();
    if error.is_ours() {
        log::error!("command {} of {peer}: {}", header.cmd, chain(error));
    } else {
        log::debug!("command {} of {peer}: {}", header.cmd, chain(error));
    }
    let Some(status) = error.status() else { return Ok(false) };
    conn.refuse(status).await?;
    let discard = conn.discard(unread.min(DISCARD_BYTES_MAX));
    let discarded = tokio::time::timeout(DISCARD_TIME, discard).await;
    let drained = matches!(discarded, Ok(Ok(()))) && unread <= DISCARD_BYTES_MAX;
    // The reference closes after EINVAL, and clients rely on neither (storage.md 1.4).
    Ok(drained && status != Status::EINVAL)
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

async fn handle(
    store: &Arc<Store>,
    caller: &mut Caller,
    header: Header,
    content: &mut Content<'_>,
) -> Result<Answer, ServiceError> {
    let unknown = ServiceError::Invalid("unknown command");
    let command = Command::try_from(header.cmd).map_err(|_| unknown)?;
    copies::may_begin(store, command)?;
    match perform(store, caller, header, command, content).await? {
        Answer::Changed(changed) => {
            copies::second(store, command, header.body_len, changed).await.map(Answer::Changed)
        }
        answer => Ok(answer),
    }
}

async fn perform(
    store: &Arc<Store>,
    caller: &mut Caller,
    header: Header,
    command: Command,
    content: &mut Content<'_>,
) -> Result<Answer, ServiceError> {
    match command {
        Command::UploadFile => upload::file(store, content, false).await.map(Answer::Changed),
        Command::UploadAppenderFile => {
            upload::file(store, content, true).await.map(Answer::Changed)
        }
        Command::UploadSlaveFile => upload::slave(store, content).await.map(Answer::Changed),
        Command::DownloadFile => {
            let body = named_body(store, command, content).await?;
            let outcome = match download::run(store, content.conn(), &body).await {
                Ok(sent) => {
                    content.sent = sent;
                    Ok(Answer::Sent)
                }
                Err(error) => Err(error),
            };
            or_elsewhere(store, header, &body, content, outcome).await
        }
        Command::DeleteFile => {
            let body = named_body(store, command, content).await?;
            delete::run(store, &body).await.map(Answer::Changed)
        }
        Command::SetMetadata => {
            let body = named_body(store, command, content).await?;
            metadata::set(store, &body).await.map(Answer::Changed)
        }
        Command::GetMetadata => {
            let body = named_body(store, command, content).await?;
            let outcome = metadata::get(store, &body).await.map(Answer::Found);
            or_elsewhere(store, header, &body, content, outcome).await
        }
        Command::QueryFileInfo => {
            let peer = content.conn().peer().ip();
            let body = named_body(store, command, content).await?;
            let outcome = info::run(store, header.status, peer, &body).await.map(Answer::Found);
            or_elsewhere(store, header, &body, content, outcome).await
        }
        Command::AppendFile => append::append(store, content).await.map(Answer::Changed),
        Command::ModifyFile => append::modify(store, content).await.map(Answer::Changed),
        Command::TruncateFile => {
            let body = named_body(store, command, content).await?;
            append::truncate(store, &body).await.map(Answer::Changed)
        }
        Command::RegenerateAppenderFilename => {
            let body = named_body(store, command, content).await?;
            append::regenerate(store, &body).await.map(Answer::Changed)
        }
        Command::Inventory => {
            let body = content.body(BODY_BYTES_MAX).await?;
            inventory::run(store, &body).await.map(Answer::Found)
        }
        Command::FetchOnePathBinlog => {
            let body = content.body(BODY_BYTES_MAX).await?;
            fetch::run(store, content.conn(), &body).await.map(|()| Answer::Last)
        }
        Command::ActiveTest if header.body_len == 0 => Ok(Answer::Found(Vec::new())),
        Command::ActiveTest => Err(ServiceError::Invalid("an active test has no body")),
        command if replicate::is_of_peers(command) => {
            replicate::run(store, caller, header, command, content).await
        }
        // Trunk files and links are not there yet.
        _ => Err(ServiceError::Invalid("unknown command")),
    }
}

/// The body of a request without content; its name is noted for the access log.
async fn named_body(
    store: &Store,
    command: Command,
    content: &mut Content<'_>,
) -> Result<Bytes, ServiceError> {
    let body = content.body(BODY_BYTES_MAX).await?;
    if store.access_log.is_some() {
        content.name = name_in(command, &body);
    }
    Ok(body)
}

/// The outcome of a reading command, or what another member answers if the file is not here.
async fn or_elsewhere(
    store: &Arc<Store>,
    header: Header,
    body: &[u8],
    content: &mut Content<'_>,
    outcome: Result<Answer, ServiceError>,
) -> Result<Answer, ServiceError> {
    match outcome {
        Err(error) if elsewhere::may_be(header, &error) => {
            elsewhere::ask(store, header, body, content).await?.ok_or(error)
        }
        other => other,
    }
}

/// The fixed part at the start of a body, refused as malformed when the body is shorter.
async fn head(content: &mut Content<'_>, len: usize) -> Result<Bytes, ServiceError> {
    if content.left() < len as u64 {
        return Err(ServiceError::Invalid("request is too short"));
    }
    content.part(len).await
}
