//! What stands in a root and what stands in a member's certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::certificate::BACKDATED;
use crate::identity::{ClusterId, Identity, Kind};
use crate::issuer::IssueError;

pub(crate) const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// 31 December 9999, 23:59:59 UTC in seconds since 1970: the last moment that a certificate can express.
const LAST_SECOND: u64 = 253_402_300_799;

pub(crate) fn leaf(
    cluster: &ClusterId,
    identity: &Identity,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = base(identity.name.as_str(), not_before, not_after)?;
    params.subject_alt_names = vec![
        SanType::URI(identity.uri(cluster).try_into().map_err(IssueError::Sign)?),
        SanType::DnsName(identity.dns(cluster).try_into().map_err(IssueError::Sign)?),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(identity.kind);
    Ok(params)
}

/// A root: whoever has it signs members, and certifies one other root of the cluster so that who believes only the one
/// believes what the other signs.
pub(crate) fn root(cluster: &ClusterId, common_name: &str, now: SystemTime) -> Result<CertificateParams, IssueError> {
    let now = whole_seconds(now)?;
    authority(cluster, common_name, 1, now - BACKDATED, now + ROOT_LIFETIME)
}

/// Another root's key under its own name, certified by one root: signs members and no further authority.
pub(crate) fn cross(
    root: &RootFacts,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    authority(&root.cluster, &root.common_name, 0, not_before, not_after)
}

fn authority(
    cluster: &ClusterId,
    common_name: &str,
    authorities_below: u8,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let mut params = base(common_name, not_before, not_after)?;
    // A field of its own: behind another word in the common name, a long name would pass X.509's 64 characters.
    params.distinguished_name.push(DnType::OrganizationName, cluster.as_str());
    // The cluster's name is read back from here, so that a CA cannot be used for a cluster that it was not made for.
    params.subject_alt_names = vec![SanType::URI(cluster.uri().try_into().map_err(IssueError::Sign)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(authorities_below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// What a root's certificate says.
#[derive(Clone)]
pub(crate) struct RootFacts {
    pub(crate) cluster: ClusterId,
    pub(crate) common_name: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) spki: Vec<u8>,
    /// The identifier by which the certificates that it signs name its key.
    pub(crate) key_identifier: Vec<u8>,
}

pub(crate) fn read_root(der: &[u8]) -> Option<RootFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty())?;
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    let time = |time: ASN1Time| Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).ok()?));
    let facts = RootFacts {
        cluster: uri.strip_prefix("spiffe://")?.parse().ok()?,
        common_name: certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        spki: certificate.public_key().raw.to_vec(),
        key_identifier: certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })?,
    };
    certificate.is_ca().then_some(facts)
}

/// The identifier of the key that signed a certificate, as the certificate names it.
pub(crate) fn signer_identifier(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

fn usages(kind: Kind) -> Vec<ExtendedKeyUsagePurpose> {
    match kind {
        Kind::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Kind::Node | Kind::Controller => {
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]
        }
    }
}

/// What both have: a subject, a time, a random serial number and the identifier of the key that signed.
fn base(common_name: &str, not_before: SystemTime, not_after: SystemTime) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before)?;
    params.not_after = epoch + since_epoch(not_after)?;
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn random_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IssueError::Random)?;
    Ok(SerialNumber::from_slice(&bytes))
}

/// `time` without its fraction of a second, which a certificate cannot express.
pub(crate) fn whole_seconds(time: SystemTime) -> Result<SystemTime, IssueError> {
    Ok(UNIX_EPOCH + since_epoch(time)?)
}

fn since_epoch(time: SystemTime) -> Result<Duration, IssueError> {
    let seconds = time.duration_since(UNIX_EPOCH).map_err(|_| IssueError::Clock)?.as_secs();
    if seconds > LAST_SECOND { Err(IssueError::Clock) } else { Ok(Duration::from_secs(seconds)) }
}
