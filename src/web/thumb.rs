//! `GET /api/thumb/{node}`: a small picture of a file. Also makes pictures that Memcached does not
//! have, when nginx asks for one.
//!
//! User content is hostile: it is decoded by `thumbnail`, a process of its own for each picture,
//! without network where the kernel allows that, under limits of memory, processor time, files and
//! wall time. Here bytes are only carried to it and back.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::app::App;
use crate::authorize::{Action, Target, authorize};
use crate::error::WebError;
use crate::files::FilesError;
use crate::memcached;
use crate::picture::{self, Size};
use crate::request::{Method, Request};
use crate::response::Response;
use crate::sending;

/// Longest wait for one's turn, and longest time for one picture.
const MAKE_MAX: Duration = Duration::from_secs(25);
/// Bytes of a picture: larger is not kept by Memcached either.
const PICTURE_BYTES_MAX: u64 = 1 << 20;
/// For so long nobody tries again to make a picture of what has none.
const FAILED_MS: u64 = 3600 * 1000;
/// What `prlimit` and `unshare` end with if they cannot run a program, or find it.
const CANNOT_START: i32 = 126;
const NOT_FOUND: i32 = 127;

pub(crate) async fn handle(app: &Arc<App>, request: Request) -> Result<Response, WebError> {
    // Set by nginx in one place, which no client reaches; a client's own headers are HTTP_*.
    if let Some(place) = request.variable("THUMB_PLACE").filter(|place| !place.is_empty()) {
        let place = String::from_utf8_lossy(place).into_owned();
        return make(app, &place).await;
    }
    match (request.segments().as_slice(), request.method()) {
        (["api", "thumb", node], Method::Get | Method::Head) => {
            let user = app.user(&request).await?;
            let size = Size::asked(&request.query()?)?;
            let grant = authorize(&app.db, &user, Action::Read, Target::parse(node)?).await?;
            picture::answer(&grant, size)
        }
        (["api", "thumb", _], _) => Err(WebError::WrongMethod("GET, HEAD")),
        _ => Err(WebError::NoRoute),
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The content's doing: it would be the same the next time.
    #[error("{0}")]
    Content(String),
    /// Not the content's doing.
    #[error(transparent)]
    Here(#[from] anyhow::Error),
    #[error(transparent)]
    Store(#[from] FilesError),
}

/// Makes a picture and gives it to Memcached, once for all who ask meanwhile. On a task of its own:
/// what was begun for somebody who left is there for the next.
async fn make(app: &Arc<App>, place: &str) -> Result<Response, WebError> {
    let (size, file_id) = picture::wanted(place).ok_or(WebError::NoThumbnail)?;
    if sending::seen(app, &failed_key(file_id)).await? {
        return Err(WebError::NoThumbnail);
    }
    let made = app.making.join(place, || {
        let (app, place, file_id) = (app.clone(), place.to_owned(), file_id.to_owned());
        async move { attempt(&app, &place, &file_id, size).await }
    });
    let response = Response::bytes("image/jpeg", made.await?);
    Ok(response.with_header("cache-control", picture::CACHE)?)
}

async fn attempt(app: &App, place: &str, file_id: &str, size: Size) -> Result<Bytes, WebError> {
    let permit = tokio::time::timeout(MAKE_MAX, app.pictures.acquire()).await;
    let permit = permit.map_err(|_| WebError::Busy("many pictures are being made"))?;
    let permit = permit.map_err(|error| WebError::Internal(error.into()))?;
    let made = tokio::time::timeout(MAKE_MAX, render(app, file_id, size)).await;
    drop(permit);
    keep(app, place, file_id, made.unwrap_or_else(|_| Err(anyhow!("too slow").into()))).await
}

/// Remembers what was made, or that of this content nothing can be made.
async fn keep(
    app: &App,
    place: &str,
    file_id: &str,
    made: Result<Bytes, Failure>,
) -> Result<Bytes, WebError> {
    match made {
        Ok(picture) => {
            let socket = &app.config.memcached_socket;
            if let Err(error) = memcached::set(socket, place, &picture).await {
                log::warn!("keep a picture: {error}");
            }
            Ok(picture)
        }
        Err(Failure::Content(why)) => {
            log::info!("no picture of {file_id}: {why}");
            sending::first(app, &failed_key(file_id), FAILED_MS).await?;
            Err(WebError::NoThumbnail)
        }
        // The content of a visible file may just have been replaced or purged.
        Err(Failure::Store(FilesError::NoFile(_))) => Err(WebError::NoThumbnail),
        Err(Failure::Store(error)) => Err(error.into()),
        Err(Failure::Here(error)) => {
            log::warn!("make a picture of {file_id}: {error:#}");
            Err(WebError::Busy("no picture can be made now"))
        }
    }
}

fn failed_key(file_id: &str) -> String {
    format!("nothumb:{file_id}")
}

async fn render(app: &App, file_id: &str, size: Size) -> Result<Bytes, Failure> {
    let most = app.config.limits.thumb_source_bytes_max;
    let mut source = app.files.open(file_id).await?;
    if most < source.len() {
        return Err(Failure::Content(format!("{} bytes are more than {most}", source.len())));
    }
    let mut child = decoder(app, size).await.spawn().context("start the decoder")?;
    let mut input = child.stdin.take().context("its input is a pipe")?;
    let output = child.stdout.take().context("its output is a pipe")?;
    let feed = async {
        while let Some(chunk) = source.chunk().await.map_err(FilesError::from)? {
            // Whoever has seen enough closes the pipe.
            if input.write_all(&chunk).await.is_err() {
                break;
            }
        }
        drop(input);
        Ok::<(), Failure>(())
    };
    let mut picture = Vec::new();
    let mut limited = output.take(PICTURE_BYTES_MAX);
    let read = async { Ok(limited.read_to_end(&mut picture).await.context("read the picture")?) };
    tokio::try_join!(feed, read)?;
    drop(limited); // one that writes more than it may ends here
    let status = child.wait().await.context("wait for the decoder")?;
    match status.code() {
        Some(0) if picture.starts_with(b"\xff\xd8") => Ok(picture.into()),
        Some(code @ (CANNOT_START | NOT_FOUND)) => {
            Err(anyhow!("the decoder could not be started: {code}").into())
        }
        _ => Err(Failure::Content(format!("the decoder ended with {status}"))),
    }
}

/// The decoder in its cage. Nothing of the content reaches a command line.
async fn decoder(app: &App, size: Size) -> Command {
    let program = std::env::current_exe().unwrap_or_default().with_file_name("thumbnail");
    let memory = app.config.limits.thumb_memory_bytes_max;
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={memory}")).args([
        "--cpu=10",
        "--fsize=0",
        "--nofile=32",
        "--core=0",
        "--",
    ]);
    if *app.can_unshare.get_or_init(can_unshare).await {
        command.args(["unshare", "--user", "--net", "--ipc", "--"]);
    }
    command
        .arg(program)
        .arg(size.pixels().to_string())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Whether the kernel lets us give a process a network of its own, which is none.
async fn can_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--user", "--net", "--ipc", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        log::warn!("this system allows no network namespaces: pictures are decoded without one");
    }
    can
}
