//! The tables of the embedded store, and batches of transactions on them. No threads here: the
//! power-loss tests drive this part step by step.

use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::Arc;

use berth_model::Revision;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, TableHandle};

use crate::error::Damage;
use crate::transaction::{Outcome, Row, Rows, carry_out};
use crate::{KeyValue, StoreError, Transaction, only_newest};

/// The newest format of the tables that this program writes and reads.
pub(crate) const FORMAT: u64 = 1;
/// Key to the revision that wrote it (8 bytes, big-endian) followed by the value.
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// `format` and `revision`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const REVISION_KEY: &str = "revision";

/// Why the tables could not be opened.
#[derive(Debug)]
pub(crate) enum SetupError {
    Foreign,
    Newer(u64),
    Damage(Damage),
    Engine(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for SetupError {
    fn from(error: E) -> SetupError {
        let error = Box::new(error.into());
        if is_damage(&error) { SetupError::Damage(Damage::Engine(error)) } else { SetupError::Engine(error) }
    }
}

/// Whether the file is at fault, and not the disk or the program.
fn is_damage(error: &redb::Error) -> bool {
    match error {
        // No store of ours was ever in an older format of the engine.
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::Io(error) => matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof),
        _ => false,
    }
}

/// What came of one transaction of a batch, and the newest revision after it.
pub(crate) type Done = (Outcome, Revision);

/// The writing side: there is one.
pub(crate) struct Engine {
    database: Arc<Database>,
    revision: Revision,
}

impl Engine {
    /// Makes the tables in an empty database, or checks those that are there: all pages against their
    /// checksums, so that damage is found now and not in the middle of a reign. The server reads it all
    /// anyhow when it begins.
    pub fn open(mut database: Database) -> Result<Engine, SetupError> {
        if !database.check_integrity()? {
            return Err(SetupError::Damage(Damage::Checksums));
        }
        let revision = match stored_revision(&database)? {
            Some(revision) => revision,
            None => make_tables(&database)?,
        };
        Ok(Engine { database: Arc::new(database), revision })
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// For reading beside the writer.
    pub fn reader(&self) -> Reader {
        Reader { database: self.database.clone() }
    }

    /// Carries the transactions out in order and makes them durable together: all of the batch, or none.
    /// Each has its own guards, outcome and revision. After an error the engine must be opened anew.
    pub fn commit(&mut self, batch: Vec<Transaction>) -> Result<Vec<Done>, StoreError> {
        let write = self.database.begin_write().map_err(engine("begin of a commit"))?;
        let (done, newest) = carry_out_all(&write, batch, self.revision)?;
        if newest == self.revision {
            write.abort().map_err(engine("abort of a commit"))?;
        } else {
            write.commit().map_err(engine("commit"))?;
        }
        self.revision = newest;
        Ok(done)
    }
}

fn carry_out_all(
    write: &redb::WriteTransaction,
    batch: Vec<Transaction>,
    mut newest: Revision,
) -> Result<(Vec<Done>, Revision), StoreError> {
    let before = newest;
    let mut rows = write.open_table(ROWS).map_err(engine("opening of table rows"))?;
    let mut done = Vec::with_capacity(batch.len());
    for transaction in batch {
        let outcome = carry_out(&mut rows, transaction, Revision(newest.0 + 1))?;
        if matches!(outcome, Outcome::Changed(_)) {
            newest = Revision(newest.0 + 1);
        }
        done.push((outcome, newest));
    }
    if newest != before {
        let mut meta = write.open_table(META).map_err(engine("opening of table meta"))?;
        meta.insert(REVISION_KEY, newest.0).map_err(engine("write of the revision"))?;
    }
    Ok((done, newest))
}

/// The revision of a database with our tables; None for an empty one.
fn stored_revision(database: &Database) -> Result<Option<Revision>, SetupError> {
    let read = database.begin_read()?;
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            let empty = read.list_tables()?.next().is_none();
            return if empty { Ok(None) } else { Err(SetupError::Foreign) };
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(SetupError::Foreign),
    };
    let format = meta.get(FORMAT_KEY)?.ok_or(SetupError::Damage(Damage::Missing(FORMAT_KEY)))?.value();
    if format > FORMAT {
        return Err(SetupError::Newer(format));
    }
    let revision = meta.get(REVISION_KEY)?.ok_or(SetupError::Damage(Damage::Missing(REVISION_KEY)))?.value();
    if !read.list_tables()?.any(|table| table.name() == ROWS.name()) {
        return Err(SetupError::Damage(Damage::Missing("rows")));
    }
    Ok(Some(Revision(revision)))
}

fn make_tables(database: &Database) -> Result<Revision, SetupError> {
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(REVISION_KEY, 0)?;
        write.open_table(ROWS)?;
    }
    write.commit()?;
    Ok(Revision(0))
}

/// The reading side: any number, on any thread.
#[derive(Clone)]
pub(crate) struct Reader {
    database: Arc<Database>,
}

impl Reader {
    /// One key.
    pub fn get(&self, key: &[u8]) -> Result<(Option<KeyValue>, Revision), StoreError> {
        let snapshot = Snapshot::take(&self.database)?;
        let found = snapshot.rows.get(key).map_err(engine("read of a key"))?;
        let row = found.map(|guard| unpack(guard.value())).transpose()?;
        Ok((row.map(|row| KeyValue { key: key.to_vec(), value: row.value, modified: row.modified }), snapshot.revision))
    }

    /// Some keys, in order.
    pub fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        let snapshot = Snapshot::take(&self.database)?;
        only_newest(at, snapshot.revision)?;
        if start >= end {
            return Ok((Vec::new(), snapshot.revision));
        }
        let found = snapshot
            .rows
            .range::<&[u8]>((Bound::Included(start), Bound::Excluded(end)))
            .map_err(engine("read of a range"))?;
        let mut rows = Vec::new();
        for entry in found.take(limit) {
            let (key, value) = entry.map_err(engine("read of a range"))?;
            let row = unpack(value.value())?;
            rows.push(KeyValue { key: key.value().to_vec(), value: row.value, modified: row.modified });
        }
        Ok((rows, snapshot.revision))
    }
}

/// One state of the tables.
struct Snapshot {
    rows: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    revision: Revision,
}

impl Snapshot {
    fn take(database: &Database) -> Result<Snapshot, StoreError> {
        let read = database.begin_read().map_err(engine("begin of a read"))?;
        let rows = read.open_table(ROWS).map_err(engine("opening of table rows"))?;
        let meta = read.open_table(META).map_err(engine("opening of table meta"))?;
        let revision = meta.get(REVISION_KEY).map_err(engine("read of the revision"))?;
        let revision = revision.expect("opening the store checked that there is a revision").value();
        Ok(Snapshot { rows, revision: Revision(revision) })
    }
}

impl Rows for Table<'_, &'static [u8], &'static [u8]> {
    type Error = StoreError;

    fn row(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.get(key).map_err(engine("read of a key"))?.map(|guard| unpack(guard.value())).transpose()
    }

    fn put(&mut self, key: &[u8], value: &[u8], modified: Revision) -> Result<(), StoreError> {
        let mut packed = Vec::with_capacity(8 + value.len());
        packed.extend_from_slice(&modified.0.to_be_bytes());
        packed.extend_from_slice(value);
        self.insert(key, packed.as_slice()).map_err(engine("write of a key"))?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.remove(key).map_err(engine("removal of a key"))?.is_some())
    }
}

fn unpack(packed: &[u8]) -> Result<Row, StoreError> {
    match packed.split_first_chunk::<8>() {
        Some((revision, value)) => Ok(Row { value: value.to_vec(), modified: Revision(u64::from_be_bytes(*revision)) }),
        None => Err(engine("read of a row")(redb::Error::Corrupted("a row is cut short".to_owned()))),
    }
}

/// Says what was being done when the engine failed.
fn engine<E: Into<redb::Error>>(operation: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Engine { operation, source: Arc::new(error.into()) }
}
