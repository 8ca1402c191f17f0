//! The way to the control plane, for all that the agent asks of it.

use std::time::Duration;

use mtls::{DialError, Dialer, Expect};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt;

/// One connection, made at the first call and again after a loss.
pub(crate) struct Link {
    dialer: Dialer,
    address: String,
    channel: watch::Sender<Channel>,
}

impl Link {
    /// To `address`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If `address` is none.
    pub(crate) fn new(dialer: Dialer, address: String) -> Result<Self, DialError> {
        let channel = watch::Sender::new(dialer.channel(&address, Expect::Controller)?);
        Ok(Self { dialer, address, channel })
    }

    /// For the next call. Do not keep it: after a renewal there is another connection.
    pub(crate) fn client(&self) -> ControlPlaneClient<Channel> {
        ControlPlaneClient::new(self.channel.borrow().clone())
    }

    /// Tells when there is another connection, from now on: who has a stream open is to begin it again there.
    pub(crate) fn changes(&self) -> watch::Receiver<Channel> {
        self.channel.subscribe()
    }

    /// Later calls connect anew and show the certificate of now; those in flight end on the connection that they have.
    pub(crate) fn connect_anew(&self) {
        // the address was good before
        if let Ok(channel) = self.dialer.channel(&self.address, Expect::Controller) {
            self.channel.send_replace(channel);
        }
    }
}

/// A request that is given up after a while.
pub(crate) fn within<T>(timeout: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// Why a call failed, in one line.
pub(crate) fn why(status: &Status) -> String {
    mtls::explain(status).unwrap_or_else(|| status.message().to_owned())
}

/// Whether the control plane takes nothing of us but a request for the next certificate.
pub(crate) fn has_expired(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "CERTIFICATE_EXPIRED")
}
