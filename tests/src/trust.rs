//! Who is kept out, as an admin says it, and what the audit has of it.

use std::time::SystemTime;

use control_lib::{AuditRow, Outcome};
use mtls::{Context, Credentials, Expect};
use pi_controller::store::Store;
use proto::agent::v1::node_agent_client::NodeAgentClient;
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::fleet::v1::exclusions_client::ExclusionsClient;
use proto::fleet::v1::{LockRequest, RevokeRequest, UnlockRequest};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Cluster;

impl Cluster {
    /// A connection of its own to the controller, with these credentials.
    ///
    /// # Panics
    ///
    /// If it cannot be set up; it connects at the first call.
    pub fn channel(&self, credentials: &Credentials) -> Channel {
        self.dialer(credentials).channel(&self.address.to_string(), Expect::Controller).expect("a channel")
    }

    /// `operator/admin`'s own connection.
    ///
    /// # Panics
    ///
    /// As [`Cluster::channel`].
    pub fn admin_channel(&self) -> Channel {
        let admin = Context::load(&self.admin()).expect("a context");
        admin.dialer().expect("a dialer").channel(&admin.controller, Expect::Controller).expect("a channel")
    }

    /// Nodes through the controller, as `operator/admin`.
    ///
    /// # Panics
    ///
    /// As [`Cluster::channel`].
    pub fn proxy(&self) -> NodeAgentClient<Channel> {
        NodeAgentClient::new(self.admin_channel()).max_decoding_message_size(8 << 20)
    }

    /// The control plane, with a certificate of this node that is issued now.
    ///
    /// # Panics
    ///
    /// As [`Cluster::channel`].
    pub fn as_node(&self, node: &str) -> ControlPlaneClient<Channel> {
        let credentials = self.credentials(&self.issuer(), &format!("node/{node}"), SystemTime::now());
        ControlPlaneClient::new(self.channel(&credentials))
    }

    /// Revokes `subject`, such as `node/pi-7`.
    ///
    /// # Errors
    ///
    /// As the controller says.
    pub async fn revoke(&self, subject: &str) -> Result<(), Status> {
        let request = RevokeRequest { subject: subject.to_owned(), reason: "a test".to_owned() };
        ExclusionsClient::new(self.admin_channel()).revoke(request).await.map(drop)
    }

    /// Locks `subject`.
    ///
    /// # Errors
    ///
    /// As the controller says.
    pub async fn lock(&self, subject: &str) -> Result<(), Status> {
        let request = LockRequest { subject: subject.to_owned(), reason: "a test".to_owned() };
        ExclusionsClient::new(self.admin_channel()).lock(request).await.map(drop)
    }

    /// Unlocks `subject`.
    ///
    /// # Errors
    ///
    /// As the controller says.
    pub async fn unlock(&self, subject: &str) -> Result<(), Status> {
        let request = UnlockRequest { subject: subject.to_owned() };
        ExclusionsClient::new(self.admin_channel()).unlock(request).await.map(drop)
    }

    /// The audit's alarms.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    pub fn alarms(&self) -> Vec<AuditRow> {
        let store = Store::open(&self.controller_state().join("state.db")).expect("the store");
        let rows = store.audit(0, u32::MAX).expect("the audit").into_iter().map(|(_, row)| row);
        rows.filter(|row| row.outcome == Outcome::Alarm).collect()
    }
}

/// `message` for `node`, through the controller.
///
/// # Panics
///
/// If `node` is no name.
pub fn to_node<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("pi-node", node.parse().expect("a name"));
    request
}
