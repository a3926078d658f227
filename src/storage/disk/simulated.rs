//! For tests: a disk in memory that numbers its effects, fails or dies at a chosen one, and
//! forgets at a power loss what was not synced.
//!
//! Content and names have a cached and a durable state, synced separately, as testing.md 6.2
//! asks. Chance comes from the seed that the test prints.
#![allow(clippy::unwrap_used, reason = "only in builds for tests")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::port::{Disk, DiskFile, Kind, Open, Space, Stat};

/// What shall go wrong, counted from the first effect as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Nothing,
    /// This effect fails with this errno, once.
    Fail(u64, i32),
    /// This effect and all later ones fail.
    FailFrom(u64, i32),
    /// The process dies before this effect: it and all later ones have no effect.
    Die(u64),
    /// No new file can be made: there is no free inode.
    NoInode,
    /// The same, until the process dies before this effect.
    NoInodeThenDie(u64),
    /// There is no room: no file can be made or grow.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
    /// The path it leads to, as content.
    Link(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// As it was set; a file that was only written has that of the clock.
    mtime: Option<i64>,
}

/// There is no room.
const ENOSPC: i32 = 28;

/// What the clock of this disk always shows.
const NOW: i64 = 1_700_000_000;

#[derive(Clone, Debug)]
struct World {
    contents: Vec<Content>,
    cached: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    plan: Plan,
    effects: u64,
    bytes_read: u64,
    /// Who removed a file last.
    remover: Option<std::thread::ThreadId>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    content: usize,
}

/// A generator of the test's own, so that a seed means the same for ever (splitmix64).
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 0
    }
}

/// The unit in which unsynced content survives or not.
const SECTOR: usize = 512;

impl SimulatedDisk {
    /// A disk with these directories, all durable.
    pub fn with_dirs(dirs: &[&str]) -> Self {
        let names: BTreeMap<_, _> =
            dirs.iter().map(|dir| (PathBuf::from(dir), Node::Dir)).collect();
        let world = World {
            contents: Vec::new(),
            cached: names.clone(),
            durable: names,
            plan: Plan::Nothing,
            effects: 0,
            bytes_read: 0,
            remover: None,
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets what goes wrong from now on; effects are counted anew.
    pub fn plan(&self, plan: Plan) {
        let mut world = self.lock();
        world.plan = plan;
        world.effects = 0;
    }

    /// Effects since the plan was set.
    pub fn effects(&self) -> u64 {
        self.lock().effects
    }

    /// Bytes of files that were read, since the beginning.
    pub fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// The thread that removed a file last.
    pub fn remover(&self) -> Option<std::thread::ThreadId> {
        self.lock().remover
    }

    /// The disk as the next process finds it after this one died: all that was written.
    pub fn after_kill(&self) -> Self {
        let mut world = self.lock().clone();
        world.plan = Plan::Nothing;
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// The disk after a power loss: what was synced, and of the rest what chance leaves.
    pub fn after_power_loss(&self, chance: &mut Chance) -> Self {
        let mut world = self.lock().clone();
        let paths: Vec<_> = world.cached.keys().chain(world.durable.keys()).cloned().collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let (cached, durable) = (world.cached.get(&path), world.durable.get(&path));
            let kept = if cached == durable || chance.coin() { durable } else { cached };
            if let Some(node) = kept {
                names.insert(path, *node);
            }
        }
        // A name whose directory was lost is lost with it.
        let whole = names.clone();
        let root = |path: &Path| path.parent().is_none_or(|dir| dir == Path::new("/"));
        names.retain(|path, _| {
            let mut dirs = path.ancestors().skip(1).take_while(|dir| *dir != Path::new("/"));
            root(path) || dirs.all(|dir| whole.contains_key(dir))
        });
        for content in &mut world.contents {
            content.durable = torn(&content.cached, &content.durable, chance);
            content.cached = content.durable.clone();
        }
        (world.cached, world.durable) = (names.clone(), names);
        world.plan = Plan::Nothing;
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// All files and what is in them.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.lock();
        let files = world.cached.iter().filter_map(|(path, node)| match node {
            Node::File(content) => Some((path.clone(), world.contents[*content].cached.clone())),
            Node::Dir | Node::Link(_) => None,
        });
        files.collect()
    }

    /// Changes one bit of the file at `path`, behind everybody's back; `at` is taken round.
    pub fn damage(&self, path: &Path, at: usize) -> bool {
        let mut world = self.lock();
        let Some(Node::File(content)) = world.cached.get(path).copied() else { return false };
        let content = &mut world.contents[content];
        for bytes in [&mut content.cached, &mut content.durable] {
            let place = at.checked_rem(bytes.len());
            if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
                *byte ^= 1;
            }
        }
        true
    }

    /// The disk after all that was below `dir` is gone.
    #[must_use]
    pub fn emptied(&self, dir: &Path) -> Self {
        let mut world = self.lock().clone();
        world.cached.retain(|path, _| path == dir || !path.starts_with(dir));
        world.durable.retain(|path, _| path == dir || !path.starts_with(dir));
        Self { world: Arc::new(Mutex::new(world)) }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Refuses what would make a file longer than it is, if there is no room.
    fn grow(&self, content: usize, len: usize) -> io::Result<()> {
        let world = self.lock();
        let grows = world.contents[content].cached.len() < len;
        match world.plan {
            Plan::Full if grows => Err(io::Error::from_raw_os_error(ENOSPC)),
            _ => Ok(()),
        }
    }

    /// Counts an effect that needs an inode.
    fn making(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.effect()?;
        match world.plan {
            Plan::NoInode | Plan::NoInodeThenDie(_) | Plan::Full => {
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            _ => Ok(world),
        }
    }

    /// Counts an effect; an error if the plan says so. `hint` for writes: half of it happens.
    fn effect(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.lock();
        world.effects += 1;
        let now = world.effects;
        let errno = match world.plan {
            Plan::Fail(at, errno) if at == now => Some(errno),
            Plan::FailFrom(at, errno) if at <= now => Some(errno),
            Plan::Die(at) | Plan::NoInodeThenDie(at) if at <= now => Some(5),
            _ => None,
        };
        match errno {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(world),
        }
    }

    fn file(&self, content: usize) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile { disk: self.clone(), content })
    }
}

/// Unsynced content: each sector, and the length, is old or new.
fn torn(cached: &[u8], durable: &[u8], chance: &mut Chance) -> Vec<u8> {
    if cached == durable {
        return durable.to_vec();
    }
    let len = if chance.coin() { cached.len() } else { durable.len() };
    let mut out = vec![0; len];
    for (at, sector) in out.chunks_mut(SECTOR).enumerate() {
        let source = if chance.coin() { cached } else { durable };
        let source = source.get(at * SECTOR..).unwrap_or(&[]);
        let count = sector.len().min(source.len());
        sector[..count].copy_from_slice(&source[..count]);
    }
    out
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl World {
    fn node(&self, path: &Path) -> io::Result<Node> {
        self.cached.get(path).copied().ok_or_else(not_found)
    }

    fn needs_dir_of(&self, path: &Path) -> io::Result<()> {
        match path.parent().map(|dir| self.node(dir)) {
            Some(Ok(Node::Dir)) => Ok(()),
            _ => Err(not_found()),
        }
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(match self.node(path)? {
            Node::Dir => Stat { kind: Kind::Dir, len: 0, mtime: 0 },
            Node::File(content) => self.content_stat(content),
            Node::Link(content) => Stat { kind: Kind::Link, ..self.content_stat(content) },
        })
    }

    /// What `path` is, or the link there leads to.
    fn resolved(&self, path: &Path) -> PathBuf {
        match self.cached.get(path) {
            Some(Node::Link(content)) => {
                String::from_utf8_lossy(&self.contents[*content].cached).into_owned().into()
            }
            _ => path.to_owned(),
        }
    }

    fn content_stat(&self, content: usize) -> Stat {
        let found = &self.contents[content];
        let len = found.cached.len() as u64;
        Stat { kind: Kind::File, len, mtime: found.mtime.unwrap_or(NOW) }
    }

    fn new_file(&mut self, path: &Path) -> io::Result<usize> {
        self.needs_dir_of(path)?;
        self.contents.push(Content::default());
        let content = self.contents.len() - 1;
        self.cached.insert(path.to_owned(), Node::File(content));
        Ok(content)
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.making()?;
        if world.cached.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = world.new_file(path)?;
        Ok(self.file(content))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.effect()?;
        let path = &*if how == Open::Read { world.resolved(path) } else { path.to_owned() };
        let content = match world.node(path) {
            Ok(Node::File(content)) => content,
            Ok(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(Node::Link(_)) => return Err(io::Error::from_raw_os_error(40)),
            Err(_) if how == Open::WriteOrCreate => world.new_file(path)?,
            Err(error) => return Err(error),
        };
        Ok(self.file(content))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        if world.cached.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.needs_dir_of(to)?;
        let node = world.cached.remove(from).ok_or_else(not_found)?;
        world.cached.insert(to.to_owned(), node);
        Ok(())
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        world.needs_dir_of(to)?;
        let node = world.cached.remove(from).ok_or_else(not_found)?;
        world.cached.insert(to.to_owned(), node);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        let inside = |(path, _): &(&PathBuf, &Node)| path.parent() == Some(dir);
        let now: Vec<_> =
            world.cached.iter().filter(inside).map(|(p, n)| (p.clone(), *n)).collect();
        world.durable.retain(|path, _| path.parent() != Some(dir));
        world.durable.extend(now);
        Ok(())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        if world.cached.contains_key(dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.needs_dir_of(dir)?;
        world.cached.insert(dir.to_owned(), Node::Dir);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        world.remover = Some(std::thread::current().id());
        world.cached.remove(path).map(|_| ()).ok_or_else(not_found)
    }

    fn make_link(&self, target: &Path, at: &Path) -> io::Result<()> {
        let mut world = self.effect()?;
        if world.cached.contains_key(at) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = world.new_file(at)?;
        let text = target.to_str().expect("paths of tests are text").as_bytes().to_vec();
        world.contents[content] = Content { cached: text.clone(), durable: text, mtime: None };
        world.cached.insert(at.to_owned(), Node::Link(content));
        Ok(())
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let world = self.effect()?;
        match world.node(path)? {
            Node::Link(_) => Ok(world.resolved(path)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let world = self.effect()?;
        let inside = world.cached.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()).map(Into::into).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.effect()?.stat(path)
    }

    fn stat_target(&self, path: &Path) -> io::Result<Stat> {
        let world = self.effect()?;
        world.stat(&world.resolved(path))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let world = self.effect()?;
        let free = if world.plan == Plan::Full { 0 } else { 1 << 39 };
        Ok(Space { total: 1 << 40, free })
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        let write = |world: &mut World, bytes: &[u8]| {
            let content = &mut world.contents[self.content].cached;
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        };
        self.disk.grow(self.content, at + bytes.len())?;
        match self.disk.effect() {
            Ok(mut world) => {
                write(&mut world, bytes);
                Ok(())
            }
            Err(error) => {
                // A write that fails may have written a part; a dead process writes nothing.
                let mut world = self.disk.lock();
                if !matches!(world.plan, Plan::Die(_)) {
                    write(&mut world, &bytes[..bytes.len() / 2]);
                }
                Err(error)
            }
        }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut world = self.disk.effect()?;
        let content = &world.contents[self.content].cached;
        let rest = content.get(offset as usize..).unwrap_or(&[]);
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        world.bytes_read += count as u64;
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.effect()?;
        let content = &mut world.contents[self.content];
        content.durable = content.cached.clone();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.grow(self.content, len as usize)?;
        self.disk.effect()?.contents[self.content].cached.resize(len as usize, 0);
        Ok(())
    }

    fn set_mtime(&self, secs: i64) -> io::Result<()> {
        self.disk.effect()?.contents[self.content].mtime = Some(secs);
        Ok(())
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.grow(self.content, (offset + len) as usize)?;
        self.disk.effect().map(|_| ())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.disk.effect()?.content_stat(self.content))
    }
}
