//! Keys and certificates of operators. A key never leaves the machine on which it was made, but in a context that whoever
//! made it sends on.

use std::path::{Path, PathBuf};

use mtls::{CertificateDer, Context, Credentials, Issued, OwnKey};
use proto::fleet::v1::{AddOperatorRequest, Grant, OperatorCertificate, RenewCertificateRequest};

use super::{client, described};
use crate::call::Caller;
use crate::exit::{Exit, Failure};
use crate::node::timestamp;
use crate::output::{Output, inert, json};

/// Who is to be added, and where what they need is to be put.
pub(super) struct Add {
    pub(super) operator: String,
    pub(super) grants: Vec<Grant>,
    pub(super) lifetime: prost_types::Duration,
    pub(super) csr: Option<PathBuf>,
    pub(super) out: PathBuf,
}

/// Whose key is to be certified.
enum Subject {
    /// One that is made here.
    Own(Box<OwnKey>),
    /// One that somebody else has.
    Theirs(Vec<u8>),
}

impl Subject {
    fn new(csr: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = csr else { return Ok(Self::Own(Box::new(OwnKey::generate().map_err(failed)?))) };
        let text = std::fs::read(path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
        let request = mtls::parse_pem(&text).ok().and_then(|pem| pem.request);
        let request = request.ok_or_else(|| {
            wrong(format!("{} is not a request: expected what pictl operator request wrote", path.display()))
        });
        Ok(Self::Theirs(request?))
    }

    fn csr(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Own(key) => key.csr().map_err(failed),
            Self::Theirs(csr) => Ok(csr.clone()),
        }
    }

    /// Writes a context, or what lacks only the key to be one.
    fn store(self, certificate: OperatorCertificate, controller: &str, out: &Path) -> Result<&'static str, Failure> {
        let OperatorCertificate { certificate_chain, ca_bundle, expires: _ } = certificate;
        let der = |certificates: Vec<Vec<u8>>| certificates.into_iter().map(CertificateDer::from).collect::<Vec<_>>();
        let (chain, roots) = (der(certificate_chain), der(ca_bundle));
        match self {
            Self::Own(key) => {
                Context::store(out, controller, &Credentials { chain, key: key.into_private_key(), roots })?;
                Ok("it holds a key: send it over a secure channel")
            }
            Self::Theirs(_) => {
                Issued { controller: controller.to_owned(), chain, roots }.store(out)?;
                Ok("it is not secret: send it back; next there: pictl operator accept")
            }
        }
    }
}

pub(super) async fn add(caller: &Caller, add: Add, output: Output) -> Result<String, Failure> {
    let Add { operator, grants, lifetime, csr, out } = add;
    let subject = Subject::new(csr.as_deref())?;
    let csr = subject.csr()?;
    refuse_existing(&out)?;
    let request = AddOperatorRequest { name: operator, grants, csr, certificate_lifetime: Some(lifetime) };
    let answer = client(caller)?.add_operator(caller.request(request)).await?.into_inner();
    let next = subject.store(answer.certificate.clone().unwrap_or_default(), caller.controller(), &out)?;
    if output == Output::Json {
        return json(&answer);
    }
    let operator = answer.operator.unwrap_or_default();
    let grants: Vec<String> = operator.grants.iter().map(described).collect();
    let until = timestamp(operator.certificate_expires);
    let (name, out) = (inert(&operator.name), out.display());
    Ok(format!("added operator/{name} ({}), certificate until {until}\nwrote {out}; {next}", grants.join("; ")))
}

/// Yourself, into the context that is in use; somebody else into a file of its own.
pub(super) async fn renew(
    caller: &Caller,
    operator: Option<String>,
    csr: Option<PathBuf>,
    out: Option<PathBuf>,
    output: Output,
) -> Result<String, Failure> {
    let subject = Subject::new(csr.as_deref())?;
    if let Some(out) = &out {
        refuse_existing(out)?;
    }
    let request = RenewCertificateRequest { name: operator.unwrap_or_default(), csr: subject.csr()? };
    let answer = client(caller)?.renew_certificate(caller.request(request)).await?.into_inner();
    let certificate = answer.certificate.clone().unwrap_or_default();
    let until = timestamp(certificate.expires);
    let in_use = out.is_none();
    let out = out.unwrap_or_else(|| caller.context().to_owned());
    let next = subject.store(certificate, caller.controller(), &out)?;
    match output {
        Output::Json => json(&answer),
        Output::Table if in_use => Ok(format!("renewed until {until} in {}", out.display())),
        Output::Table => Ok(format!("renewed until {until}\nwrote {}; {next}", out.display())),
    }
}

/// Makes a key, or takes the one that is there, and a request with it.
pub(crate) fn request(key: &Path, out: &Path) -> Result<String, Failure> {
    let csr = OwnKey::load_or_create(key).and_then(|key| key.csr()).map_err(failed)?;
    mtls::write_private(out, mtls::write_pem("CERTIFICATE REQUEST", &csr).as_bytes()).map_err(failed)?;
    let (key, out) = (key.display(), out.display());
    Ok(format!(
        "wrote {out}; keep {key} to yourself\n\
         next: send {out} to an admin, who runs: pictl operator add NAME --role ROLE --csr {out} --out ANSWER"
    ))
}

/// A key and the answer to its request are a context.
pub(crate) fn accept(answer: &Path, key: &Path, out: &Path) -> Result<String, Failure> {
    refuse_existing(out)?;
    Context::put_together(answer, key, out)?;
    let identity = Context::load(out)?.identity;
    Ok(format!("you are {identity}; next: pictl --context {} operator show", out.display()))
}

/// A context that is overwritten may be the only one that its owner has.
fn refuse_existing(out: &Path) -> Result<(), Failure> {
    match out.exists() {
        true => Err(wrong(format!("{} exists: choose another file", out.display()))),
        false => Ok(()),
    }
}

fn wrong(why: String) -> Failure {
    Failure::Command(Exit::Usage, why)
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::Command(Exit::Failed, startup::one_line(&error))
}
