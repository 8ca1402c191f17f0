//! Operators, what they may do, and their certificates.

use std::time::Duration;

use control_lib::{
    AddOperatorRefusal, Admitted, Certificate, ChangeRolesRefusal, Control, Grants, Identity, Lifetime, Name, Names,
    Operator, OperatorSpec, PublicKey, RenewOperatorRefusal, Role, Scope, ScopeError, Selector,
};
use proto::fleet::v1 as pb;
use tonic::{Code, Status};

use super::{invalid, parse, status};

/// Who is to be added.
pub(crate) fn operator_spec(message: pb::AddOperatorRequest) -> Result<OperatorSpec, Status> {
    let pb::AddOperatorRequest { name, grants, csr, certificate_lifetime } = message;
    Ok(OperatorSpec {
        name: parse("name", &name)?,
        grants: self::grants("grants", grants)?,
        lifetime: lifetime(certificate_lifetime)?,
        key: Some(operator_key(&csr)?),
    })
}

fn lifetime(lifetime: Option<prost_types::Duration>) -> Result<Lifetime, Status> {
    let Some(lifetime) = lifetime else { return Ok(Lifetime::OPERATOR) };
    let wrong = |why: &str| invalid("certificate_lifetime", why);
    let lifetime = Duration::try_from(lifetime).map_err(|_| wrong("must not be negative"))?;
    Lifetime::operator(lifetime).map_err(|_| wrong("must be 12 hours to 90 days"))
}

/// The key that is to be certified.
pub(crate) fn operator_key(csr: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_csr(csr).map_err(|wrong| invalid("csr", &format!("is wrong: {}", startup::one_line(&wrong))))
}

/// What is to be given; `field` holds it.
pub(crate) fn grants(field: &str, messages: Vec<pb::Grant>) -> Result<Grants, Status> {
    let mut grants: Vec<(Role, Scope)> = Vec::new();
    for pb::Grant { role, scope } in messages {
        let role = self::role(&format!("{field}.role"), role)?;
        if grants.iter().any(|(other, _)| *other == role) {
            return Err(invalid(&format!("{field}.role"), &format!("names {role} twice")));
        }
        grants.push((role, self::scope(field, scope.unwrap_or_default())?));
    }
    Grants::new(grants).map_err(|wrong| invalid(&format!("{field}.scope"), &format!("is wrong: {wrong}")))
}

/// A role by its number.
pub(crate) fn role(field: &str, number: i32) -> Result<Role, Status> {
    match pb::Role::try_from(number) {
        Ok(pb::Role::Viewer) => Ok(Role::Viewer),
        Ok(pb::Role::Logs) => Ok(Role::Logs),
        Ok(pb::Role::Gpio) => Ok(Role::Gpio),
        Ok(pb::Role::Exec) => Ok(Role::Exec),
        Ok(pb::Role::Shell) => Ok(Role::Shell),
        Ok(pb::Role::Provision) => Ok(Role::Provision),
        Ok(pb::Role::Admin) => Ok(Role::Admin),
        Ok(pb::Role::Enroller) => Ok(Role::Enroller),
        Ok(pb::Role::Unspecified) => Err(invalid(field, "is required")),
        Err(_) => Err(invalid(field, "is not known to this controller")),
    }
}

fn scope(field: &str, message: pb::Scope) -> Result<Scope, Status> {
    let pb::Scope { nodes, lines, units, sources, templates } = message;
    let selector = |pb::NodeSelector { labels }| {
        let wrong = |wrong| invalid(&format!("{field}.scope.nodes"), &format!("are wrong: {wrong}"));
        Selector::new::<String, String>(labels).map_err(wrong)
    };
    let names = |limit: &str, message: Option<pb::Names>, check: fn(Vec<String>) -> Result<Names, ScopeError>| {
        let wrong = |wrong| invalid(&format!("{field}.scope.{limit}"), &format!("are wrong: {wrong}"));
        message.map(|pb::Names { names }| check(names)).transpose().map_err(wrong)
    };
    Ok(Scope {
        nodes: nodes.map(selector).transpose()?,
        lines: names("lines", lines, Names::lines)?,
        units: names("units", units, Names::units)?,
        sources: names("sources", sources, Names::sources)?,
        templates: names("templates", templates, Names::templates)?,
    })
}

/// Which operator is asked about; `None`: the caller.
pub(crate) fn operator_name(name: &str) -> Result<Option<Name>, Status> {
    if name.is_empty() { Ok(None) } else { parse("name", name).map(Some) }
}

/// No operator of that name.
pub(crate) fn unknown_operator(name: &Name) -> Status {
    let why = format!("there is no operator/{name}; list the operators to see their names");
    status(Code::NotFound, "UNKNOWN_OPERATOR", &why, [("operator", name.to_string())])
}

/// An operator for people.
pub(crate) fn operator(operator: &Operator, control: &Control) -> pb::Operator {
    let Operator { name, grants, lifetime, expires, created_by, created_at } = operator;
    pb::Operator {
        name: name.to_string(),
        grants: grants.iter().map(|(role, scope)| grant(role, scope)).collect(),
        certificate_lifetime: prost_types::Duration::try_from(lifetime.duration()).ok(),
        certificate_expires: expires.map(Into::into),
        created_by: created_by.to_string(),
        created_at: Some((*created_at).into()),
        exclusion: control.exclusion(&Identity::operator(name.clone())).map(super::exclusion),
    }
}

fn grant(role: Role, scope: &Scope) -> pb::Grant {
    let number = match role {
        Role::Viewer => pb::Role::Viewer,
        Role::Logs => pb::Role::Logs,
        Role::Gpio => pb::Role::Gpio,
        Role::Exec => pb::Role::Exec,
        Role::Shell => pb::Role::Shell,
        Role::Provision => pb::Role::Provision,
        Role::Admin => pb::Role::Admin,
        Role::Enroller => pb::Role::Enroller,
    };
    let Scope { nodes, lines, units, sources, templates } = scope;
    let labels = |selector: &Selector| pb::NodeSelector {
        labels: selector.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    };
    let names = |names: &Option<Names>| {
        names.as_ref().map(|names| pb::Names { names: names.iter().map(str::to_owned).collect() })
    };
    let limits = pb::Scope {
        nodes: nodes.as_ref().map(labels),
        lines: names(lines),
        units: names(units),
        sources: names(sources),
        templates: names(templates),
    };
    pb::Grant { role: number.into(), scope: (*scope != Scope::UNLIMITED).then_some(limits) }
}

/// A new operator, with the certificate.
pub(crate) fn admitted(admitted: Admitted, control: &Control) -> pb::AddOperatorResponse {
    let Admitted { operator, certificate } = admitted;
    pb::AddOperatorResponse {
        operator: Some(self::operator(&operator, control)),
        certificate: certificate.map(|certificate| operator_certificate(certificate, control)),
    }
}

/// A certificate with all that its holder needs beside the key.
pub(crate) fn operator_certificate(certificate: Certificate, control: &Control) -> pb::OperatorCertificate {
    let Certificate { der, not_before: _, not_after } = certificate;
    pb::OperatorCertificate {
        certificate_chain: vec![der, control.issuer().certificate_der().to_vec()],
        ca_bundle: control.trust_bundle().roots,
        expires: Some(not_after.into()),
    }
}

/// Why nobody was added.
pub(crate) fn add_operator_refusal(refusal: &AddOperatorRefusal) -> Status {
    let (code, reason) = match refusal {
        AddOperatorRefusal::Exists(_) => (Code::AlreadyExists, "OPERATOR_EXISTS"),
        AddOperatorRefusal::Revoked(_) => (Code::FailedPrecondition, "OPERATOR_REVOKED"),
        AddOperatorRefusal::NoRole => (Code::InvalidArgument, "NO_ROLE"),
        AddOperatorRefusal::AboveOwn(_) => (Code::PermissionDenied, "ABOVE_OWN"),
        AddOperatorRefusal::NotAdmin => (Code::PermissionDenied, "ACCESS_DENIED"),
        AddOperatorRefusal::KeyTaken(_) => (Code::AlreadyExists, "KEY_TAKEN"),
        AddOperatorRefusal::Issue(_) => (Code::Unavailable, "NOT_ISSUED"),
    };
    status(code, reason, &startup::one_line(refusal), [])
}

/// Why the roles stay.
pub(crate) fn change_roles_refusal(refusal: &ChangeRolesRefusal) -> Status {
    let (code, reason) = match refusal {
        ChangeRolesRefusal::Unknown(name) => return unknown_operator(name),
        ChangeRolesRefusal::AboveOwn(_) => (Code::PermissionDenied, "ABOVE_OWN"),
        ChangeRolesRefusal::NotAdmin => (Code::PermissionDenied, "ACCESS_DENIED"),
        ChangeRolesRefusal::NotHeld(..) => (Code::FailedPrecondition, "ROLE_NOT_HELD"),
        ChangeRolesRefusal::LastAdmin(_) => (Code::FailedPrecondition, "LAST_ADMIN"),
        ChangeRolesRefusal::Scope(_) => (Code::InvalidArgument, "INVALID_FIELD"),
    };
    status(code, reason, &startup::one_line(refusal), [])
}

/// Why there is no new certificate.
pub(crate) fn renew_operator_refusal(refusal: &RenewOperatorRefusal) -> Status {
    let (code, reason) = match refusal {
        RenewOperatorRefusal::Unknown(name) => return unknown_operator(name),
        RenewOperatorRefusal::AboveOwn(..) => (Code::PermissionDenied, "ABOVE_OWN"),
        RenewOperatorRefusal::Revoked(_) => (Code::FailedPrecondition, "OPERATOR_REVOKED"),
        RenewOperatorRefusal::NotAdmin => (Code::PermissionDenied, "ACCESS_DENIED"),
        RenewOperatorRefusal::KeyTaken(_) => (Code::AlreadyExists, "KEY_TAKEN"),
        RenewOperatorRefusal::Issue(_) => (Code::Unavailable, "NOT_ISSUED"),
    };
    status(code, reason, &startup::one_line(refusal), [])
}
