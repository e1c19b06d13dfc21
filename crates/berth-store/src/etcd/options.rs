//! Where an etcd is, how to come in, and the connection itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use tokio::task::JoinSet;

use super::EtcdError;

/// How long a request may take. A commit that takes longer has an unknown outcome.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection to one member may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// Where an etcd is, and how to come in. The files are read whenever it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdOptions {
    /// Its members' addresses for clients, as `http://HOST:PORT` or `https://HOST:PORT`. All, so that any may be down.
    pub endpoints: Vec<String>,
    /// What every key begins with. Clusters with different ones can share an etcd.
    pub prefix: String,
    /// The certificate authority of its members (PEM); needed with `https://`.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key (PEM), where it asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Our user, and the file with the password, where it asks for one.
    pub user: Option<(String, PathBuf)>,
}

impl EtcdOptions {
    /// The members, for a message.
    pub fn members(&self) -> String {
        self.endpoints.join(", ")
    }

    /// A client of the member that is the first to answer with what a majority holds.
    ///
    /// Of one: a client of several asks those, too, that are down, and fails then.
    pub(super) async fn connect(&self) -> Result<Client, EtcdError> {
        let mut racing = JoinSet::new();
        for endpoint in &self.endpoints {
            let (options, endpoint) = (self.clone(), endpoint.clone());
            racing.spawn(async move {
                let mut client = options.connect_to(&endpoint).await?;
                let count = GetOptions::new().with_prefix().with_count_only();
                within("read", client.get(options.prefix, Some(count))).await?;
                Ok(client)
            });
        }
        let mut failure = EtcdError::NoMembers;
        while let Some(answer) = racing.join_next().await {
            match answer.expect("connecting does not panic, and nobody cancels it") {
                Ok(client) => return Ok(client),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A client of this member. Nothing but a sign-in is asked yet.
    pub(super) async fn connect_to(&self, endpoint: &str) -> Result<Client, EtcdError> {
        within("sign in", Client::connect([endpoint], Some(self.connect_options()?))).await
    }

    fn connect_options(&self) -> Result<ConnectOptions, EtcdError> {
        // A member that is cut off from the others says so on streams too, and another one is asked.
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true);
        if let Some(tls) = self.tls()? {
            options = options.with_tls(tls);
        }
        if let Some((name, file)) = &self.user {
            let password = String::from_utf8(read(file)?).map_err(|_| EtcdError::Password { path: file.clone() })?;
            options = options.with_user(name, password.trim_end_matches('\n')).with_auto_token_refresh(true);
        }
        Ok(options)
    }

    fn tls(&self) -> Result<Option<TlsOptions>, EtcdError> {
        if self.ca.is_none() && self.identity.is_none() {
            return Ok(None);
        }
        let mut tls = TlsOptions::new();
        if let Some(ca) = &self.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read(ca)?));
        }
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(Some(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    std::fs::read(path).map_err(|source| EtcdError::File { path: path.to_owned(), source })
}

/// Asks etcd something, for as long as a request may take.
pub(super) async fn within<T>(
    operation: &'static str,
    asking: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match tokio::time::timeout(DEADLINE, asking).await {
        Ok(answer) => answer.map_err(|source| EtcdError::refused(operation, source)),
        Err(_) => Err(EtcdError::Late { operation, seconds: DEADLINE.as_secs() }),
    }
}
