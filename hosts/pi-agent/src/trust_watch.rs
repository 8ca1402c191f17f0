//! Listens to what the control plane says of trust, and does it: new roots are stored, who is denied is refused and
//! disconnected, and a node that is itself revoked makes itself harmless.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_lib::{ConditionKind, State};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use data_encoding::HEXLOWER;
use hal_core::Board;
use mtls::{CertificateDer, Credentials, Sessions, Trust};
use proto::control::v1::control_plane_client::ControlPlaneClient;
use proto::control::v1::{NodeRegistration, TrustUpdate, WatchTrustRequest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::beliefs::{Beliefs, Told};
use crate::exec::Executor;
use crate::service::Node;

/// Between tries, doubled each time, and up to twice as long by chance: a fleet does not come back all at once.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stream that lasted this long was a good one: the next is begun soon.
const GOOD: Duration = Duration::from_secs(5);
/// A revoked node asks whether that still holds; a control plane may have been put back to an earlier state.
const WHEN_REVOKED: Duration = Duration::from_secs(10 * 60);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that came in just before the revocation may have claimed a line or started a command just after it.
const STRAGGLERS: Duration = Duration::from_millis(100);

/// All that trust concerns on this node.
pub(crate) struct TrustWatch<B: Board> {
    pub(crate) node: Arc<Node<B>>,
    pub(crate) beliefs: Arc<Beliefs>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) executor: Arc<Executor>,
    /// Where the roots are stored.
    pub(crate) state: PathBuf,
    pub(crate) client: ControlPlaneClient<Channel>,
    /// What the node says of itself, with which it says what roots it has stored.
    pub(crate) registration: NodeRegistration,
    /// Random: the control plane tells by it a restart from a second machine with the same key.
    pub(crate) instance: String,
}

/// How a stream ended.
enum Ended {
    /// Somehow: it is begun again.
    Lost(Status),
    /// This node is not wanted any more.
    Revoked,
}

impl<B: Board<Line: Send> + Send + 'static> TrustWatch<B> {
    /// Listens, for ever.
    pub(crate) async fn run(self) {
        if self.beliefs.is_revoked() {
            self.say_revoked(); // it has been harmless from its start
        }
        let mut pauses = pauses();
        let mut acknowledged = None;
        loop {
            let began = Instant::now();
            let ended = self.listen(&mut acknowledged).await;
            if began.elapsed() >= GOOD {
                pauses = self::pauses();
            }
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            match ended {
                Ended::Lost(status) => {
                    let why = mtls::explain(&status).unwrap_or_else(|| status.message().to_owned());
                    tracing::debug!(why, ?pause, "not told of changes of trust for the moment");
                    // without being refused as revoked: an unreachable control plane changes nothing
                    sleep(if self.beliefs.is_revoked() { WHEN_REVOKED + pause } else { pause }).await;
                }
                Ended::Revoked => {
                    if !self.beliefs.is_revoked() {
                        self.keep(Told { revoked: true, ..self.beliefs.latest() });
                        self.become_harmless().await;
                    }
                    sleep(WHEN_REVOKED + pause).await;
                }
            }
        }
    }

    async fn listen(&self, acknowledged: &mut Option<u64>) -> Ended {
        let request = WatchTrustRequest { instance: self.instance.clone() };
        let mut updates = match self.client.clone().watch_trust(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return judge(status),
        };
        let mut retry = pauses();
        loop {
            let stored = self.beliefs.latest().roots_version;
            let is_owed = stored.is_some() && stored != *acknowledged;
            // what could not be acknowledged is tried again while nothing new comes
            let next = match is_owed {
                true => timeout(retry.next().unwrap_or(LONGEST_PAUSE), updates.message()).await,
                false => Ok(updates.message().await),
            };
            match next {
                Ok(Ok(Some(update))) => self.apply(update),
                Ok(Ok(None)) => return Ended::Lost(Status::unavailable("the control plane ended the stream")),
                Ok(Err(status)) => return judge(status),
                Err(_) => {}
            }
            let stored = self.beliefs.latest().roots_version;
            if stored.is_some() && stored != *acknowledged && self.acknowledge(stored).await {
                (*acknowledged, retry) = (stored, pauses());
            }
        }
    }

    /// In memory at once, and durably as far as the disk lets it.
    fn apply(&self, update: TrustUpdate) {
        let TrustUpdate { roots_version, roots, denied_identities, denied_keys, time } = update;
        if let Some(time) = time.and_then(|time| SystemTime::try_from(time).ok()) {
            proven_time(time);
        }
        let before = self.beliefs.latest();
        let is_stored = before.roots_version == Some(roots_version) || self.take_roots(roots);
        let told = Told {
            roots_version: if is_stored { Some(roots_version) } else { before.roots_version },
            revoked: false, // or it would not be told anything
            denied_identities: denied_identities.into_iter().collect(),
            denied_keys: denied_keys.iter().map(|key| HEXLOWER.encode(key)).collect(),
        };
        if before.revoked {
            tracing::warn!("this node is not revoked any more");
            self.node.note(ConditionKind::ControlPlane, State::True, "Reinstated", String::new());
        }
        self.keep(told);
        let ended = self.sessions.judge_again(Duration::ZERO);
        if ended > 0 {
            tracing::warn!(ended, "ended connections of who is not let in any more");
        }
    }

    /// Whether they are believed and stored.
    fn take_roots(&self, roots: Vec<Vec<u8>>) -> bool {
        let roots: Vec<CertificateDer<'static>> = roots.into_iter().map(CertificateDer::from).collect();
        if let Err(error) = self.trust.replace(&roots) {
            tracing::error!(why = %startup::one_line(&error), "the control plane's roots cannot be used; the old ones stay");
            return false;
        }
        match Credentials::store_roots(&self.state, &roots) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(why = %startup::one_line(&error), "new roots are believed, but cannot be stored");
                false
            }
        }
    }

    fn keep(&self, told: Told) {
        if let Err(error) = self.beliefs.replace(told) {
            tracing::error!(why = %startup::one_line(&error), "who is denied is known, but cannot be stored");
        }
    }

    async fn acknowledge(&self, roots_version: Option<u64>) -> bool {
        let mut request = Request::new(NodeRegistration { roots_version, ..self.registration.clone() });
        request.set_timeout(CALL_TIMEOUT);
        let answered = self.client.clone().register_node(request).await;
        if let Err(status) = &answered {
            tracing::debug!(why = status.message(), "cannot say which roots are stored, trying again");
        }
        answered.is_ok()
    }

    /// Outputs go safe, commands end, and everybody is disconnected; commands are refused from now on
    /// ([`Access`](crate::Access)). The key stays: it is what proves who this node was.
    async fn become_harmless(&self) {
        tracing::error!("this node was revoked: outputs go to their safe states, commands end, none is taken any more");
        self.say_revoked();
        for _ in 0..2 {
            self.node.let_go();
            self.executor.kill_all();
            self.sessions.end(|_| true, Duration::ZERO);
            sleep(STRAGGLERS).await;
        }
    }

    fn say_revoked(&self) {
        self.node.need_control_plane();
        let message = "this node was revoked: to have it back, join again in an empty folder with a new token";
        self.node.note(ConditionKind::ControlPlane, State::False, "Revoked", message.to_owned());
    }
}

/// The other end has proved that it is the control plane before it refuses.
fn judge(status: Status) -> Ended {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let is_told = status.code() == Code::PermissionDenied && reason == "REVOKED";
    if is_told || mtls::was_revoked(&status) { Ended::Revoked } else { Ended::Lost(status) }
}

fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_min_delay(PAUSE).with_max_delay(LONGEST_PAUSE);
    pauses.with_jitter().without_max_times().build()
}

/// What tells this start of the agent from every other; empty if the system has no random numbers.
pub(crate) fn instance() -> String {
    let mut bytes = [0; 16];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map(|()| HEXLOWER.encode(&bytes)).unwrap_or_default()
}

/// The control plane's clock, over a connection that was verified: what a clock of this node's own can hold on to.
fn proven_time(time: SystemTime) {
    tracing::trace!(?time, "the control plane told the time");
}
