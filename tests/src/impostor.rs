//! Somebody in the middle who says to be the controller.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use mtls::{Credentials, TlsError};
use rustls::crypto::ring as provider;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An empty SETTINGS frame: what an HTTP/2 server says first.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Takes whoever calls, whatever they show, writes down what they say, and hangs up once it has heard a word.
pub struct Impostor {
    /// Where it listens.
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Impostor {
    /// One that shows this chain, and hangs up at `word`.
    ///
    /// # Panics
    ///
    /// If it cannot be set up.
    pub async fn start(credentials: &Credentials, word: &'static [u8]) -> Self {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(Arc::new(Anybody))
            .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())
            .expect("a pair");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        let task = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let _ = listen(&acceptor, caller, &ears, word).await; // who hangs up has said what there is
            }
        });
        Self { address, heard, task }
    }

    /// What was said to it, in plain.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(acceptor: &TlsAcceptor, caller: TcpStream, ears: &Mutex<Vec<u8>>, word: &[u8]) -> io::Result<()> {
    let mut caller = acceptor.accept(caller).await?;
    let shown: Vec<u8> =
        caller.get_ref().1.peer_certificates().into_iter().flatten().flat_map(|c| c.to_vec()).collect();
    ears.lock().unwrap_or_else(PoisonError::into_inner).extend(shown);
    caller.write_all(&SETTINGS).await?;
    let mut piece = vec![0; 4096];
    loop {
        let length = caller.read(&mut piece).await?;
        let mut heard = ears.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(&piece[..length]);
        if length == 0 || heard.windows(word.len()).any(|window| window == word) {
            return Ok(());
        }
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, TlsError> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
