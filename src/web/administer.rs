//! `fastdisk`: shows the checked configuration, migrates the database, makes the administrator,
//! lets people in again, compares the database with the store, backs up and exports.
//!
//! Called by people and by `conf/stack.sh`. Results go to standard output, everything else to
//! standard error; 0 done, 1 refused, 2 used wrongly. Never starts or stops a server.

mod export; // a user's files as an archive
mod reconcile; // database and store compared
mod upkeep; // everything that needs both

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use net::ports::World;

use self::reconcile::Reconcile;
use crate::config::{Address, Config, WORKERS};
use crate::db::{Db, NewUser, Role};
use crate::ids::UnixMs;
use crate::name::UserName;
use crate::password::{Password, Passwords, generate};

/// The first administrator's name.
const ADMIN: &str = "admin";

const USAGE: &str = "\
usage: fastdisk [--conf FILE] [--run DIR] COMMAND

  config         print the checked configuration as shell assignments
  migrate        bring the database up to date
  create-admin   make the first administrator and print the generated password, once
  reset-password NAME
                 print a new password for an account and end its sessions
  end-second-factor NAME
                 let somebody in who lost their authenticator and recovery codes
  reconcile [--repair] [--sums] [--store-path DIR]...
                 compare database and store, both ways; a DIR for each store path, M00 first
  gc             give up what expired, remove stored files that nothing needs
  export NAME    write the files of a user to standard output, as a tar archive
  backup FILE    write the database to FILE, then compare it with the store
  restore FILE   read it back into an empty database, then compare it with the store

FILE is conf/fastdisk.toml or $FASTDISK_CONF; DIR is [run] dir or $FASTDISK_RUN.
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Config,
    Migrate,
    CreateAdmin,
    ResetPassword(String),
    EndSecondFactor(String),
    Reconcile(Reconcile),
    Gc,
    Export(String),
    Backup(PathBuf),
    Restore(PathBuf),
}

/// Where the configuration is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    conf: Option<PathBuf>,
    run: Option<PathBuf>,
}

/// The program `fastdisk`.
pub fn administer(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some((places, command)) = parse(args.into_iter().skip(1)) else {
        return complain(USAGE, 2);
    };
    net::program::run_tool("fastdisk", |world| async move {
        let text = match perform(places, command, &world).await {
            Ok(text) => text,
            Err(error) => return complain(&format!("fastdisk: {error:#}\n"), 1),
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => complain(&format!("fastdisk: write: {error}\n"), 1),
        }
    })
}

/// Says why on standard error; nobody is left to tell if that is closed.
fn complain(text: &str, code: u8) -> ExitCode {
    let _closed = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<(Places, Command)> {
    let mut places = Places::default();
    loop {
        let arg = args.next()?;
        let command = match arg.to_str()? {
            "--conf" => {
                places.conf = Some(args.next()?.into());
                continue;
            }
            "--run" => {
                places.run = Some(args.next()?.into());
                continue;
            }
            "-h" | "--help" => Command::Help,
            "config" => Command::Config,
            "migrate" => Command::Migrate,
            "create-admin" => Command::CreateAdmin,
            "reset-password" => Command::ResetPassword(args.next()?.into_string().ok()?),
            "end-second-factor" => Command::EndSecondFactor(args.next()?.into_string().ok()?),
            "reconcile" => return Some((places, Command::Reconcile(parse_reconcile(args)?))),
            "gc" => Command::Gc,
            "export" => Command::Export(args.next()?.into_string().ok()?),
            "backup" => Command::Backup(args.next()?.into()),
            "restore" => Command::Restore(args.next()?.into()),
            _ => return None,
        };
        return args.next().is_none().then_some((places, command));
    }
}

fn parse_reconcile(mut args: impl Iterator<Item = OsString>) -> Option<Reconcile> {
    let mut what = Reconcile::default();
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--repair" => what.repair = true,
            "--sums" => what.sums = true,
            "--store-path" => what.store_paths.push(args.next()?.into()),
            _ => return None,
        }
    }
    Some(what)
}

/// Does it; what is to be printed.
async fn perform(places: Places, command: Command, world: &World) -> anyhow::Result<String> {
    if command == Command::Help {
        return Ok(USAGE.to_owned());
    }
    let config = load(places)?;
    match command {
        Command::Help | Command::Config => Ok(shell_lines(&config)),
        Command::Migrate => {
            Db::new(&config.database).migrate().await.context("migrate the database")?;
            Ok(String::new())
        }
        Command::CreateAdmin => create_admin(&config, world).await,
        other => upkeep::perform(config, other, world).await,
    }
}

/// Makes the first administrator: its name and password, which is kept nowhere.
async fn create_admin(config: &Config, world: &World) -> anyhow::Result<String> {
    let password = generate(&*world.random);
    let typed = Password::typed(&password).context("generate a password")?;
    let hashed = Passwords::new(1, 0)?.hash(typed).await?;
    let name = UserName::parse(ADMIN).context("name the administrator")?;
    let new = NewUser {
        nickname: name.shown.clone(),
        name: name.shown,
        name_key: name.key,
        password: hashed,
        email: None,
        role: Role::Admin,
        quota_bytes: config.limits.quota_default_bytes,
        locale: "zh".to_owned(),
        created: UnixMs(world.clock.now().millis()),
    };
    let made = Db::new(&config.database).create_first_admin(&new).await;
    if !made.context("make the administrator")? {
        anyhow::bail!("there is an administrator already");
    }
    Ok(format!("name:     {ADMIN}\npassword: {password}\n"))
}

/// The configuration that the arguments or else the environment name.
fn load(places: Places) -> anyhow::Result<Config> {
    let conf = places.conf.or_else(|| std::env::var_os("FASTDISK_CONF").map(PathBuf::from));
    let run = places.run.or_else(|| std::env::var_os("FASTDISK_RUN").map(PathBuf::from));
    // What is typed or exported is relative to where that is done, not to the file.
    let run = run.map(std::path::absolute).transpose()?;
    Ok(Config::load(&conf.unwrap_or_else(|| PathBuf::from("conf/fastdisk.toml")), run)?)
}

/// One `section_key='value'` per line, safe for `eval`; lists are joined with blanks.
fn shell_lines(config: &Config) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let quoted = value.to_string().replace('\'', r"'\''");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key}='{quoted}'");
    };
    line("site_listen", &config.listen);
    if let Address::Tcp { host, port } = &config.listen {
        line("site_host", host);
        line("site_port", port);
    }
    line("site_public_url", &config.public_url.as_deref().unwrap_or_default());
    line("site_secret_file", &config.secret_file.display());
    line("site_trusted_proxies", &config.trusted_proxies.join(" "));
    line("store_private", &config.store.private);
    let trackers: Vec<String> = config.store.trackers.iter().map(Address::to_string).collect();
    line("store_trackers", &trackers.join(" "));
    line("store_group", &config.store.group.as_deref().unwrap_or_default());
    line("store_timeout_s", &config.store.timeout.as_secs());
    line("store_connect_timeout_s", &config.store.connect_timeout.as_secs());
    let database = &config.database;
    line("database_private", &database.private);
    match &database.server {
        Address::Unix(path) => line("database_socket", &path.display()),
        tcp @ Address::Tcp { .. } => line("database_address", tcp),
    }
    line("database_user", &database.user);
    line("database_password", &database.password);
    line("database_name", &database.name);
    line("database_connections_max", &database.connections_max);
    line("redis_private", &config.redis_private);
    line("redis_url", &config.redis_url);
    if let Some(path) = &config.redis_socket {
        line("redis_socket", &path.display());
    }
    line("memcached_private", &config.memcached_private);
    line("memcached_socket", &config.memcached_socket.display());
    line("workers", &WORKERS.join(" "));
    for (name, worker) in &config.workers {
        line(&format!("workers_{name}_listen"), &worker.listen);
        line(&format!("workers_{name}_processes"), &worker.processes);
    }
    for (name, value) in config.limits.table() {
        line(&format!("limits_{name}"), &value);
    }
    line("run_dir", &config.run_dir.display());
    line("run_tracker_port", &config.tracker_port);
    line("run_storage_port", &config.storage_port);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<(Places, Command)> {
        parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn command_lines() {
        let none = || Places { conf: None, run: None };
        let both = Places { conf: Some("a".into()), run: Some("b".into()) };
        assert_eq!(words("config"), Some((none(), Command::Config)));
        assert_eq!(words("--conf a --run b config"), Some((both, Command::Config)));
        assert_eq!(words("migrate"), Some((none(), Command::Migrate)));
        assert_eq!(words("create-admin"), Some((none(), Command::CreateAdmin)));
        assert_eq!(words("--help"), Some((none(), Command::Help)));
        let all =
            Reconcile { repair: true, sums: true, store_paths: vec!["/a".into(), "/b".into()] };
        let line = "reconcile --store-path /a --repair --store-path /b --sums";
        assert_eq!(words(line), Some((none(), Command::Reconcile(all))));
        let plain = Command::Reconcile(Reconcile::default());
        assert_eq!(words("reconcile"), Some((none(), plain)));
        assert_eq!(words("gc"), Some((none(), Command::Gc)));
        assert_eq!(words("backup f"), Some((none(), Command::Backup("f".into()))));
        let reset = Command::ResetPassword("bob".to_owned());
        assert_eq!(words("reset-password bob"), Some((none(), reset)));
        for wrong in ["reconcile --all", "reconcile --store-path", "gc now", "backup", "export a b"]
        {
            assert_eq!(words(wrong), None, "{wrong}");
        }
        for wrong in ["", "--conf", "--run x", "confgi", "config more", "-x config"] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/fastdisk.toml");
        let mut config = Config::load(shipped.as_ref(), Some("/x'; touch /y; '".into())).unwrap();
        config.database.password = "a'b".to_owned();
        let text = shell_lines(&config);
        assert!(text.contains(r"database_password='a'\''b'"), "{text}");
        assert!(text.contains(r"run_dir='/x'\''; touch /y; '\'''"), "{text}");
    }
}
