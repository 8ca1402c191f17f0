//! Who somebody is: a kind and a name inside one cluster.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Why a text is no DNS label and so cannot be a [`Name`] or a [`ClusterId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text is empty or longer than 63 bytes.
    #[error("give 1 to 63 characters, not {0}")]
    Length(usize),
    /// A character other than `a-z`, `0-9` and `-`.
    #[error("use only a-z, 0-9 and '-', not {0:?}")]
    Character(char),
    /// A hyphen at the start or at the end.
    #[error("start and end with a letter or a digit")]
    Hyphen,
}

fn check_label(text: &str) -> Result<(), LabelError> {
    if text.is_empty() || text.len() > 63 {
        return Err(LabelError::Length(text.len()));
    }
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    if let Some(other) = text.chars().find(|c| !allowed(c)) {
        return Err(LabelError::Character(other));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(LabelError::Hyphen);
    }
    Ok(())
}

/// The name of a node, an operator or a controller: a DNS label of 1 to 63 characters out of `a-z`, `0-9` and `-`.
///
/// A label, so that the name fits unescaped into the URI and the DNS name of a certificate, into a log line and into a
/// host name. Upper case is refused rather than folded: two spellings of one name would be two identities to a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Name, LabelError> {
        check_label(text).map(|()| Name(text.into()))
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a cluster, by the same rules as a [`Name`]. It is the trust domain of every identity in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Box<str>);

impl ClusterId {
    /// The cluster's name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain, `spiffe://<cluster>`: the URI in the CA's own certificate and the start of every identity's.
    pub fn uri(&self) -> String {
        format!("spiffe://{self}")
    }
}

impl FromStr for ClusterId {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<ClusterId, LabelError> {
        check_label(text).map(|()| ClusterId(text.into()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody is. What they may do is looked up by identity and is in no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A board that runs the agent.
    Node,
    /// A person, or a program that acts for one.
    Operator,
    /// A part of the control plane.
    Controller,
}

impl Kind {
    /// The word used in URIs, DNS names and messages: `node`, `operator` or `controller`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::Operator => "operator",
            Kind::Controller => "controller",
        }
    }

    fn from_word(word: &str) -> Option<Kind> {
        [Kind::Node, Kind::Operator, Kind::Controller].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The URI belongs to another trust domain, or is none of ours.
    #[error("use a certificate of the cluster {0}")]
    OtherCluster(ClusterId),
    /// The text has not the form `kind/name`.
    #[error("write node/<name>, operator/<name> or controller/<name>")]
    Form,
    /// The part after the slash is no name.
    #[error("correct the name after the slash")]
    Name(#[source] LabelError),
}

/// One member of a cluster. Displays as `node/pi-7` and parses back from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique within its kind.
    pub name: Name,
}

impl Identity {
    /// The node `name`.
    pub fn node(name: Name) -> Identity {
        Identity { kind: Kind::Node, name }
    }

    /// The operator `name`.
    pub fn operator(name: Name) -> Identity {
        Identity { kind: Kind::Operator, name }
    }

    /// The controller `name`.
    pub fn controller(name: Name) -> Identity {
        Identity { kind: Kind::Controller, name }
    }

    /// The one URI in the certificate of this identity: `spiffe://<cluster>/<kind>/<name>`.
    pub fn uri(&self, cluster: &ClusterId) -> String {
        format!("spiffe://{cluster}/{self}")
    }

    /// The one DNS name in the certificate of this identity: `<name>.<kind>.<cluster>`.
    pub fn dns(&self, cluster: &ClusterId) -> String {
        format!("{}.{}.{cluster}", self.name, self.kind)
    }

    /// Reads what [`Identity::uri`] wrote; refuses every other spelling and every other cluster.
    pub fn from_uri(uri: &str, cluster: &ClusterId) -> Result<Identity, IdentityError> {
        uri.strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(cluster.as_str()))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| IdentityError::OtherCluster(cluster.clone()))?
            .parse()
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Identity, IdentityError> {
        let (kind, name) = text.split_once('/').ok_or(IdentityError::Form)?;
        let kind = Kind::from_word(kind).ok_or(IdentityError::Form)?;
        let name = name.parse().map_err(IdentityError::Name)?;
        Ok(Identity { kind, name })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
