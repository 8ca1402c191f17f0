//! Makes a node of a machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mtls::{
    CertificateDer, Clock, Credentials, CredentialsError, DialError, Dialer, Expect, FileError, JoinToken,
    OwnCertificate, OwnKey,
};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{Inventory, NodeRegistration, RegistrationResponse};
use tonic::{Code, Status};

/// The key that is asked with; becomes the node's key when the answer has come.
const PENDING_KEY: &str = "join.key";
/// Where the address of the control plane is remembered.
const CONTROLLER: &str = "controller";
/// A join that takes longer is given up; asking again is safe.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A machine could not join. Asking again with the same token is safe: the same key gets the same node.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It has joined before.
    #[error("{0} already holds a node's certificate: this machine has joined; remove the folder to join anew")]
    Already(String),
    /// Key or certificate could not be made or stored.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The controller's address is wrong.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No connection, or one that was refused.
    #[error("cannot join through {address}: {why}")]
    Unreachable {
        /// The controller.
        address: String,
        /// In one line.
        why: String,
        /// One end will not have the other: asking again is in vain.
        for_good: bool,
    },
    /// The controller could not answer now.
    #[error("the controller cannot take us in now: {0}")]
    Busy(String),
    /// The time for trying is over.
    #[error("gave up, more patience is --timeout: {0}")]
    Impatient(String),
    /// The controller said no.
    #[error("the controller refused: {0}")]
    Refused(String),
    /// The answer is not one.
    #[error("the controller's answer cannot be used: {0}")]
    Answer(&'static str),
}

/// What came of a join.
#[derive(Debug, PartialEq, Eq)]
pub struct Joined {
    /// The node's id in the cluster.
    pub node: String,
    /// The cluster.
    pub cluster: String,
    /// Whether an operator has to approve it before it takes part.
    pub pending: bool,
}

/// Joins the cluster that `token` names, as `name`, and stores key, certificate and CA in `state`.
///
/// The token's secret stays here: the handshake proves that we have it. The node's private key is made here and stays
/// here too. A lost answer is no harm: the next try asks with the same key and gets the same node.
///
/// # Errors
///
/// [`JoinError`]; nothing but the pending key is stored then.
pub async fn join(
    token: &JoinToken,
    controller: &str,
    name: &str,
    inventory: Inventory,
    state: &Path,
) -> Result<Joined, JoinError> {
    mtls::create_private_dir(state)?;
    if Credentials::exist(state) {
        return Err(JoinError::Already(state.display().to_string()));
    }
    let pending = state.join(PENDING_KEY);
    let key = OwnKey::load_or_create(&pending)?;
    let registration = NodeRegistration {
        csr: Some(key.csr()?),
        name: name.to_owned(),
        inventory: Some(inventory),
        ..NodeRegistration::default()
    };
    let answer = ask(token, controller, registration, Clock::load(state)?).await?;
    let joined = Joined { node: answer.node_id.clone(), cluster: token.cluster().to_owned(), pending: answer.pending };
    mtls::write_private(&state.join(CONTROLLER), controller.as_bytes())?;
    credentials(key, answer)?.store(state)?;
    // The certificate is stored, last of all: what is left of the pending key is only clutter.
    let _ = std::fs::remove_file(pending);
    Ok(joined)
}

/// The control plane that this state folder has joined.
pub(crate) fn joined_controller(state: &Path) -> Option<String> {
    String::from_utf8(mtls::read_private(&state.join(CONTROLLER)).ok()?).ok()
}

async fn ask(
    token: &JoinToken,
    controller: &str,
    registration: NodeRegistration,
    clock: Arc<Clock>,
) -> Result<RegistrationResponse, JoinError> {
    let dialer = Dialer::joining(OwnCertificate::new(&token.credentials()?)?, token).with_clock(clock);
    let mut client = ControlPlaneClient::new(dialer.channel(controller, Expect::Controller)?);
    let mut request = tonic::Request::new(registration);
    request.set_timeout(TIMEOUT);
    client.register_node(request).await.map(tonic::Response::into_inner).map_err(|status| refused(controller, &status))
}

fn refused(controller: &str, status: &Status) -> JoinError {
    let for_good = mtls::is_refused_for_good(status);
    match mtls::explain(status) {
        Some(why) => JoinError::Unreachable { address: controller.to_owned(), why, for_good },
        None if is_busy(status.code()) => JoinError::Busy(status.message().to_owned()),
        None => JoinError::Refused(status.message().to_owned()),
    }
}

fn is_busy(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted)
}

/// The pair of a key and what was answered to the request for it.
pub(crate) fn credentials(key: OwnKey, answer: RegistrationResponse) -> Result<Credentials, JoinError> {
    let RegistrationResponse { node_id: _, certificate_chain, ca_bundle, renew_at: _, revision: _, pending: _ } =
        answer;
    if certificate_chain.is_empty() || ca_bundle.is_empty() {
        return Err(JoinError::Answer("no certificate in it"));
    }
    let certificates = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from).collect();
    Ok(Credentials {
        chain: certificates(certificate_chain),
        key: key.into_private_key(),
        roots: certificates(ca_bundle),
    })
}
