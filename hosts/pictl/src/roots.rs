//! An operator's context follows the cluster's roots: whom it believes is what the controller told it last, over a
//! connection that was checked by what it believed before.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mtls::{CertificateDer, Context, Credentials};
use proto::fleet::v1::{GetRootsRequest, GetRootsResponse};

use crate::call::Caller;
use crate::exit::Failure;

/// How long an answer is good: the controller is asked at most this often in passing.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// Asks and stores, if the last answer is too old or `now` is wished for. A failure is no failure of the command: the
/// context is as it was, and is good for as long as its roots are.
pub(crate) async fn follow(caller: &Caller, now: bool, errors: &mut dyn Write) {
    if caller.is_direct() || !(now || is_old(caller.context())) {
        return;
    }
    let Ok(told) = ask(caller).await else { return };
    let own = caller.own_issuer();
    if told.renew_issuers.iter().any(|pin| own.is_some_and(|own| own[..] == pin[..])) {
        // nobody left to tell
        let _ = writeln!(
            errors,
            "pictl: your certificate is from a root on its way out: get another one before that, with pictl operator renew"
        );
    }
    // a folder that cannot be written to keeps the old roots
    let _ = store(caller.context(), told.roots);
}

async fn ask(caller: &Caller) -> Result<GetRootsResponse, Failure> {
    Ok(caller.authority()?.get_roots(caller.request(GetRootsRequest {})).await?.into_inner())
}

/// The file's time says when it was last found to be right.
fn is_old(context: &Path) -> bool {
    let written = context.metadata().and_then(|file| file.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > GOOD_FOR))
}

/// The file is replaced whole; the certificate and its key stay.
fn store(path: &Path, roots: Vec<Vec<u8>>) -> Result<(), Failure> {
    let Context { controller, identity: _, credentials } = Context::load(path)?;
    let roots: Vec<_> = roots.into_iter().map(CertificateDer::from).collect();
    let set = |roots: &[CertificateDer<'static>]| roots.iter().map(|root| root.to_vec()).collect::<BTreeSet<_>>();
    if roots.is_empty() || set(&roots) == set(&credentials.roots) {
        File::options().append(true).open(path)?.set_modified(SystemTime::now())?;
        return Ok(());
    }
    Ok(Context::store(path, &controller, &Credentials { roots, ..credentials })?)
}
