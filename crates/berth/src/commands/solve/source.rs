//! Where a problem comes from, to be read again when its answer is certified.
//!
//! The problem itself is not kept: a network of it takes enough memory, and what is read anew proves more than a copy.

use std::cell::{OnceCell, RefCell};
use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_flow::dimacs::{self, Item, ReadError};
use berth_flow::{Arc, ArcId, Instance, Network, NodeId, Problem};

use crate::exit::{Status, failed};

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 18;

/// A problem in a file, or one that was kept since its stream is there only once.
pub(super) enum Source {
    File(FileSource),
    Kept { name: String, instance: Instance },
}

/// A file that can be read again.
pub(super) struct FileSource {
    path: PathBuf,
    /// As it was when it was read first.
    metadata: Metadata,
    /// What it says of the nodes, once it was asked.
    supplies: OnceCell<Vec<i64>>,
    /// What went wrong when it was read again.
    trouble: RefCell<Option<String>>,
}

impl Source {
    /// Reads a problem into a network.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Source, Network)> {
        let (name, file, metadata) = find(path)?;
        let Some((file, metadata)) = file.zip(metadata) else {
            let instance = read_stream(path, &name)?;
            let network = Network::from_instance(&instance);
            let network = network.map_err(|error| super::refused(&name, &instance, error))?;
            return Ok((Source::Kept { name, instance }, network));
        };
        let network = dimacs::read_network(buffered(file), Some(metadata.len()));
        let network = network.map_err(|error| wrong(&name, error.into()))?;
        Ok((Source::File(FileSource::new(path, metadata)), network))
    }

    /// Reads a problem as it is, for what it changes.
    pub(super) fn read(path: &Path) -> anyhow::Result<(Source, Instance)> {
        let (name, file, metadata) = find(path)?;
        let Some((file, metadata)) = file.zip(metadata) else {
            let instance = read_stream(path, &name)?;
            return Ok((Source::Kept { name, instance: instance.clone() }, instance));
        };
        let instance = dimacs::read(buffered(file)).map_err(|error| wrong(&name, error.into()))?;
        Ok((Source::File(FileSource::new(path, metadata)), instance))
    }

    /// What a person calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Source::File(file) => file.path.display().to_string(),
            Source::Kept { name, .. } => name.clone(),
        }
    }

    /// Whether the path leads to the file that is still to be read again.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let is_it = |file: &FileSource| {
            std::fs::metadata(path)
                .is_ok_and(|other| (other.dev(), other.ino()) == (file.metadata.dev(), file.metadata.ino()))
        };
        matches!(self, Source::File(file) if is_it(file))
    }

    /// How many nodes there are.
    pub(super) fn node_count(&self) -> usize {
        self.nodes().count()
    }

    /// Fails where a later look at it saw something else than the first.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let trouble = match self {
            Source::File(file) => file.trouble.borrow_mut().take(),
            Source::Kept { .. } => None,
        };
        trouble.map_or(Ok(()), |trouble| Err(failed(Status::Usage, format!("{}: {trouble}", self.name()))))
    }
}

impl FileSource {
    fn new(path: &Path, metadata: Metadata) -> FileSource {
        FileSource { path: path.to_owned(), metadata, supplies: OnceCell::new(), trouble: RefCell::new(None) }
    }

    /// What the file says now. Where it cannot be read, or is not the same any more, it ends early and the trouble is noted.
    fn items(&self) -> impl Iterator<Item = Item> {
        let file = File::open(&self.path).and_then(|file| Ok((file.metadata()?, file)));
        let items = match file {
            Ok((now, file)) if is_same(&now, &self.metadata) => Some(dimacs::items(buffered(file))),
            Ok(_) => self.note("it has changed since it was read first; solve it again when nobody writes it"),
            Err(error) => self.note(&format!("it cannot be read again: {error}")),
        };
        let readable = |item: Result<Item, ReadError>| match item {
            Ok(item) => Some(item),
            Err(error) => self.note(&format!("it cannot be read again: {:#}", anyhow::Error::from(error))),
        };
        items.into_iter().flatten().map_while(readable)
    }

    fn supplies(&self) -> &[i64] {
        self.supplies.get_or_init(|| {
            let mut supplies = Vec::new();
            for item in self.items() {
                match item {
                    Item::Size { nodes, .. } => supplies = vec![0; nodes],
                    Item::Supply { node, supply } => supplies[node.0 as usize] = supply,
                    Item::Arc(_) => {}
                }
            }
            supplies
        })
    }

    fn arcs(&self) -> impl Iterator<Item = Arc> {
        self.items().filter_map(|item| if let Item::Arc(arc) = item { Some(arc) } else { None })
    }

    fn note<T>(&self, trouble: &str) -> Option<T> {
        self.trouble.borrow_mut().get_or_insert_with(|| trouble.to_owned());
        None
    }
}

fn is_same(now: &Metadata, before: &Metadata) -> bool {
    now.len() == before.len() && now.modified().ok() == before.modified().ok()
}

impl Problem for Source {
    fn nodes(&self) -> impl Iterator<Item = (NodeId, i64)> {
        let supplies = match self {
            Source::File(file) => file.supplies(),
            Source::Kept { instance, .. } => &instance.supplies,
        };
        (0..).map(NodeId).zip(supplies.iter().copied())
    }

    fn arcs(&self) -> impl Iterator<Item = (ArcId, Arc)> {
        let (file, kept) = match self {
            Source::File(file) => (Some(file.arcs()), None),
            Source::Kept { instance, .. } => (None, Some(instance.arcs.iter().copied())),
        };
        (0..).map(ArcId).zip(file.into_iter().flatten().chain(kept.into_iter().flatten()))
    }
}

/// The name of what is to be read, and the file if it can be read twice.
fn find(path: &Path) -> anyhow::Result<(String, Option<File>, Option<Metadata>)> {
    if path.as_os_str() == "-" {
        return Ok(("standard input".to_owned(), None, None));
    }
    let name = path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|error| wrong(&name, error.into()))?;
    if !metadata.is_file() {
        return Ok((name, None, None));
    }
    let file = File::open(path).map_err(|error| wrong(&name, error.into()))?;
    Ok((name, Some(file), Some(metadata)))
}

fn read_stream(path: &Path, name: &str) -> anyhow::Result<Instance> {
    let instance = if path.as_os_str() == "-" {
        dimacs::read(buffered(std::io::stdin().lock()))
    } else {
        dimacs::read(buffered(File::open(path).map_err(|error| wrong(name, error.into()))?))
    };
    instance.map_err(|error| wrong(name, error.into()))
}

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, reader)
}

fn wrong(name: &str, error: anyhow::Error) -> anyhow::Error {
    failed(Status::Usage, format!("cannot read {name}: {error:#}"))
}
