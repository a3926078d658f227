//! `fdfs get`: fetches files, whole or in part, and checks whole ones against their name.

use std::path::PathBuf;

use clap::Args;
use net::client::Client;
use proto::fileid::FileId;
use serde::Serialize;

use super::output::Output;
use crate::download::{Check, save, save_to_stdout};
use crate::{Doing as _, Failure, file_id};

#[derive(Debug, Args)]
pub(super) struct Get {
    /// File ids
    #[arg(required = true, value_name = "FILE_ID")]
    ids: Vec<String>,
    /// Where to: a file, a directory, or `-` for standard output. Otherwise the last part of
    /// the id, in the current directory
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// First byte to fetch
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// How many bytes to fetch; 0 means to the end
    #[arg(long, default_value_t = 0)]
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Fetched {
    id: String,
    file: String,
    size: u64,
    /// Whether size and CRC32 in the name were compared with what came.
    checked: bool,
}

impl Get {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let one_file = self.output.as_ref().is_some_and(|path| !path.is_dir() && !is_stdout(path));
        if 1 < self.ids.len() && one_file {
            let text = "several files need a directory for --output".to_owned();
            return Err(Failure::Argument(text));
        }
        for id in &self.ids {
            let outcome = match file_id(id, "download file") {
                Ok(id) => self.one(client, &id, output).await,
                Err(failure) => Err(failure),
            };
            output.note(outcome);
        }
        Ok(())
    }

    async fn one(&self, client: &Client, id: &FileId, output: &Output) -> Result<(), Failure> {
        let download = client
            .download(id, self.offset, self.bytes)
            .await
            .doing(format!("download file {id}"))?;
        let size = download.len();
        let bar = output.bar(id.name.file_part(), Some(size));
        let mut check = Check::of(id, self.offset, self.bytes).with_bar(bar.clone());
        let checked = check.is_whole();
        let named = PathBuf::from(id.name.file_part());
        let local = match &self.output {
            None => named,
            Some(path) if is_stdout(path) => {
                save_to_stdout(download, &mut check).await?;
                bar.finish_and_clear();
                return Ok(());
            }
            Some(path) if path.is_dir() => path.join(named),
            Some(path) => path.clone(),
        };
        save(download, &local, &mut check).await?;
        bar.finish();
        let file = local.display().to_string();
        output.tell(&file, &Fetched { id: id.to_string(), file: file.clone(), size, checked });
        Ok(())
    }
}

fn is_stdout(path: &std::path::Path) -> bool {
    path.as_os_str() == "-"
}
