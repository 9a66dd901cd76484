//! A tier on a local disk that survives a restart, and being killed.
//!
//! One file a record, written beside and renamed when it is complete, so that a name always stands for a whole record as
//! far as the file system keeps its word; check sums find out where it did not: one over the head, one that binds the
//! record to this head, since a disk that lost power may show the blocks of another file. Which files there are, and for
//! which keys, is kept in memory and read back from their heads at the start. There is no journal to replay and nothing
//! to repair: a file that does not read well is deleted. A lock on one more file, `lock`, keeps other processes out for as
//! long as the tier is open; it is gone with the process, however that ends.
//!
//! ```text
//! file := magic(8) head_length(u32) head_sum(u64) head record file_sum(u64 over head_sum and the record's sum)
//! head := record_length(u64) expires(u64) key_length(u32) key tag_count(u16) { length(u16) tag }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ahash::RandomState;
use bytes::{Buf, Bytes};

use super::date;
use super::handle::Purge;
use super::key::{CacheKey, MAX_KEY_BYTES};
use super::record::checksum;
use super::tier::{Record, Tier, TierFuture};

const MAGIC: &[u8; 8] = b"popdisk2";

/// Magic, length and sum of the head.
const START_BYTES: usize = 8 + 4 + 8;

/// At most this many writes wait for the disk; further records are dropped, and fetched again should they be missed.
pub const MAX_DISK_WRITES: usize = 64;

/// What survives what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Records are handed to the kernel, which writes them when it likes. All of them survive the end of the process,
    /// `kill -9` too. When the machine goes down the latest may be missing or torn; torn ones are found out by their
    /// sums and fetched again.
    #[default]
    Process,
    /// Each record is on the disk, and its name in the folder, before it counts (`fsync` of both): what was stored
    /// survives a loss of power as well. Costs two waits for the disk a record, on a thread for blocking work.
    Power,
}

/// The longest head of a file: a key and 128 tags.
const HEAD_BYTES_MAX: u64 = MAX_KEY_BYTES as u64 + TAGS_MAX as u64 * (u16::MAX as u64 + 2) + 64;

/// At most this many tags of a record are kept; it has no more.
const TAGS_MAX: usize = 128;

/// A [`Tier`] in a folder of its own. A clone is another handle on the same tier.
#[derive(Clone, Debug)]
pub struct DiskTier {
    disk: Arc<Disk>,
}

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    capacity: u64,
    durability: Durability,
    index: Mutex<Index>,
    writes: AtomicUsize,
    /// Held until the last handle is dropped.
    _lock: File,
}

#[derive(Debug, Default)]
struct Index {
    files: HashMap<CacheKey, Entry, RandomState>,
    /// The keys by the time of their last use, the oldest first.
    by_use: BTreeMap<u64, CacheKey>,
    bytes: u64,
    /// Names of files and times of use count up together.
    next: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    file: u64,
    used: u64,
    bytes: u64,
    expires: SystemTime,
    tags: Vec<String>,
}

impl DiskTier {
    /// Opens a folder, or makes it; what is there from an earlier run is used again, least recently written first to
    /// go. `capacity` bounds the bytes of all files. Blocks while it reads the head of every file: call it before
    /// serving, or on a thread for blocking work. The folder is locked: it belongs to one tier at a time.
    ///
    /// # Errors
    /// The folder cannot be made, read or written; or ([`ResourceBusy`](io::ErrorKind::ResourceBusy)) another tier, of
    /// this process or another, has it open.
    pub fn open(folder: impl Into<PathBuf>, capacity: u64) -> io::Result<Self> {
        Self::open_with(folder, capacity, Durability::default())
    }

    /// As [`open`](Self::open), and says what stored records survive.
    ///
    /// # Errors
    /// The folder cannot be made, read or written.
    pub fn open_with(folder: impl Into<PathBuf>, capacity: u64, durability: Durability) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let lock = lock(&folder)?;
        let mut index = Index::default();
        let mut numbers = Vec::new();
        for file in fs::read_dir(&folder)? {
            let path = file?.path();
            match number(&path) {
                Some(number) => numbers.push(number),
                // What was being written when the last run ended.
                None if path.extension().is_some_and(|extension| extension == "part") => {
                    fs::remove_file(&path)?;
                }
                None => {}
            }
        }
        numbers.sort_unstable();
        for number in numbers {
            let path = path(&folder, number);
            match read_head(&path) {
                Ok((key, entry)) => index
                    .add(key, Entry { file: number, used: number, ..entry })
                    .into_iter()
                    .for_each(|old| remove(&folder, old)),
                Err(_) => fs::remove_file(&path)?,
            }
            index.next = index.next.max(number + 1);
        }
        let disk = Disk {
            folder,
            capacity,
            durability,
            index: Mutex::new(index),
            writes: AtomicUsize::new(0),
            _lock: lock,
        };
        disk.evict();
        Ok(Self { disk: Arc::new(disk) })
    }

    /// The bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.disk.lock().bytes
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.disk.lock().files.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs blocking work beside the runtime; `None` if the runtime is going down.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Disk) -> T + Send + 'static) -> Option<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await.ok()
    }
}

impl Tier for DiskTier {
    fn get<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, Option<Bytes>> {
        let Some(entry) = self.disk.touch(key) else { return Box::pin(std::future::ready(None)) };
        let key = key.clone();
        Box::pin(async move { self.blocking(move |disk| disk.read(&key, &entry)).await.flatten() })
    }

    fn put<'a>(&'a self, key: &'a CacheKey, record: Record) -> TierFuture<'a, ()> {
        // Relaxed: only a count of what waits.
        let waiting = self.disk.writes.fetch_add(1, Ordering::Relaxed);
        if waiting >= MAX_DISK_WRITES || record.bytes.len() as u64 > self.disk.capacity {
            self.disk.writes.fetch_sub(1, Ordering::Relaxed);
            return Box::pin(std::future::ready(()));
        }
        let key = key.clone();
        Box::pin(async move {
            // A disk that fails keeps nothing; the cache goes on without it.
            let _failed = self.blocking(move |disk| disk.write(key, &record)).await;
            self.disk.writes.fetch_sub(1, Ordering::Relaxed);
        })
    }

    fn remove<'a>(&'a self, key: &'a CacheKey) -> TierFuture<'a, ()> {
        let gone = self.disk.lock().take(key);
        self.forget(gone.into_iter().collect())
    }

    fn purge<'a>(&'a self, what: &'a Purge) -> TierFuture<'a, ()> {
        let gone = self.disk.lock().take_all(|key, entry| what.concerns(key, &entry.tags));
        self.forget(gone)
    }
}

impl DiskTier {
    /// What is out of the index is not found any more; its files go when the disk finds the time.
    fn forget(&self, gone: Vec<Entry>) -> TierFuture<'_, ()> {
        if gone.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(async move {
            self.blocking(move |disk| gone.iter().for_each(|entry| remove(&disk.folder, entry.file))).await;
        })
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Index> {
        // The index is consistent whenever a step is over, and no step can panic in between.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a key is, now the most recently used.
    fn touch(&self, key: &CacheKey) -> Option<Entry> {
        let mut index = self.lock();
        let now = index.next;
        let entry = index.files.get_mut(key)?;
        let before = std::mem::replace(&mut entry.used, now);
        let entry = entry.clone();
        index.next += 1;
        index.by_use.remove(&before);
        index.by_use.insert(now, key.clone());
        Some(entry)
    }

    fn read(&self, key: &CacheKey, entry: &Entry) -> Option<Bytes> {
        let read = fs::read(path(&self.folder, entry.file)).ok().map(Bytes::from);
        let record = read.and_then(|bytes| record_of(key, bytes));
        if record.is_none() {
            let mut index = self.lock();
            // Another may have taken its place meanwhile.
            if index.files.get(key).is_some_and(|own| own.file == entry.file) {
                index.take(key);
            }
            drop(index);
            remove(&self.folder, entry.file);
        }
        record
    }

    fn write(&self, key: CacheKey, record: &Record) -> io::Result<()> {
        let number = {
            let mut index = self.lock();
            index.next += 1;
            index.next - 1
        };
        let (part, whole) = (self.folder.join(format!("{number:016x}.part")), path(&self.folder, number));
        let (head, head_sum) = head(&key, record);
        let sum = file_sum(head_sum, &record.bytes).to_be_bytes();
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(&head)?;
            file.write_all(&record.bytes)?;
            file.write_all(&sum)?;
            if self.durability == Durability::Power { file.sync_all() } else { Ok(()) }
        });
        if let Err(error) = written.and_then(|()| fs::rename(&part, &whole)).and_then(|()| self.sync_folder())
        {
            // A disk that is full has this much room again.
            let _gone = (fs::remove_file(&part), fs::remove_file(&whole));
            return Err(error);
        }
        let bytes = (head.len() + record.bytes.len() + sum.len()) as u64;
        let entry =
            Entry { file: number, used: number, bytes, expires: record.expires, tags: record.tags.clone() };
        if let Some(old) = self.lock().add(key, entry) {
            remove(&self.folder, old);
        }
        self.evict();
        Ok(())
    }

    /// Writes the names in the folder, where the platform knows of such a thing.
    fn sync_folder(&self) -> io::Result<()> {
        match self.durability {
            Durability::Power if cfg!(unix) => File::open(&self.folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Makes room: what is of no use any more goes first, then what was not used for longest.
    fn evict(&self) {
        let mut gone = Vec::new();
        let mut index = self.lock();
        if index.bytes > self.capacity {
            let now = SystemTime::now();
            gone = index.take_all(|_, entry| entry.expires <= now);
        }
        while index.bytes > self.capacity
            && let Some(key) = index.by_use.first_key_value().map(|(_, key)| key.clone())
        {
            gone.extend(index.take(&key));
        }
        drop(index);
        gone.iter().for_each(|entry| remove(&self.folder, entry.file));
    }
}

impl Index {
    /// Takes an entry in; says which file it replaces.
    fn add(&mut self, key: CacheKey, entry: Entry) -> Option<u64> {
        let old = match self.files.get(&key) {
            // Two writes of one key may end in either order.
            Some(other) if other.file > entry.file => return Some(entry.file),
            _ => self.take(&key).map(|old| old.file),
        };
        self.bytes += entry.bytes;
        self.by_use.insert(entry.used, key.clone());
        self.files.insert(key, entry);
        old
    }

    fn take(&mut self, key: &CacheKey) -> Option<Entry> {
        let entry = self.files.remove(key)?;
        self.by_use.remove(&entry.used);
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn take_all(&mut self, concerns: impl Fn(&CacheKey, &Entry) -> bool) -> Vec<Entry> {
        let keys: Vec<CacheKey> = self
            .files
            .iter()
            .filter(|(key, entry)| concerns(key, entry))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }
}

/// Takes the folder, before anything in it is looked at. Where the platform knows no locks, there is none.
fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{}: locked, so another process uses this folder", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.record"))
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".record")?;
    u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16)
}

fn remove(folder: &Path, number: u64) {
    // A file that cannot be removed now is replaced or found out at the next start.
    let _failed = fs::remove_file(path(folder, number));
}

/// The bytes before the record, and the sum of the head.
fn head(key: &CacheKey, record: &Record) -> (Vec<u8>, u64) {
    let nanos = date::since(record.expires, SystemTime::UNIX_EPOCH).as_nanos();
    let mut head = Vec::with_capacity(64 + key.as_str().len());
    head.extend_from_slice(&(record.bytes.len() as u64).to_be_bytes());
    head.extend_from_slice(&u64::try_from(nanos).unwrap_or(u64::MAX).to_be_bytes());
    head.extend_from_slice(&u32::try_from(key.as_str().len()).unwrap_or(u32::MAX).to_be_bytes());
    head.extend_from_slice(key.as_str().as_bytes());
    let tags: Vec<&String> =
        record.tags.iter().filter(|tag| tag.len() <= usize::from(u16::MAX)).take(TAGS_MAX).collect();
    head.extend_from_slice(&(tags.len() as u16).to_be_bytes());
    for tag in tags {
        head.extend_from_slice(&(tag.len() as u16).to_be_bytes());
        head.extend_from_slice(tag.as_bytes());
    }
    let sum = checksum(&head);
    let mut bytes = Vec::with_capacity(START_BYTES + head.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(&head);
    (bytes, sum)
}

/// The sum that binds a record to its head.
fn file_sum(head_sum: u64, record: &[u8]) -> u64 {
    let mut both = [0_u8; 16];
    both[..8].copy_from_slice(&head_sum.to_be_bytes());
    both[8..].copy_from_slice(&checksum(record).to_be_bytes());
    checksum(&both)
}

/// What the head of a file says.
struct Head {
    key: CacheKey,
    expires: SystemTime,
    tags: Vec<String>,
    sum: u64,
    /// Where the record begins, and how long it is.
    start: u64,
    length: u64,
}

/// The length and the sum of the head of a file.
fn split_start(bytes: &mut Bytes) -> Option<(u64, u64)> {
    let is_ours = bytes.len() >= START_BYTES && bytes.split_to(8) == MAGIC[..];
    let (length, sum) = is_ours.then(|| (u64::from(bytes.get_u32()), bytes.get_u64()))?;
    (length <= HEAD_BYTES_MAX).then_some((length, sum))
}

/// Reads the head of a file; what is not whole, or does not add up, is none.
fn split_head(mut bytes: Bytes) -> Option<Head> {
    let take = |bytes: &mut Bytes, length: usize| (bytes.len() >= length).then(|| bytes.split_to(length));
    let (head_length, sum) = split_start(&mut bytes)?;
    let mut head = take(&mut bytes, usize::try_from(head_length).ok()?)?;
    if checksum(&head) != sum {
        return None;
    }
    let length = take(&mut head, 8)?.get_u64();
    let expires = SystemTime::UNIX_EPOCH + Duration::from_nanos(take(&mut head, 8)?.get_u64());
    let key_length = usize::try_from(take(&mut head, 4)?.get_u32()).ok()?;
    let key = CacheKey::from_raw(std::str::from_utf8(&take(&mut head, key_length)?).ok()?);
    let count = take(&mut head, 2)?.get_u16();
    let mut tags = Vec::new();
    for _ in 0..count {
        let length = usize::from(take(&mut head, 2)?.get_u16());
        tags.push(std::str::from_utf8(&take(&mut head, length)?).ok()?.to_owned());
    }
    Some(Head { key, expires, tags, sum, start: START_BYTES as u64 + head_length, length })
}

/// The record of a file, if it is whole and of this key.
fn record_of(key: &CacheKey, bytes: Bytes) -> Option<Bytes> {
    let head = split_head(bytes.clone())?;
    if head.key != *key || bytes.len() as u64 != head.start.checked_add(head.length)?.checked_add(8)? {
        return None;
    }
    let (start, end) = (usize::try_from(head.start).ok()?, bytes.len() - 8);
    let (record, mut sum) = (bytes.slice(start..end), bytes.slice(end..));
    (sum.get_u64() == file_sum(head.sum, &record)).then_some(record)
}

/// The key and the entry of a file, from its head and its length.
fn read_head(path: &Path) -> io::Result<(CacheKey, Entry)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut start = vec![0; START_BYTES];
    file.read_exact(&mut start)?;
    let (length, _) = split_start(&mut Bytes::from(start.clone())).ok_or_else(invalid)?;
    file.take(length).read_to_end(&mut start)?;
    let head = split_head(Bytes::from(start)).ok_or_else(invalid)?;
    if head.start.saturating_add(head.length).saturating_add(8) != bytes {
        return Err(invalid());
    }
    Ok((head.key, Entry { file: 0, used: 0, bytes, expires: head.expires, tags: head.tags }))
}
