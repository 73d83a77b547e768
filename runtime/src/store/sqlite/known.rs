//! Which messages were never seen: nearly every webhook's, and to know it without a look into the
//! tables saves a page read for each.

use super::{BUSY_TIMEOUT, failed};
use amochats::Result;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// 4 MB, of which as much is taken as was touched. A message that is new is taken for one that may have
/// been seen in 1 of 300 cases with a million of them, in 1 of 5 with ten million.
const WORDS: usize = 1 << 19;
/// After so many rows the thread that reads the table looks whether it is still wanted.
const ROWS: usize = 10_000;

/// A Bloom filter of the messages' numbers, which are as good as random. It forgets nothing: a number
/// that was taken away costs a look, no more.
struct Bits(Vec<u64>);

impl Bits {
    fn new() -> Self {
        Self(vec![0; WORDS])
    }

    fn place(key: i64) -> (usize, u64) {
        let key = key.cast_unsigned();
        let word = usize::try_from(key >> 45).expect("19 bits");
        (word, 1 << (key & 63) | 1 << (key >> 6 & 63) | 1 << (key >> 12 & 63))
    }

    fn add(&mut self, key: i64) {
        let (word, bits) = Self::place(key);
        self.0[word] |= bits;
    }

    fn may_have(&self, key: i64) -> bool {
        let (word, bits) = Self::place(key);
        self.0[word] & bits == bits
    }
}

/// What may have been seen. Until the table has been read, beside the work, that is everything.
#[derive(Default)]
pub(super) struct Known {
    bits: Option<Bits>,
    reading: Option<Reading>,
}

struct Reading {
    result: Receiver<Bits>,
    unwanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Known {
    /// Begins to read the table of the store in this file.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let (done, result) = sync_channel(1);
        let unwanted = Arc::new(AtomicBool::new(false));
        // It logs to where the writer does.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let (path, stop) = (path.to_owned(), unwanted.clone());
        let read = move || match read(path, &stop) {
            Ok(Some(bits)) => drop(done.send(bits)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the messages seen could not be read; webhooks cost a little more");
            }
        };
        let thread = std::thread::Builder::new()
            .name("amochats-known".into())
            .spawn(move || tracing::dispatcher::with_default(&log, read))
            .map_err(|error| {
                failed(format!("cannot start the thread that reads the messages seen: {error}"))
            })?;
        let reading = Reading { result, unwanted, thread: Some(thread) };
        Ok(Self { bits: Some(Bits::new()), reading: Some(reading) })
    }

    /// A message was seen.
    pub(super) fn add(&mut self, key: i64) {
        if let Some(bits) = &mut self.bits {
            bits.add(key);
        }
    }

    /// False: no message of this number was ever seen.
    pub(super) fn may_have(&mut self, key: i64) -> bool {
        if let Some(reading) = &self.reading {
            match (reading.result.try_recv(), &mut self.bits) {
                (Ok(read), Some(bits)) => {
                    bits.0.iter_mut().zip(read.0).for_each(|(bits, read)| *bits |= read);
                    self.reading = None;
                }
                (Err(TryRecvError::Empty), _) => return true,
                // It could not be read.
                (Err(TryRecvError::Disconnected) | Ok(_), _) => *self = Self::default(),
            }
        }
        self.bits.as_ref().is_none_or(|bits| bits.may_have(key))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// None: nobody wants it any more.
fn read(path: PathBuf, unwanted: &AtomicBool) -> rusqlite::Result<Option<Bits>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut bits = Bits::new();
    let mut statement = connection.prepare("SELECT dedup_key FROM dedup")?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        bits.add(row.get(0)?);
        count += 1;
        if count % ROWS == 0 && unwanted.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    Ok(Some(bits))
}
