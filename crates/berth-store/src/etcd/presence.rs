//! Which servers there are: a key for each, which exists for as long as the server keeps its lease alive.

use std::collections::BTreeMap;

use berth_model::{Format, Revision};
use etcd_client::PutOptions;
use tokio::sync::watch;

use super::lease::{Lease, PAUSE};
use super::options::within;
use super::{Etcd, EtcdError, EtcdOptions, Link};
use crate::{Change, Store as _, StoreError};

/// Before the address, in the key. Behind every record, as the election's key is.
const PREFIX: &[u8] = b"\xffserver/";
/// Behind all of them.
const END: &[u8] = b"\xffserver0";
/// So many are told of.
const MOST: usize = 1_000;

/// A server that shares the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is reached by others, as it says.
    pub address: String,
    /// The newest format that it reads and writes.
    pub newest: Format,
}

/// The servers that there are, by their keys.
type Servers = BTreeMap<Vec<u8>, Server>;

impl Server {
    fn key(&self) -> Vec<u8> {
        [PREFIX, self.address.as_bytes()].concat()
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Server> {
        let address = std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?.to_owned();
        Some(Server { address, newest: Format(std::str::from_utf8(value).ok()?.parse().ok()?) })
    }
}

impl Etcd {
    /// Has the others know of this server for as long as the store is open, and tells of all that are there as they come
    /// and go. One that is gone without a word is told of until its lease has run out.
    pub async fn meet(&self, server: Server, tell: watch::Sender<Vec<Server>>) -> Result<(), StoreError> {
        let lease = announce(&self.link, &server).await.map_err(|error| error.of_store("announce", Revision(0)))?;
        self.beside(stay(self.options.clone(), self.link.clone(), server, lease));
        let (mut servers, revision) = self.servers().await?;
        let mut changes = self.watch(PREFIX, Revision(revision.0 + 1)).await?;
        let link = self.link.clone();
        self.beside(async move {
            loop {
                tell.send_replace(servers.values().cloned().collect());
                match changes.recv().await {
                    Some(Ok((_, batch))) => batch.into_iter().for_each(|change| follow(&mut servers, change)),
                    // What was missed is made good by looking.
                    Some(Err(_)) => match link.range(PREFIX, END, MOST, None).await {
                        Ok((rows, _)) => servers = read(rows),
                        Err(_) => return,
                    },
                    None => return,
                }
            }
        });
        Ok(())
    }

    async fn servers(&self) -> Result<(Servers, Revision), StoreError> {
        let (rows, revision) = self.range(PREFIX, END, MOST, None).await?;
        Ok((read(rows), revision))
    }
}

fn read(rows: Vec<crate::KeyValue>) -> Servers {
    rows.into_iter().filter_map(|row| Some((row.key.clone(), Server::parse(&row.key, &row.value)?))).collect()
}

fn follow(servers: &mut Servers, change: Change) {
    match change {
        Change::Put(row) => match Server::parse(&row.key, &row.value) {
            Some(server) => _ = servers.insert(row.key, server),
            None => tracing::warn!(key = %String::from_utf8_lossy(&row.key), "a server says what is not understood"),
        },
        Change::Delete { key, .. } => _ = servers.remove(&key),
    }
}

/// Announces the server anew whenever its lease was lost.
async fn stay(options: EtcdOptions, link: Link, server: Server, mut lease: Lease) {
    loop {
        lease.keep(&options, &link).await;
        lease = loop {
            match announce(&link, &server).await {
                Ok(lease) => break lease,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "not announced to the other servers");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
    }
}

async fn announce(link: &Link, server: &Server) -> Result<Lease, EtcdError> {
    let lease = Lease::grant(link).await?;
    let (key, options) = (link.full(&server.key()), PutOptions::new().with_lease(lease.id));
    within("announce this server", link.client.clone().put(key, server.newest.to_string(), Some(options))).await?;
    Ok(lease)
}
