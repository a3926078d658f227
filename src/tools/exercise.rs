//! The test programs that tutorials use for a first try: fdfs_test and fdfs_test1 here, the two
//! of appenders in `appender` (tools.md 5).
//!
//! fdfs_test takes group and name of a file apart, fdfs_test1 takes the id as a whole; else they
//! are one program. All they say, failures too, goes to standard output, behind a banner of nine
//! lines. `FILE`, `BUFF` and `CALLBACK` choose between calls of the reference's library; ours
//! has one, so that they choose where the content lies meanwhile, and the names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use net::client::storage::{self, Content, Reading, head};
use net::client::{Client, ClientError, change};
use net::ports::World;
use proto::fileid::FileId;
use proto::ids::{Extension, Prefix};
use proto::metadata::{Metadata, Pair};
use proto::status::Status;
use proto::storage::info::{FileInfo, InfoFlags};
use proto::storage::metadata::SetMode;
use proto::tracker::query::Endpoint;

use crate::download::{Check, save};
use crate::upload::open;
use crate::zone::Zone;
use crate::{Doing as _, Failure, connect, say, strerror};

mod appender; // fdfs_appender_test, fdfs_appender_test1

pub(crate) use appender::run as appender;

const USAGE: &str = "<config_file> <operation>\n\
    \toperation: upload, download, getmeta, setmeta, delete and query_servers";
const FLAGS: &str = "\n\top_flag: O for overwrite, M for merge\n\
    \tmetadata_list: name1=value1,name2=value2,...";

/// What every upload of these programs gets besides its content.
const SAMPLE: [(&str, &str); 4] =
    [("ext_name", "jpg"), ("width", "160"), ("height", "80"), ("file_size", "115120")];

fn banner() {
    say("This is FastDFS client test program v6.16.1 (fastdisk)\n\n\
         fastdisk is a work of its own that speaks the protocol of FastDFS\n\n\
         It may be copied under the terms of the Apache License 2.0, which is\n\
         in the file LICENSE of its sources.\n\
         It comes without any warranty.\n\
         For more, call it by its name: fdfs --help.\n");
}

/// fdfs_test and fdfs_test1.
pub(crate) async fn files(world: &World, name: &str, args: &[&str]) -> Result<(), Failure> {
    banner();
    let [conf, operation, rest @ ..] = args else { return Err(Failure::Usage(USAGE.to_owned())) };
    let client = connect(world, conf).await?;
    let program = Program { client, by_id: name == "fdfs_test1" };
    match *operation {
        "upload" => program.upload(rest).await,
        "download" => program.download(rest).await,
        "getmeta" => program.get_metadata(rest).await,
        "setmeta" => program.set_metadata(rest).await,
        "delete" => program.delete(rest).await,
        "query_servers" => program.query_servers(rest).await,
        other => {
            say(&format!("invalid operation: {other}"));
            Err(Failure::Told(Status::EINVAL))
        }
    }
}

struct Program {
    client: Client,
    /// Whether files are named by their whole id.
    by_id: bool,
}

/// A file on the command line.
struct Named {
    id: Result<FileId, Status>,
    /// The same in the words of failures.
    words: String,
}

impl Program {
    fn usage(&self, operation: &str, more: &str) -> Failure {
        let file = if self.by_id { "<file_id>" } else { "<group_name> <remote_filename>" };
        let usage = format!("<config_file> {operation} {file}{more}");
        Failure::Called { usage, status: Status::EINVAL }
    }

    /// The file that arguments begin with, and the rest of them.
    fn file<'a, 'b>(
        &self,
        operation: &str,
        args: &'a [&'b str],
    ) -> Result<(Named, &'a [&'b str]), Failure> {
        let (text, words, rest) = match args {
            [id, rest @ ..] if self.by_id => ((*id).to_owned(), format!("file_id={id}"), rest),
            [group, name, rest @ ..] if !self.by_id => {
                (format!("{group}/{name}"), format!("group_name={group}, filename={name}"), rest)
            }
            _ => return Err(self.usage(operation, "")),
        };
        let id = FileId::parse(text).map_err(|error| error.status());
        Ok((Named { id, words }, rest))
    }

    /// The file, and the storage for it, which is told; `change` asks for one that may write.
    async fn storage(&self, file: Named, change: bool) -> Result<(FileId, SocketAddr), Failure> {
        let fail =
            |status| refuse(&format!("tracker_query_storage_fetch fail, {}", file.words), status);
        let id = file.id.map_err(fail)?;
        let trackers = self.client.trackers();
        let found = match change {
            true => trackers.query_update(&id).await,
            false => trackers.query_fetch(&id).await,
        };
        let server = at(found.map_err(|error| fail(error.status()))?);
        say(&format!("storage={server}"));
        Ok((id, server))
    }

    async fn download(&self, args: &[&str]) -> Result<(), Failure> {
        let (file, rest) = self.file("download", args)?;
        let (id, server) = self.storage(file, false).await?;
        let local = PathBuf::from(rest.first().copied().unwrap_or(id.name.file_part()));
        let download = storage::download(self.client.pool(), server, &id, 0, 0).await;
        let download = download.doing("download file")?;
        let size = download.len();
        save(download, &local, &mut Check::of(&id, 0, 0)).await?;
        let local = local.display();
        say(&format!("download file success, file size={size}, file save to {local}"));
        Ok(())
    }

    async fn get_metadata(&self, args: &[&str]) -> Result<(), Failure> {
        let (file, _) = self.file("getmeta", args)?;
        let (id, server) = self.storage(file, true).await?;
        let metadata = storage::metadata(self.client.pool(), server, &id).await;
        let metadata = metadata.doing("getmeta")?;
        say(&format!("get meta data success, meta count={}", metadata.pairs().len()));
        for Pair { name, value } in metadata.pairs() {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            say(&format!("{}={}", text(name), text(value)));
        }
        Ok(())
    }

    async fn set_metadata(&self, args: &[&str]) -> Result<(), Failure> {
        let (file, rest) = self.file("setmeta", args)?;
        let (id, server) = self.storage(file, true).await?;
        let [flag, list, ..] = rest else {
            return Err(self.usage("setmeta", &format!(" <op_flag> <metadata_list>{FLAGS}")));
        };
        let mode = match flag.chars().next() {
            Some('O') => SetMode::Overwrite,
            Some('M') => SetMode::Merge,
            _ => return Err(refuse("setmeta fail", Status::EINVAL)),
        };
        let pairs = list.split(',').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some(Pair { name: name.trim().into(), value: value.trim().into() })
        });
        let metadata = Metadata::new(pairs);
        let set = storage::set_metadata(self.client.pool(), server, &id, mode, &metadata).await;
        set.doing("setmeta")?;
        say("set meta data success");
        Ok(())
    }

    async fn delete(&self, args: &[&str]) -> Result<(), Failure> {
        let (file, _) = self.file("delete", args)?;
        let (id, server) = self.storage(file, true).await?;
        storage::delete(self.client.pool(), server, &id).await.doing("delete file")?;
        say("delete file success");
        Ok(())
    }

    async fn query_servers(&self, args: &[&str]) -> Result<(), Failure> {
        let (file, _) = self.file("query_servers", args)?;
        let call =
            if self.by_id { "tracker_query_storage_list1" } else { "tracker_query_storage_list" };
        let fail = |status| refuse(&format!("{call} fail, {}", file.words), status);
        let id = file.id.clone().map_err(fail)?;
        let servers = self.client.trackers().query_fetch_all(&id).await;
        let servers = servers.map_err(|error| fail(error.status()))?;
        say(&format!("server list ({}):", servers.len()));
        for server in servers {
            say(&format!("\t{}", at(server)));
        }
        say("");
        Ok(())
    }

    async fn upload(&self, args: &[&str]) -> Result<(), Failure> {
        let [local, mode @ ..] = args else {
            let usage = "<config_file> upload <local_filename> [FILE | BUFF | CALLBACK] ";
            return Err(Failure::Called { usage: usage.to_owned(), status: Status::EINVAL });
        };
        let way = Way::of(mode.first().copied());
        self.show_candidates().await;
        let target = self.client.trackers().query_store(None).await;
        let target = target.doing("tracker_query_storage")?;
        let (group, server) = (target.group, at(target.server));
        say(&format!("group_name={group}, ip_addr={}, port={}", server.ip(), server.port()));
        say(&format!("storage_upload_by_{}", way.call()));
        let extension = Extension::of_file(local);
        let (mut content, size) = way.content(local).await?;
        let fixed = head(Some(target.path), size, extension);
        let id = match self.client.pool().take(server).await {
            Ok(conn) => storage::upload(conn, &fixed, &mut *content).await,
            Err(error) => Err(error),
        };
        let id = id.doing("upload file")?;
        self.show(server, &id).await?;
        say(&format!("storage_upload_slave_by_{}", way.call()));
        let (mut content, size) = way.content(local).await?;
        let prefix = way.prefix(self.by_id);
        let prefix = Prefix::parse(prefix).ok_or_else(|| Failure::Argument(prefix.to_owned()))?;
        let slave = match self.client.pool().take(server).await {
            Ok(conn) => {
                change::upload_slave(conn, &id, prefix, extension, size, &mut *content).await
            }
            Err(error) => Err(error),
        };
        self.show(server, &slave.doing("upload slave file")?).await
    }

    /// Where an upload might go. Only shown: the upload asks by itself.
    async fn show_candidates(&self) {
        let trackers = self.client.trackers();
        let group = match self.by_id {
            true => trackers.query_store(None).await.ok().map(|target| target.group),
            false => None,
        };
        let Ok(servers) = trackers.query_store_all(group.as_ref()).await else { return };
        let with = if group.is_some() { "with" } else { "without" };
        say(&format!("tracker_query_storage_store_list_{with}_group: "));
        let group = group.map(|group| group.to_string()).unwrap_or_default();
        for (number, Endpoint { address, port }) in (1..).zip(servers) {
            say(&format!("\tserver {number}. group_name={group}, ip_addr={address}, port={port}"));
        }
        say("");
    }

    /// Gives a file its sample metadata and tells all about it.
    async fn show(&self, server: SocketAddr, id: &FileId) -> Result<(), Failure> {
        set_sample(&self.client, server, id).await;
        if !self.by_id {
            say(&format!("group_name={}, remote_filename={}", id.group, id.name));
        }
        let info = info(&self.client, server, id).await.doing("query file info")?;
        tell(&info, true);
        say(&format!("example file url: http://{}/{id}", server.ip()));
        Ok(())
    }
}

/// The words of the reference that go on with the number.
fn refuse(words: &str, status: Status) -> Failure {
    let Status(number) = status;
    say(&format!("{words}, error no: {number}, error info: {}", strerror(number)));
    Failure::Told(status)
}

fn at(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

/// Failing here is no failure of the program; it is told.
async fn set_sample(client: &Client, server: SocketAddr, id: &FileId) {
    let pairs = SAMPLE.map(|(name, value)| Pair { name: name.into(), value: value.into() });
    let metadata = Metadata::new(pairs);
    let mode = SetMode::Overwrite;
    if let Err(error) = storage::set_metadata(client.pool(), server, id, mode, &metadata).await {
        let _told = refuse("storage_set_metadata fail", error.status());
    }
}

async fn info(client: &Client, server: SocketAddr, id: &FileId) -> Result<FileInfo, ClientError> {
    storage::info(client.pool(), server, id, InfoFlags::default()).await
}

fn tell(info: &FileInfo, with_sum: bool) {
    say(&format!("source ip address: {}", info.source));
    say(&format!("file timestamp={}", Zone::of_system().print(info.mtime)));
    say(&format!("file size={}", info.size));
    if with_sum {
        say(&format!("file crc32={}", info.crc32));
    }
}

/// How the content is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    File,
    Buffer,
    Callback,
}

impl Way {
    /// Anything unknown is a file, as in the reference.
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("BUFF") => Way::Buffer,
            Some("CALLBACK") => Way::Callback,
            _ => Way::File,
        }
    }

    fn call(self) -> &'static str {
        match self {
            Way::File => "filename",
            Way::Buffer => "filebuff",
            Way::Callback => "callback",
        }
    }

    fn prefix(self, by_id: bool) -> &'static str {
        match self {
            Way::File => "_big",
            Way::Buffer => "1024x1024",
            Way::Callback if by_id => "_small",
            Way::Callback => "-small",
        }
    }

    async fn content(self, local: &str) -> Result<(Box<dyn Content>, u64), Failure> {
        if self == Way::Buffer {
            let bytes = tokio::fs::read(Path::new(local)).await;
            let bytes = bytes
                .map_err(|source| Failure::Local { what: "upload file".to_owned(), source })?;
            let size = bytes.len() as u64;
            return Ok((Box::new(bytes::Bytes::from(bytes)), size));
        }
        let (file, size) = open(local, "upload file").await?;
        Ok((Box::new(Reading(file)), size))
    }
}
