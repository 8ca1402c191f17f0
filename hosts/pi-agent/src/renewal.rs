//! The node's certificate over the years: renewed at half of its life, swapped in while everything goes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use mtls::{
    CertificateDer, Clock, Credentials, CredentialsError, IdentityError, OwnCertificate, OwnKey, PeerIdentity, Validity,
};
use proto::control::v1::{NodeRegistration, RegistrationResponse};
use ring::digest::{SHA256, digest};
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::join::{JoinError as AnswerError, credentials};
use crate::link::{Link, why, within};

/// The key that is asked with, until the answer is stored. Asking again with it has the same answer.
const PENDING_KEY: &str = "renew.key";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the clock is looked at: it may be set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(60);
/// Between two tries, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How the renewal stands; shared with who shows it and who asks for it.
#[derive(Default)]
pub(crate) struct Progress {
    standing: Mutex<Standing>,
    changed: Notify,
}

/// As of the last look.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    /// When the next renewal is due; `None` if there is no control plane to ask.
    pub(crate) due: Option<Instant>,
    /// Why the last try failed.
    pub(crate) failure: Option<String>,
    /// Somebody wants it now, whenever it is due.
    pub(crate) wanted: bool,
}

impl Progress {
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for a renewal now, whenever it is due: the control plane says that the certificate is no longer good.
    pub(crate) fn want(&self) {
        let first = self.set(|standing| !std::mem::replace(&mut standing.wanted, true));
        // once: a try that fails has its pause
        if first {
            self.changed.notify_one();
        }
    }

    /// Says that the control plane answers: no need to wait for the end of a pause.
    pub(crate) fn answered(&self) {
        if self.standing().failure.is_some() {
            self.changed.notify_one();
        }
    }

    fn set<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A certificate was not renewed; the old one is still there.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("{}", why(.0))]
    Call(#[from] Status),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("the new certificate names nobody")]
    Nobody(#[from] IdentityError),
    #[error("the new certificate is for another node or another key")]
    Other,
    #[error("storing it was interrupted")]
    Interrupted(#[from] JoinError),
}

pub(crate) struct Renewal {
    pub(crate) own: Arc<OwnCertificate>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) link: Arc<Link>,
    /// What the node says of itself; sent along, since a registration replaces it.
    pub(crate) registration: NodeRegistration,
    pub(crate) state: PathBuf,
    pub(crate) progress: Arc<Progress>,
}

impl Renewal {
    /// Keeps the certificate fresh, for ever. What fails is tried again and shows in the node's health.
    pub(crate) async fn run(self) {
        // when this process got its certificate; the one of the start came with the folder
        let mut fetched: Option<Instant> = None;
        let mut pauses = None;
        loop {
            let left = if self.progress.standing().wanted { Duration::ZERO } else { self.left(fetched) };
            self.progress.set(|standing| standing.due = Some(Instant::now() + left));
            if !left.is_zero() {
                self.progress.set(|standing| standing.failure = None);
                self.pause(left.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    self.progress.set(|standing| (standing.failure, standing.wanted) = (None, false));
                    (fetched, pauses) = (Some(Instant::now()), None);
                }
                Err(error) => {
                    let pause = pauses.get_or_insert_with(|| self.pauses()).next().unwrap_or(LONGEST_PAUSE);
                    let why = startup::one_line(&error);
                    tracing::warn!(%why, ?pause, "cannot renew the certificate, trying again");
                    self.progress.set(|standing| standing.failure = Some(why));
                    self.pause(pause).await;
                }
            }
        }
    }

    async fn pause(&self, length: Duration) {
        tokio::select! {
            () = sleep(length) => {}
            () = self.progress.changed.notified() => {}
        }
    }

    /// Until the renewal is due. Of a certificate that this process got itself the monotonic clock tells the age: a wall
    /// clock that is days ahead would renew without end.
    fn left(&self, fetched: Option<Instant>) -> Duration {
        let Some((leaf, validity)) = self.own.leaf().and_then(|leaf| Validity::of(&leaf).map(|it| (leaf, it))) else {
            return LOOK;
        };
        let after = renew_after(&leaf, validity.lifetime());
        match fetched {
            Some(fetched) => after.saturating_sub(fetched.elapsed()),
            None => (validity.issued() + after).duration_since(self.clock.now()).unwrap_or_default(),
        }
    }

    /// From a second up to a twentieth of the certificate's life, ten minutes at most, and as much again by chance.
    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let first = Duration::from_secs(1);
        let life = self.own.validity().map_or(LONGEST_PAUSE, |validity| validity.lifetime());
        let longest = (life / 20).clamp(first, LONGEST_PAUSE);
        let pauses = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest);
        pauses.with_jitter().without_max_times().build()
    }

    /// One new key, one certificate for it. After a crash at any point the next start finds the old pair or the new one,
    /// and the key that was asked with if the answer has not been stored.
    async fn renew(&self) -> Result<(), RenewError> {
        let (state, old) = (self.state.clone(), self.own.leaf());
        // off the agent's thread: a card may take its time, and lines do not wait for it
        let key = spawn_blocking(move || pending_key(&state, old.as_ref())).await??;
        let registration = NodeRegistration { csr: Some(key.csr()?), ..self.registration.clone() };
        let answer = self.link.client().register_node(within(CALL_TIMEOUT, registration)).await?.into_inner();
        let new = self.checked(key, answer)?;
        let state = self.state.clone();
        let new = spawn_blocking(move || {
            new.store_pair(&state)?;
            // what is left of it would be asked with again, and is refused there because it is no longer new
            let _ = std::fs::remove_file(state.join(PENDING_KEY));
            Ok::<_, CredentialsError>(new)
        });
        self.own.replace(&new.await??)?;
        self.link.connect_anew();
        self.tell();
        Ok(())
    }

    /// The answer, if it is a certificate of this very node for this very key.
    fn checked(&self, key: OwnKey, answer: RegistrationResponse) -> Result<Credentials, RenewError> {
        let is_of = answer.certificate_chain.first().is_some_and(|leaf| key.is_of(&CertificateDer::from(&leaf[..])));
        let new = credentials(key, answer)?;
        let identity =
            |leaf: Option<&CertificateDer<'_>>| leaf.map(|leaf| PeerIdentity::from_certificate(leaf)).transpose();
        if !is_of || identity(new.chain.first())? != identity(self.own.leaf().as_ref())? {
            return Err(RenewError::Other);
        }
        Ok(new)
    }

    fn tell(&self) {
        let Some(validity) = self.own.validity() else { return };
        self.clock.raise(validity.not_before);
        let hours = validity.lifetime().as_secs() / 3600;
        tracing::info!(hours, "renewed the certificate");
    }
}

/// The key to ask with: that of a question whose answer was lost, or a new one.
fn pending_key(state: &Path, old: Option<&CertificateDer<'_>>) -> Result<OwnKey, CredentialsError> {
    let path = state.join(PENDING_KEY);
    let key = OwnKey::load_or_create(&path)?;
    // a crash came between storing the certificate and removing its key
    if old.is_some_and(|old| key.is_of(old)) {
        return OwnKey::create(&path);
    }
    Ok(key)
}

/// How long after its issue a certificate is renewed: at half of its life, a tenth of the life earlier or later. How much
/// follows from the certificate itself, so that nodes which joined together spread and a restart changes nothing.
fn renew_after(leaf: &CertificateDer<'_>, lifetime: Duration) -> Duration {
    let digest = digest(&SHA256, leaf);
    let chance = digest.as_ref().iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    lifetime.mul_f64(0.4 + 0.2 * (f64::from(chance) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use mtls::JoinToken;

    use super::*;

    #[test]
    fn nodes_renew_at_half_of_the_life_and_spread_over_a_fifth_of_it() {
        let life = Duration::from_secs(1000);
        let after: Vec<Duration> =
            (0..1000_u32).map(|number| renew_after(&number.to_be_bytes().to_vec().into(), life)).collect();
        assert!(after.iter().all(|after| (400..=600).contains(&after.as_secs())));
        for tenth in 0..10 {
            let slot = 400 + tenth * 20..400 + (tenth + 1) * 20;
            let many = after.iter().filter(|after| slot.contains(&after.as_secs())).count();
            assert!((60..=140).contains(&many), "{many} of 1000 in {slot:?}");
        }
        assert_eq!(renew_after(&vec![7].into(), life), renew_after(&vec![7].into(), life));
    }

    #[test]
    fn a_key_is_asked_with_until_its_certificate_is_stored_and_then_never_again() {
        let folder = tempfile::tempdir().unwrap();
        let token = JoinToken::new("lab", [0; 32], "a", JoinToken::new_seed().unwrap()).unwrap();
        // any key and its certificate
        let Credentials { chain, key, .. } = token.credentials().unwrap();
        let pending = mtls::write_pem("PRIVATE KEY", key.secret_der());
        mtls::write_private(&folder.path().join(PENDING_KEY), pending.as_bytes()).unwrap();
        for _ in 0..2 {
            assert!(pending_key(folder.path(), None).unwrap().is_of(&chain[0]), "the answer was lost");
        }
        // its certificate is stored, and the crash came before the key was removed
        let next = pending_key(folder.path(), Some(&chain[0])).unwrap();
        assert!(!next.is_of(&chain[0]), "a new key for each certificate");
        assert!(!pending_key(folder.path(), Some(&chain[0])).unwrap().is_of(&chain[0]), "and it is stored");
    }
}
