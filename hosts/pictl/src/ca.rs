//! `pictl ca`: the cluster's roots, and the way from one to the next.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use proto::fleet::v1::authority_client::AuthorityClient;
use proto::fleet::v1::{
    GetAuthorityRequest, GetAuthorityResponse, KeyState, LaggingNode, Root, RootPlace, RotateRequest, RotationState,
    RotationStep,
};
use tonic::transport::Channel;

use crate::call::Caller;
use crate::exit::{Exit, Failure};
use crate::output::{Output, duration, json, table};

/// Nodes that the table names.
const NAMED: usize = 10;

const ON_THE_MACHINE: &str = "On the controller's machine, because the keys never travel:
  pi-controller ca backup     the CA keys and the state, sealed by a passphrase
  pi-controller ca restore    go on from a backup
  pi-controller ca recover    make a new CA key with the recovery key";

#[derive(Subcommand)]
#[command(after_help = ON_THE_MACHINE)]
pub(crate) enum Command {
    /// The roots, how far a rotation is, which nodes lag, whether there is a backup
    Status,
    /// Go from one root to the next: prepare, activate, taint, revoke; each can be taken back but the last
    #[command(subcommand)]
    Rotate(Rotate),
}

#[derive(Subcommand)]
pub(crate) enum Rotate {
    /// Make a new root and let everybody believe it; it signs nothing yet
    Prepare,
    /// Let the new root sign
    Activate,
    /// Have the certificates of the old root replaced now
    Taint,
    /// End the belief in the old root and delete its key; cannot be taken back
    Revoke(Force),
    /// Take the last step back
    Back(Force),
}

#[derive(Args)]
pub(crate) struct Force {
    /// Shut out whoever is not ready: a node that lags must join again
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(caller: &Caller, command: Command, output: Output) -> Result<String, Failure> {
    let mut authority: AuthorityClient<Channel> = caller.authority()?;
    let status = match command {
        Command::Status => authority.get_authority(caller.request(GetAuthorityRequest {})).await?.into_inner(),
        Command::Rotate(rotate) => {
            let (step, force) = match rotate {
                Rotate::Prepare => (RotationStep::Prepare, false),
                Rotate::Activate => (RotationStep::Activate, false),
                Rotate::Taint => (RotationStep::Taint, false),
                Rotate::Revoke(Force { force }) => (RotationStep::Revoke, force),
                Rotate::Back(Force { force }) => (RotationStep::Back, force),
            };
            if step == RotationStep::Revoke && !force {
                let status = authority.get_authority(caller.request(GetAuthorityRequest {})).await?.into_inner();
                stays_with_us(caller, &status)?;
            }
            let request = caller.request(RotateRequest { step: step.into(), force });
            authority.rotate(request).await?.into_inner().status.unwrap_or_default()
        }
    };
    match output {
        Output::Json => json(&status),
        Output::Table => Ok(shown(&status, Timestamp::now())),
    }
}

/// Nobody shuts themselves out in passing.
fn stays_with_us(caller: &Caller, status: &GetAuthorityResponse) -> Result<(), Failure> {
    let leaving = status.roots.iter().filter(|root| matches!(root.place(), RootPlace::Previous | RootPlace::Tainted));
    let own = caller.own_issuer();
    match leaving.map(|root| &root.public_key_sha256[..]).any(|pin| own.is_some_and(|own| own == pin)) {
        true => {
            let why = "your own certificate is from the root that would go: pictl operator renew first, or use --force";
            Err(Failure::Command(Exit::Conflict, why.to_owned()))
        }
        false => Ok(()),
    }
}

fn shown(status: &GetAuthorityResponse, now: Timestamp) -> String {
    let mut parts = vec![roots(status), facts(status, now)];
    if !status.lagging.is_empty() {
        parts.push(lagging(status));
    }
    parts.extend(advice(status));
    parts.join("\n\n")
}

fn roots(status: &GetAuthorityResponse) -> String {
    let row = |root: &Root| vec![root.id.clone(), place(root).to_owned(), key(root).to_owned(), date(root.expires)];
    table(&["ROOT", "PLACE", "KEY", "UNTIL"], status.roots.iter().map(row))
}

fn place(root: &Root) -> &'static str {
    match root.place() {
        RootPlace::Unspecified => "-",
        RootPlace::Signing => "signs",
        RootPlace::Next => "next",
        RootPlace::Previous => "previous",
        RootPlace::Tainted => "tainted",
        RootPlace::Recovery => "recovery",
    }
}

fn key(root: &Root) -> &'static str {
    match (root.place(), root.key()) {
        (_, KeyState::Present) => "present",
        (_, KeyState::InMemoryOnly) => "in memory only",
        (RootPlace::Recovery, _) => "kept elsewhere",
        _ => "absent",
    }
}

fn facts(status: &GetAuthorityResponse, now: Timestamp) -> String {
    let rotation = match status.rotation() {
        RotationState::Unspecified => "-",
        RotationState::Steady => "none under way",
        RotationState::Prepared => "prepared; next: activate, or back",
        RotationState::Activated => "activated; next: taint, or back",
        RotationState::Tainted => "tainted; next: revoke, or back",
    };
    let backup = match (status.last_backup, status.backup_is_current) {
        (None, _) => "none".to_owned(),
        (Some(at), true) => date(Some(at)),
        (Some(at), false) => format!("{}, without the key that signs now", date(Some(at))),
    };
    let rows = [
        ("rotation", rotation.to_owned()),
        ("roots version", status.roots_version.to_string()),
        ("first certificate ends", left(status.first_certificate_expires, now)),
        ("last backup", backup),
        ("epoch", status.epoch.to_string()),
    ];
    table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn lagging(status: &GetAuthorityResponse) -> String {
    let row = |node: &LaggingNode| {
        let lacks = match (node.lacks_roots, node.has_other_certificate) {
            (true, true) => "roots, certificate",
            (true, false) => "roots",
            (false, _) => "certificate",
        };
        let live = if node.is_live { "live" } else { "ended: must join again" };
        vec![node.id.clone(), lacks.to_owned(), live.to_owned()]
    };
    let mut rows = table(&["LAGGING", "LACKS", "CERTIFICATE"], status.lagging.iter().take(NAMED).map(row));
    let named = status.lagging.len().min(NAMED);
    match (status.lagging_count as usize).saturating_sub(named) {
        0 => {}
        more => rows.push_str(&format!("\nand {more} more")),
    }
    rows
}

/// What a person should do, if there is something.
fn advice(status: &GetAuthorityResponse) -> Option<String> {
    let signing = status.roots.iter().find(|root| root.place() == RootPlace::Signing).map(Root::key);
    let mut lines = Vec::new();
    match signing {
        Some(KeyState::Absent) => lines.push(
            "! the CA key is gone: nothing can be issued or renewed, and what has a certificate runs on until it ends;
  next, on the controller's machine: pi-controller ca recover, or pi-controller ca restore",
        ),
        Some(KeyState::InMemoryOnly) => lines.push(
            "! the file of the CA key is gone, and a restart of the controller would lose the key;
  next, on the controller's machine: pi-controller ca recover, or pi-controller ca restore",
        ),
        _ if !status.backup_is_current => {
            lines.push("! no backup has the key that signs now: pi-controller ca backup, on the controller's machine");
        }
        _ => {}
    }
    if status.recovery_key_here {
        lines.push("! recovery.sealed is still in the controller's state folder: move it to where the machine's loss cannot reach it");
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn date(at: Option<prost_types::Timestamp>) -> String {
    let at = at.and_then(|at| Timestamp::from_second(at.seconds).ok());
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn left(at: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    let seconds = at.map(|at| at.seconds - now.as_second());
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| format!("in {}", duration(Some(&prost_types::Duration { seconds, nanos: 0 }))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(place: RootPlace, key: KeyState) -> Root {
        let at = prost_types::Timestamp { seconds: 2_100_000_000, nanos: 0 };
        let (place, key) = (place.into(), key.into());
        Root { id: "0123456789abcdef".to_owned(), place, key, expires: Some(at), public_key_sha256: vec![] }
    }

    fn lagging_node(id: u32) -> LaggingNode {
        LaggingNode { id: format!("pi-{id}"), lacks_roots: id == 1, has_other_certificate: true, is_live: id < 3 }
    }

    /// Everything that can be told, at once.
    #[test]
    fn a_status_says_what_to_do_next() {
        let status = GetAuthorityResponse {
            roots: vec![
                root(RootPlace::Signing, KeyState::Absent),
                root(RootPlace::Tainted, KeyState::Present),
                root(RootPlace::Recovery, KeyState::Absent),
            ],
            rotation: RotationState::Tainted.into(),
            roots_version: 4,
            lagging: (1..=12).map(lagging_node).collect(),
            lagging_count: 12,
            first_certificate_expires: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            last_backup: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
            backup_is_current: false,
            recovery_key_here: true,
            epoch: 1,
        };
        insta::assert_snapshot!(shown(&status, Timestamp::from_second(1_799_500_000).unwrap()));
    }

    #[test]
    fn a_steady_cluster_with_a_backup_needs_no_advice() {
        let status = GetAuthorityResponse {
            roots: vec![root(RootPlace::Signing, KeyState::Present), root(RootPlace::Recovery, KeyState::Absent)],
            rotation: RotationState::Steady.into(),
            last_backup: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
            backup_is_current: true,
            ..GetAuthorityResponse::default()
        };
        assert_eq!(advice(&status), None);
    }
}
