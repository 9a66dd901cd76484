//! A cache written out and read back, for a warm restart.
//!
//! ```text
//! magic "popcach1" · written at (nanoseconds since 1970, u64)
//! for each entry: length u32 (not 0) · CRC-32 of the body u32 · body
//! at the end    : 0 u32 · number of entries u64 · CRC-32 of that u32
//! ```
//!
//! All numbers little-endian; a body is a [`Record`] in postcard's encoding. An entry is taken in only when its sum is
//! right, so what comes before damage is in the cache when the damage is found, and nothing that was damaged is.

use std::fmt;
use std::hash::Hash;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entry::Extra;
use crate::index::Found;
use crate::store::Terms;
use crate::sync::Ordering;
use crate::{Cache, Timestamp};

const MAGIC: [u8; 8] = *b"popcach1";
/// Bytes of one entry, at most.
const BODY_BYTES_MAX: u32 = 1 << 30;

/// One entry; times are nanoseconds from when it was written.
#[derive(Serialize, Deserialize)]
struct Record<K, V, T> {
    key: K,
    value: V,
    weight: u64,
    /// When it is over unless it is hit.
    deadline: Option<u64>,
    /// When it is over however often it is hit.
    end: Option<u64>,
    refresh_at: Option<u64>,
    idle: Option<u64>,
    tags: T,
}

/// What became of a snapshot's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Taken in. If they are more than fit, the cache has evicted some of them since.
    pub entries: u64,
    /// Their time was over.
    pub expired: u64,
    /// They weigh more than this cache's capacity, or readers held the room.
    pub refused: u64,
}

/// A snapshot that can't be written or restored. Entries before the offset are in the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The reader or the writer failed.
    Io(io::Error),
    /// It does not begin as a snapshot does.
    Magic,
    /// It ends at this offset, before its end.
    Torn {
        /// Bytes that could be read.
        offset: u64,
    },
    /// What begins at this offset is not what was written.
    Corrupt {
        /// Where it stands.
        offset: u64,
    },
    /// An entry is larger than a gibibyte.
    Length {
        /// Where it stands, or would.
        offset: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// An entry is whole, but is none of these types; or it can't be written.
    Types {
        /// Where it stands, or would.
        offset: u64,
        /// What the encoding says.
        reason: String,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => write!(f, "a snapshot could not be read or written"),
            Self::Magic => write!(f, "not a snapshot of a cache"),
            Self::Torn { offset } => write!(f, "snapshot torn at byte {offset}"),
            Self::Corrupt { offset } => write!(f, "snapshot damaged at byte {offset}"),
            Self::Length { offset, bytes } => {
                write!(
                    f,
                    "snapshot with an entry of {bytes} bytes at byte {offset}, at most {BODY_BYTES_MAX} allowed"
                )
            }
            Self::Types { offset, reason } => {
                write!(f, "snapshot with an entry of other types at byte {offset}: {reason}")
            }
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Writes every live entry out, with its weight, tags, and what is left of its times, and says how many they are.
    /// Other threads go on meanwhile: what they change may be in it or not. The writer gets one call for each entry.
    ///
    /// # Errors
    /// The writer's; and [`SnapshotError::Length`] or [`SnapshotError::Types`] of an entry that can't be written.
    pub fn save(&self, writer: impl Write) -> Result<u64, SnapshotError>
    where
        K: Serialize,
        V: Serialize,
    {
        self.save_at(writer, SystemTime::now())
    }

    /// [`save`](Self::save) with the caller's wall clock.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_at(&self, mut writer: impl Write, wall: SystemTime) -> Result<u64, SnapshotError>
    where
        K: Serialize,
        V: Serialize,
    {
        let store = &self.shared().store;
        let now = store.now(None);
        let written_at = nanos(wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        writer.write_all(&MAGIC)?;
        writer.write_all(&written_at.to_le_bytes())?;
        let (mut offset, mut entries) = (16, 0_u64);
        for found in store.index.walk().filter(|found| store.fault(found, Some(now)).is_none()) {
            let body = self.body(&found, now).map_err(|reason| SnapshotError::Types { offset, reason })?;
            drop(found);
            let bytes = body.len() as u64 - 8;
            if bytes > u64::from(BODY_BYTES_MAX) {
                return Err(SnapshotError::Length { offset, bytes });
            }
            writer.write_all(&body)?;
            offset += body.len() as u64;
            entries += 1;
        }
        let mut end = [0; 16];
        end[4..12].copy_from_slice(&entries.to_le_bytes());
        end[12..].copy_from_slice(&crc32fast::hash(&entries.to_le_bytes()).to_le_bytes());
        writer.write_all(&end)?;
        writer.flush()?;
        Ok(entries)
    }

    /// An entry with its length and sum.
    fn body(&self, found: &Found<'_, K, V>, now: Timestamp) -> Result<Vec<u8>, String>
    where
        K: Serialize,
        V: Serialize,
    {
        let store = &self.shared().store;
        let left = |at: Timestamp| nanos(at.saturating_since(now));
        let extra = store.index.extra(found);
        let deadline = store.deadline_of(found.handle, found.slot.kind.load(Ordering::Relaxed));
        let record = Record {
            key: found.key(),
            value: found.value(),
            weight: store.weight_of(found.handle),
            deadline: deadline.map(left),
            end: extra.and_then(|extra| extra.end).map(left),
            refresh_at: extra.and_then(|extra| extra.refresh_at).map(left),
            idle: extra.and_then(|extra| extra.idle).map(nanos),
            tags: extra.map_or(&[][..], |extra| &extra.tags),
        };
        let mut bytes = postcard::to_extend(&record, vec![0; 8]).map_err(|error| error.to_string())?;
        let (head, body) = bytes.split_at_mut(8);
        head[..4].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        Ok(bytes)
    }

    /// Takes in what [`save`](Self::save) wrote, over what is there, with the weights it had then. The time since then
    /// counts: an entry that had ten seconds left and was away for four has six.
    ///
    /// # Errors
    /// A snapshot that is torn, damaged, or of other types is refused from where that begins: the entries before it are
    /// in the cache.
    pub fn restore(&self, reader: impl Read) -> Result<Restored, SnapshotError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        self.restore_at(reader, SystemTime::now())
    }

    /// [`restore`](Self::restore) with the caller's wall clock.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, reader: impl Read, wall: SystemTime) -> Result<Restored, SnapshotError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        let mut input = Input { reader, offset: 0 };
        if input.array::<8>()? != MAGIC {
            return Err(SnapshotError::Magic);
        }
        let written_at = Duration::from_nanos(u64::from_le_bytes(input.array()?));
        let away = wall.duration_since(SystemTime::UNIX_EPOCH + written_at).unwrap_or_default();
        let mut restored = Restored::default();
        let mut body = Vec::new();
        for entries in 0.. {
            let offset = input.offset;
            let length = u32::from_le_bytes(input.array()?);
            if length == 0 {
                let count: [u8; 8] = input.array()?;
                let sum = u32::from_le_bytes(input.array()?);
                if sum != crc32fast::hash(&count) || u64::from_le_bytes(count) != entries {
                    return Err(SnapshotError::Corrupt { offset });
                }
                break;
            }
            if length > BODY_BYTES_MAX {
                return Err(SnapshotError::Length { offset, bytes: u64::from(length) });
            }
            let sum = u32::from_le_bytes(input.array()?);
            input.body(u64::from(length), &mut body)?;
            if sum != crc32fast::hash(&body) {
                return Err(SnapshotError::Corrupt { offset });
            }
            let record: Record<K, V, Vec<u64>> = postcard::from_bytes(&body)
                .map_err(|error| SnapshotError::Types { offset, reason: error.to_string() })?;
            self.take_in(record, nanos(away), &mut restored);
        }
        Ok(restored)
    }

    fn take_in(&self, record: Record<K, V, Vec<u64>>, away: u64, restored: &mut Restored) {
        let times = [record.deadline, record.end];
        if times.into_iter().flatten().any(|left| left <= away) {
            restored.expired += 1;
            return;
        }
        let store = &self.shared().store;
        let now = store.now(None);
        let then = |left: u64| now.saturating_add(Duration::from_nanos(left.saturating_sub(away)));
        let (deadline, idle) = (record.deadline.map(then), record.idle.map(Duration::from_nanos));
        let (end, refresh_at) = (record.end.map(then), record.refresh_at.map(then));
        let extra = Extra::new(record.tags.into(), store.tags.epoch(), idle, end, refresh_at);
        let extra = extra.is_needed().then(|| Box::new(extra));
        let terms = Terms { weight: record.weight.max(1), deadline, extra };
        match self.insert_on(record.key, record.value, terms, None) {
            Ok(()) => restored.entries += 1,
            Err(_) => restored.refused += 1,
        }
    }
}

/// A reader that knows how far it is.
struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> Input<R> {
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], SnapshotError> {
        let mut bytes = Vec::with_capacity(LENGTH);
        self.body(LENGTH as u64, &mut bytes)?;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    /// Reads so many bytes. A length that lies costs no memory: the buffer grows with what comes.
    fn body(&mut self, length: u64, bytes: &mut Vec<u8>) -> Result<(), SnapshotError> {
        bytes.clear();
        let read = (&mut self.reader).take(length).read_to_end(bytes)? as u64;
        self.offset += read;
        if read < length { Err(SnapshotError::Torn { offset: self.offset }) } else { Ok(()) }
    }
}
