//! Which servers there are: a key for each, which exists for as long as the server gives signs of life.
//!
//! Every server says at each beat that it is there, and looks who else is. What it sees is some seconds old: nothing may
//! depend on it that would be unsafe otherwise.

use berth_model::{Format, Revision};
use etcd_client::PutOptions;
use tokio::sync::watch;

use super::lease::{BEAT, Lease, prolong};
use super::options::within;
use super::{Etcd, EtcdError, EtcdOptions, Link};
use crate::{KeyValue, StoreError};

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

impl Server {
    fn key(&self) -> Vec<u8> {
        [PREFIX, self.address.as_bytes()].concat()
    }

    /// What is said of it under this lease.
    fn value(&self, lease: i64) -> String {
        format!("{lease:x} {}", self.newest)
    }

    /// One that says what is not understood knows no format at all: it must not be overlooked.
    fn parse(row: &KeyValue) -> Server {
        let address = String::from_utf8_lossy(row.key.strip_prefix(PREFIX).unwrap_or_default()).into_owned();
        let newest = std::str::from_utf8(&row.value).ok().and_then(|text| text.split_once(' ')?.1.parse().ok());
        Server { address, newest: Format(newest.unwrap_or(0)) }
    }
}

impl Etcd {
    /// Has the others know of this server for as long as the store is open, and tells of all that are there, in order of
    /// their addresses: of none while etcd does not answer. It tells at each beat, news or not. One that is gone without a word is told of until its lease
    /// has run out.
    pub async fn meet(&self, server: Server, tell: watch::Sender<Vec<Server>>) -> Result<(), StoreError> {
        let mut presence = Presence { link: self.link.clone(), options: self.options.clone(), server, lease: None };
        let servers = presence.look().await.map_err(|error| error.of_store("meet the other servers", Revision(0)))?;
        tell.send_replace(servers);
        self.beside(presence.stay(tell));
        Ok(())
    }
}

/// A server that is there.
struct Presence {
    link: Link,
    options: EtcdOptions,
    server: Server,
    lease: Option<i64>,
}

impl Presence {
    async fn stay(mut self, tell: watch::Sender<Vec<Server>>) {
        loop {
            tokio::time::sleep(BEAT).await;
            // Another member is asked while there is still time to keep the lease.
            let looked = tokio::time::timeout(2 * BEAT, self.look()).await;
            let late = EtcdError::Late { operation: "see the other servers", seconds: (2 * BEAT).as_secs() };
            let servers = match looked.unwrap_or(Err(late)) {
                Ok(servers) => servers,
                Err(error) => {
                    // Once, and not at every beat.
                    if !tell.borrow().is_empty() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "which servers there are is not known while etcd does not answer");
                    }
                    if let Ok(client) = self.options.connect().await {
                        self.link.client = client;
                    }
                    Vec::new()
                }
            };
            tell.send_replace(servers);
        }
    }

    /// Says that this server is there, and tells who is.
    async fn look(&mut self) -> Result<Vec<Server>, EtcdError> {
        let held = match self.lease {
            Some(id) => within("keep a lease", prolong(&mut self.link.client, id)).await?.then_some(id),
            None => None,
        };
        let id = match held {
            Some(id) => id,
            None => Lease::grant(&self.link).await?.id,
        };
        self.lease = Some(id);
        let (mut rows, _) = self.link.range(PREFIX, END, MOST, None).await?;
        let (key, value) = (self.server.key(), self.server.value(id));
        // An earlier life of this server may have said so under a lease of its own, which ends.
        if !rows.iter().any(|row| row.key == key && row.value == value.as_bytes()) {
            let options = PutOptions::new().with_lease(id);
            let put = self.link.client.put(self.link.full(&key), value, Some(options));
            within("announce this server", put).await?;
            (rows, _) = self.link.range(PREFIX, END, MOST, None).await?;
        }
        Ok(rows.iter().map(Server::parse).collect())
    }
}
