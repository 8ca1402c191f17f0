//! What stands in a root and what stands in a member's certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

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

pub(crate) fn root(cluster: &ClusterId, now: SystemTime) -> Result<CertificateParams, IssueError> {
    let now = whole_seconds(now)?;
    let mut params = base("root", now - BACKDATED, now + ROOT_LIFETIME)?;
    // A field of its own: behind another word in the common name, a long name would pass X.509's 64 characters.
    params.distinguished_name.push(DnType::OrganizationName, cluster.as_str());
    // The cluster's name is read back from here, so that a CA cannot be used for a cluster that it was not made for.
    params.subject_alt_names = vec![SanType::URI(cluster.uri().try_into().map_err(IssueError::Sign)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

pub(crate) fn read_root(der: &[u8]) -> Option<(ClusterId, SystemTime, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty())?;
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    let cluster = uri.strip_prefix("spiffe://")?.parse().ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
    certificate.is_ca().then(|| (cluster, not_after, certificate.public_key().raw.to_vec()))
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
