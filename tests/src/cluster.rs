//! A cluster that lives as long as its value.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use control_lib::{AuditRow, Identity, Issuer, Lifetime, PublicKey};
use mtls::{CertificateDer, Context, Credentials, Dialer, Expect, JoinToken, OwnCertificate, OwnKey, Trust};
use pi_controller::store::Store;
use pi_controller::{Config, ServeError, TokenWish, create_token, init};
use pi_sim::Fleet;
use pictl::Exit;
use proto::fleet::v1::CreateTokenRequest;
use proto::fleet::v1::tokens_client::TokensClient;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A controller on a free port, with its state in a folder of its own.
pub struct Cluster {
    folder: TempDir,
    /// Where the controller serves.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

/// What a command line said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Cluster {
    /// Makes a cluster named `lab` and serves it.
    ///
    /// # Panics
    ///
    /// If any of it fails: there is no test without.
    pub async fn start() -> Self {
        Self::start_in(|_| ()).await.0
    }

    /// The same; `prepare` is given the controller's state folder before there is one.
    ///
    /// # Panics
    ///
    /// If any of it fails.
    pub async fn start_in<T>(prepare: impl FnOnce(&Path) -> T) -> (Self, T) {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = folder.path().join("controller");
        let prepared = prepare(&state);
        init(&state, Some("lab"), address, &address.to_string()).expect("init");
        let (stop, serving) = serve(&state, listener);
        (Self { folder, address, stop: Some(stop), serving }, prepared)
    }

    /// Stops the controller as a signal would and starts it again on the same port.
    ///
    /// # Panics
    ///
    /// If it does not stop or start.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Stops the controller as a signal would.
    ///
    /// # Panics
    ///
    /// If it does not stop.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.serving).await.expect("the controller's task").expect("a clean end");
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn resume(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                // the old listener goes a moment after its server
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (stop, serving) = serve(&self.controller_state(), listener);
        (self.stop, self.serving) = (Some(stop), serving);
    }

    /// Ends the controller as a power cut would, and starts it again on the same port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn crash(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await; // it was
        self.resume().await;
    }

    /// A folder of its own below the cluster's.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The controller's state folder.
    pub fn controller_state(&self) -> PathBuf {
        self.folder("controller")
    }

    /// The first operator's context.
    pub fn admin(&self) -> PathBuf {
        self.controller_state().join("admin.context.toml")
    }

    /// A join token for `uses` nodes, made by the running controller.
    ///
    /// # Panics
    ///
    /// If the controller refuses.
    pub async fn token(&self, uses: u32) -> JoinToken {
        let wish = TokenWish { lifetime: Duration::from_secs(600), uses, name: None };
        create_token(&self.admin(), wish).await.expect("a token")
    }

    /// A token after this wish, and the secret of it.
    ///
    /// # Panics
    ///
    /// If the controller refuses.
    pub async fn token_with(&self, wish: CreateTokenRequest) -> (JoinToken, Vec<u8>) {
        let seed = JoinToken::new_seed().expect("a seed");
        let secret = seed.to_vec();
        let admin = Context::load(&self.admin()).expect("the context");
        let channel =
            admin.dialer().expect("a dialer").channel(&admin.controller, Expect::Controller).expect("an address");
        let public_key = JoinToken::public_key_of(&seed).expect("a key").to_vec();
        let made = TokensClient::new(channel).create_token(CreateTokenRequest { public_key, ..wish }).await;
        let made = made.expect("a token").into_inner();
        let pin = made.ca_public_key_sha256.try_into().expect("a pin");
        (JoinToken::new(&made.cluster_id, pin, &made.token_id, seed).expect("a token"), secret)
    }

    /// What the controller has written down, oldest first.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    pub fn audit(&self) -> Vec<AuditRow> {
        let store = Store::open(&self.controller_state().join("state.db")).expect("the store");
        store.audit(0, u32::MAX).expect("the audit").into_iter().map(|(_, row)| row).collect()
    }

    /// `count` simulated nodes that have joined, and that the controller knows how to reach.
    ///
    /// # Panics
    ///
    /// If one of them cannot.
    pub async fn nodes(&self, count: usize) -> Fleet {
        self.nodes_with(count, &pi_agent::Config::default()).await
    }

    /// The same with a configuration.
    ///
    /// # Panics
    ///
    /// If one of them cannot.
    pub async fn nodes_with(&self, count: usize, config: &pi_agent::Config) -> Fleet {
        let token = self.token(u32::try_from(count).expect("few nodes")).await;
        let state = self.folder("nodes");
        let fleet = pi_sim::up(count, &self.address.to_string(), &token, &state, config).await.expect("nodes");
        for (name, ..) in &fleet.nodes {
            eventually(async || self.pictl(&["node", "show", name]).await.out.contains("ready")).await;
        }
        fleet
    }

    /// Runs `pictl` as the first operator.
    pub async fn pictl(&self, arguments: &[&str]) -> Said {
        self.pictl_as(&self.admin(), arguments).await
    }

    /// Runs `pictl` with a context.
    pub async fn pictl_as(&self, context: &Path, arguments: &[&str]) -> Said {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let context = ["pictl".into(), "--context".into(), context.as_os_str().to_owned()];
        let arguments = context.into_iter().chain(arguments.iter().map(Into::into));
        let exit = pictl::run(arguments, &mut out, &mut err).await;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { exit, out: text(&out), err: text(&err) }
    }

    /// The cluster's CA, to issue what an honest controller would not.
    ///
    /// # Panics
    ///
    /// If its files cannot be read.
    pub fn issuer(&self) -> Issuer {
        let pem = |file: &str| mtls::parse_pem(&std::fs::read(self.controller_state().join(file)).expect(file));
        let certificate = pem("ca.pem").expect("PEM").certificates.remove(0);
        let key = pem("ca.key.pem").expect("PEM").key.expect("a key");
        Issuer::from_der(&certificate, key.secret_der()).expect("the CA")
    }

    /// Credentials of `identity` (such as `operator/bob`), issued at `now` by `issuer`.
    ///
    /// # Panics
    ///
    /// If they cannot be made.
    pub fn credentials(&self, issuer: &Issuer, identity: &str, now: SystemTime) -> Credentials {
        let key = OwnKey::generate().expect("a key");
        let public = PublicKey::from_csr(&key.csr().expect("a request")).expect("a public key");
        let uri = format!("{}/{identity}", issuer.cluster().uri());
        let identity = Identity::from_uri(&uri, issuer.cluster()).expect("an identity");
        let leaf = issuer.issue(&public, &identity, now, Lifetime::NODE).expect("a certificate");
        let roots = vec![CertificateDer::from(self.issuer().certificate_der().to_vec())];
        Credentials { chain: vec![CertificateDer::from(leaf.der)], key: key.into_private_key(), roots }
    }

    /// A context for `pictl` with these credentials.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn context(&self, name: &str, credentials: &Credentials) -> PathBuf {
        let path = self.folder(name);
        Context::store(&path, &self.address.to_string(), credentials).expect("a context");
        path
    }

    /// A dialer with these credentials.
    ///
    /// # Panics
    ///
    /// If they cannot be used.
    pub fn dialer(&self, credentials: &Credentials) -> Dialer {
        let trust = Trust::new("lab", &credentials.roots).expect("roots");
        Dialer::new(OwnCertificate::new(credentials).expect("a pair"), trust)
    }
}

fn serve(state: &Path, listener: TcpListener) -> (oneshot::Sender<()>, JoinHandle<Result<(), ServeError>>) {
    let (stop, stopped) = oneshot::channel();
    let config = Config::load(state).expect("the configuration");
    let serving = tokio::spawn(pi_controller::serve(config, listener, async { drop(stopped.await) }));
    (stop, serving)
}

/// Asks until it is so.
///
/// # Panics
///
/// If it is not so within 20 s: the condition will not come.
pub async fn eventually(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the condition did not come within 20 s");
}
