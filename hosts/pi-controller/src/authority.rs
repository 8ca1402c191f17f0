//! `Authority`: each method is decode, one look or decision, encode. Who may call was asked before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use control_lib::{Caller, Control, Decision, Identity, Issuer, Laggard, Place, Root, RotateRefusal, Rotation, Step};
use mtls::OwnCertificate;
use proto::fleet::v1 as pb;
use tonic::{Code, Request, Response, Status};

use crate::authorized::caller;
use crate::backup::BackupNote;
use crate::keys::KeyFolder;
use crate::ledger::Ledger;
use crate::{recovery, wire};

/// Laggards that are told by name.
const LONGEST_LIST: usize = 1000;

pub(crate) struct AuthorityService {
    ledger: Arc<Ledger>,
    own: Arc<OwnCertificate>,
    state: PathBuf,
}

impl AuthorityService {
    pub(crate) fn new(ledger: Arc<Ledger>, own: Arc<OwnCertificate>, state: &Path) -> Self {
        Self { ledger, own, state: state.to_owned() }
    }

    /// When the first certificate ends that is valid now.
    fn first_end(&self, control: &Control, now: SystemTime) -> Option<SystemTime> {
        let own = self.own.validity().map(|validity| validity.not_after);
        control.nodes().map(|node| node.certificate.not_after).chain(own).filter(|end| *end >= now).min()
    }

    fn status(&self) -> pb::GetAuthorityResponse {
        let control = self.ledger.read();
        let (authority, keys, now) = (control.authority(), KeyFolder::of(&self.state), SystemTime::now());
        let note = BackupNote::load(&self.state);
        let lagging = control.laggards(now);
        pb::GetAuthorityResponse {
            roots: authority.roots().map(|root| root_message(root, &keys)).collect(),
            rotation: rotation_state(authority.step()).into(),
            roots_version: authority.roots_version(),
            lagging_count: u32::try_from(lagging.len()).unwrap_or(u32::MAX),
            lagging: lagging.into_iter().take(LONGEST_LIST).map(lagging_node).collect(),
            first_certificate_expires: self.first_end(&control, now).map(Into::into),
            last_backup: note.as_ref().map(|note| note.made_at().into()),
            backup_is_current: note.is_some_and(|note| note.covers(authority)),
            recovery_key_here: self.state.join(recovery::FILE).exists(),
            epoch: control.epoch(),
        }
    }

    /// The key of a new root is on disk before its root is committed; that of a root that is gone is deleted after.
    async fn rotate_to(&self, who: Identity, step: RotationStep, force: bool) -> Result<(), Status> {
        let keys = KeyFolder::of(&self.state);
        let before = self.ledger.read().authority().clone();
        let folder = keys.clone();
        let decided = self.ledger.decide(move |control| {
            let now = SystemTime::now();
            let rotation = match step.rotation(control, now) {
                Ok(rotation) => rotation,
                Err(why) => return Decision { changes: vec![], answer: Err(why) },
            };
            let Decision { changes, answer } = control.rotate(now, &who, rotation, force);
            if let (RotationStep::Prepare, Ok(after)) = (step, &answer)
                && let Err(error) = after.others().iter().try_for_each(|root| folder.store(&root.issuer))
            {
                return Decision { changes: vec![], answer: Err(not_made(&error)) };
            }
            Decision { changes, answer: answer.map_err(|refusal| refused(&refusal)) }
        });
        let after = decided.await.map_err(wire::ledger)??;
        keys.remove_gone(&before, &after);
        tracing::info!(signing = %after.signing().id(), step = ?after.step(), "the rotation of the CA moved");
        Ok(())
    }
}

#[tonic::async_trait]
impl pb::authority_server::Authority for AuthorityService {
    async fn get_authority(
        &self,
        _: Request<pb::GetAuthorityRequest>,
    ) -> Result<Response<pb::GetAuthorityResponse>, Status> {
        Ok(Response::new(self.status()))
    }

    async fn rotate(&self, request: Request<pb::RotateRequest>) -> Result<Response<pb::RotateResponse>, Status> {
        let Caller::Identity(who) = caller(&request)? else {
            return Err(Status::internal("the call was not authorized"));
        };
        let pb::RotateRequest { step, force } = request.into_inner();
        self.rotate_to(who, RotationStep::from_wire(step)?, force).await?;
        Ok(Response::new(pb::RotateResponse { status: Some(self.status()) }))
    }

    async fn get_roots(&self, _: Request<pb::GetRootsRequest>) -> Result<Response<pb::GetRootsResponse>, Status> {
        let bundle = self.ledger.read().trust_bundle();
        Ok(Response::new(pb::GetRootsResponse {
            roots_version: bundle.roots_version,
            roots: bundle.roots,
            renew_issuers: bundle.renew_issuers.into_iter().map(Vec::from).collect(),
        }))
    }
}

/// A step as it was asked for; a new root is made when its turn comes.
#[derive(Clone, Copy)]
enum RotationStep {
    Prepare,
    Activate,
    Taint,
    Revoke,
    Back,
}

impl RotationStep {
    fn from_wire(step: i32) -> Result<Self, Status> {
        match pb::RotationStep::try_from(step) {
            Ok(pb::RotationStep::Prepare) => Ok(Self::Prepare),
            Ok(pb::RotationStep::Activate) => Ok(Self::Activate),
            Ok(pb::RotationStep::Taint) => Ok(Self::Taint),
            Ok(pb::RotationStep::Revoke) => Ok(Self::Revoke),
            Ok(pb::RotationStep::Back) => Ok(Self::Back),
            Ok(pb::RotationStep::Unspecified) | Err(_) => {
                Err(wire::invalid("step", "must be PREPARE, ACTIVATE, TAINT, REVOKE or BACK"))
            }
        }
    }

    fn rotation(self, control: &Control, now: SystemTime) -> Result<Rotation, Status> {
        Ok(match self {
            Self::Prepare => {
                let next = Issuer::create(control.cluster(), now).map_err(|error| not_made(&error))?;
                Rotation::Prepare(Box::new(next))
            }
            Self::Activate => Rotation::Activate,
            Self::Taint => Rotation::Taint,
            Self::Revoke => Rotation::Revoke,
            Self::Back => Rotation::Back,
        })
    }
}

fn not_made(error: &dyn std::error::Error) -> Status {
    let why = startup::one_line(error);
    tracing::error!(%why, "no new root was made");
    wire::status(Code::Unavailable, "NOT_MADE", &format!("no new root was made: {why}"), [])
}

fn refused(refusal: &RotateRefusal) -> Status {
    let reason = match refusal {
        RotateRefusal::Order { .. } => "OUT_OF_ORDER",
        RotateRefusal::Lagging(_) => "NODES_LAG",
        RotateRefusal::NoKey(_) => "NO_KEY",
        RotateRefusal::Recovered => "RECOVERED",
        RotateRefusal::Issue(_) => "NOT_ISSUED",
        RotateRefusal::OtherRecovery(_) => "OTHER_RECOVERY_KEY",
    };
    wire::status(Code::FailedPrecondition, reason, &startup::one_line(refusal), [])
}

fn root_message(root: &Root, keys: &KeyFolder) -> pb::Root {
    let Root { place, issuer, cross: _ } = root;
    let key = match (issuer.has_key(), keys.has(issuer.id())) {
        (true, true) => pb::KeyState::Present,
        (true, false) => pb::KeyState::InMemoryOnly,
        (false, _) => pb::KeyState::Absent,
    };
    let place = match place {
        Place::Signing => pb::RootPlace::Signing,
        Place::Next => pb::RootPlace::Next,
        Place::Previous => pb::RootPlace::Previous,
        Place::Tainted => pb::RootPlace::Tainted,
        Place::Recovery => pb::RootPlace::Recovery,
    };
    pb::Root {
        id: issuer.id().to_string(),
        place: place.into(),
        key: key.into(),
        expires: Some(issuer.not_after().into()),
        public_key_sha256: issuer.ca_public_key_pin().to_vec(),
    }
}

fn rotation_state(step: Step) -> pb::RotationState {
    match step {
        Step::Steady => pb::RotationState::Steady,
        Step::Prepared => pb::RotationState::Prepared,
        Step::Activated => pb::RotationState::Activated,
        Step::Tainted => pb::RotationState::Tainted,
    }
}

fn lagging_node(laggard: Laggard) -> pb::LaggingNode {
    let Laggard { node, lacks_roots, has_other_certificate, is_live } = laggard;
    pb::LaggingNode { id: node.to_string(), lacks_roots, has_other_certificate, is_live }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{init, open, own_certificate::Own};

    fn service(state: &Path) -> AuthorityService {
        let (control, store) = open::open(state).unwrap();
        let identity = Identity::controller("c1".parse().unwrap());
        let lifetime = control_lib::Lifetime::CONTROLLER;
        let own = Own { identity, lifetime, folder: state.join("own") }.take(control.authority()).unwrap().0;
        AuthorityService::new(Ledger::new(control, store), OwnCertificate::new(&own).unwrap(), state)
    }

    /// The crash between a new key's file and its root, without the crash: the store refuses the commit.
    #[tokio::test]
    async fn a_step_that_is_not_committed_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        init(&state, Some("lab"), "127.0.0.1:0".parse().unwrap(), "lab:7443").unwrap();
        let service = self::service(&state);
        let admin = Identity::operator("admin".parse().unwrap());
        let before = service.ledger.read().authority().clone();
        let foreign = Connection::open(state.join("state.db")).unwrap();
        let shift = |by| foreign.execute("UPDATE meta SET revision = revision + ?1", [by]).unwrap();
        shift(1);
        let refused = service.rotate_to(admin.clone(), RotationStep::Prepare, false).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(*service.ledger.read().authority(), before);
        let keys = KeyFolder::of(&state);
        assert_eq!(keys.strays(&before).len(), 1, "the key was there before its root would have been");

        // the next start finds what was committed, and goes on from there; the stray key is nobody's
        shift(-1);
        drop(service);
        let service = self::service(&state);
        assert_eq!(*service.ledger.read().authority(), before);
        service.rotate_to(admin.clone(), RotationStep::Prepare, false).await.unwrap();
        let prepared = service.ledger.read().authority().clone();
        assert!(prepared.others().iter().all(|root| root.issuer.has_key() && keys.has(root.issuer.id())));
        service.rotate_to(admin, RotationStep::Back, false).await.unwrap();
        assert!(prepared.others().iter().all(|root| !keys.has(root.issuer.id())), "gone with its root");
        assert_eq!(keys.strays(&before).len(), 1);
    }
}
