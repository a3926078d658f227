//! The commands that need the database and the store, or sessions: people let in again,
//! comparison, sweeping, export, backup and restore.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use net::ports::World;

use super::reconcile::{self, Reconcile};
use super::{Command, export};
use crate::app::App;
use crate::config::Config;
use crate::db::Audit;
use crate::ids::UserId;
use crate::name::UserName;
use crate::password::{Password, generate};
use crate::sweep;

/// Where an operator's deeds come from.
const ADDRESS: &str = "console";

/// Does it; what is to be printed.
pub(super) async fn perform(
    config: Config,
    command: Command,
    world: &World,
) -> anyhow::Result<String> {
    let app = App::new(config, world.clone())?;
    match command {
        Command::ResetPassword(name) => reset_password(&app, &name).await,
        Command::EndSecondFactor(name) => {
            let user = find(&app, &name).await?;
            let (at, action, detail) = (app.now(), "totp_off", &*name);
            let deed = Audit { at, actor: None, action, node: None, address: ADDRESS, detail };
            anyhow::ensure!(
                app.db.end_second_factor(user, deed).await?,
                "{name:?} has no second factor"
            );
            Ok(String::new())
        }
        Command::Reconcile(what) => reconcile(&app, &what).await,
        Command::Gc => {
            sweep::sweep(&app).await?;
            let left = app.db.stats().await?.garbage;
            Ok(format!("stored files that could not be removed yet: {left}\n"))
        }
        Command::Export(name) => {
            let user = find(&app, &name).await?;
            let mut out = BufWriter::new(std::io::stdout());
            let (files, bytes) = export::run(&app.db, &app.files, user, &mut out).await?;
            log::info!("exported {files} files of {bytes} bytes");
            Ok(String::new())
        }
        Command::Backup(path) => back_up(&app, &path).await,
        Command::Restore(path) => restore(&app, &path).await,
        _ => anyhow::bail!("this command is done elsewhere"),
    }
}

async fn find(app: &App, name: &str) -> anyhow::Result<UserId> {
    let key = UserName::parse(name).with_context(|| format!("{name:?} is no user name"))?.key;
    let found = app.db.user_named(&key).await?;
    found.with_context(|| format!("there is no user {name:?}"))
}

async fn reset_password(app: &App, name: &str) -> anyhow::Result<String> {
    let user = find(app, name).await?;
    let made = generate(&*app.world.random);
    let typed = Password::typed(&made).context("generate a password")?;
    let hash = app.passwords.hash(typed).await?;
    let at = app.now();
    let (action, detail) = ("console_reset_password", name);
    let deed = Audit { at, actor: None, action, node: None, address: ADDRESS, detail };
    app.db.set_password(user, &hash, deed).await?;
    // The password counts even if sessions cannot be ended now; say so.
    let ended = app.sessions.end_others(user, None).await;
    let warning = match ended {
        Ok(()) => String::new(),
        Err(error) => format!("sessions could not be ended: {error}\n"),
    };
    Ok(format!("name:     {name}\npassword: {made}\n{warning}"))
}

async fn reconcile(app: &App, what: &Reconcile) -> anyhow::Result<String> {
    let (report, in_order) = compare(app, what).await?;
    if in_order {
        return Ok(report);
    }
    let hint = if what.repair { "" } else { "; `--repair` mends what can be mended" };
    anyhow::bail!("database and store differ{hint}\n{report}")
}

async fn compare(app: &App, what: &Reconcile) -> anyhow::Result<(String, bool)> {
    reconcile::run(&app.config, (&app.db, &app.files), what, app.now()).await
}

/// The comparison behind a backup or a restore, which is done whatever comes of this.
async fn compared(app: &App) -> String {
    match compare(app, &Reconcile::default()).await {
        Ok((report, true)) => report,
        Ok((report, false)) => {
            format!("{report}database and store differ; `fastdisk reconcile --repair` mends\n")
        }
        Err(error) => format!("database and store could not be compared: {error:#}\n"),
    }
}

/// Writes the backup beside its place first: what stands there is whole.
async fn back_up(app: &App, path: &Path) -> anyhow::Result<String> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let file = File::create(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    let mut out = BufWriter::new(file);
    let rows = app.db.back_up(&mut |line| writeln!(out, "{line}")).await?;
    let file = out.into_inner().context("write the backup")?;
    file.sync_all().context("sync the backup")?;
    std::fs::rename(&fresh, path).with_context(|| format!("name {}", path.display()))?;
    let report = compared(app).await;
    Ok(format!("backed up {rows} rows\n{report}"))
}

async fn restore(app: &App, path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut lines = BufReader::new(file).lines();
    let rows = app.db.read_back(&mut lines).await?;
    let report = compared(app).await;
    Ok(format!("restored {rows} rows\n{report}"))
}
