//! No socket, no runtime, no file and no clock: what the control plane knows and allows, as plain functions.
//!
//! [`Control`] mirrors the durable state. A decision looks at `&Control` and at `now`, changes nothing, and comes back as
//! a [`Decision`]: the changes to store and the answer to give once they are stored. The host
//!
//! 1. takes the decision ([`Control::register`], [`Control::create_token`], …),
//! 2. commits `decision.changes` under [`Control::next_revision`],
//! 3. hands the same changes to [`Control::apply`],
//! 4. gives `decision.answer`,
//!
//! so that nothing is acknowledged before it is durable. A refusal may carry changes as well: its audit row.
//!
//! The operating system is asked for one thing only, random numbers: keys, serial numbers and signatures need them.

mod approval;
mod attempts;
mod audit;
mod authorize;
mod board;
mod bundle;
mod certificate;
mod control;
mod csr;
mod endpoint;
mod enrol;
mod exclusion;
mod grants;
mod identity;
mod issuer;
mod join;
mod key;
mod labels;
mod node;
mod operator;
mod operator_certificate;
mod permission;
mod presence;
mod profile;
mod registration;
mod renew;
mod revocation;
mod rights;
mod scope;
mod selector;
mod text;
mod token;
mod tokens;

pub use approval::ApprovalRefusal;
pub use attempts::Attempts;
pub use audit::{AuditRow, Outcome, Recording, UnknownOutcome, recording};
pub use authorize::{Caller, Denied};
pub use bundle::TrustBundle;
pub use certificate::{Certificate, Lifetime, LifetimeError};
pub use control::{Change, Control, Decision};
pub use csr::CsrError;
pub use endpoint::{Endpoint, EndpointError};
pub use exclusion::{Excluded, Exclusion, ExclusionKind, RevokedKey, Shown, UnknownExclusionKind};
pub use grants::Grants;
pub use identity::{ClusterId, Identity, IdentityError, Kind, LabelError, Name};
pub use issuer::{CaKey, CreateCaError, IssueError, Issuer, OpenCaError};
pub use key::{KeyError, PublicKey};
pub use labels::{Labels, LabelsError};
pub use node::{Inventory, Node};
pub use operator::{AddOperatorRefusal, Admitted, ChangeRolesRefusal, Operator, OperatorSpec};
pub use operator_certificate::RenewOperatorRefusal;
pub use permission::{Access, METHODS, Permission, Role, UnknownRole, access};
pub use presence::{Arrival, Presence, Report, State};
pub use registration::{Presented, RegisterRefusal, Registered, Registration};
pub use revocation::{ExclusionDecision, ExclusionRefusal};
pub use rights::NodeRights;
pub use scope::{Names, Scope, ScopeError};
pub use selector::{Selector, SelectorError};
pub use text::{Text, TextError};
pub use token::{TokenId, TokenIdError, TokenRecord};
pub use tokens::{CreateTokenRefusal, RevokeTokenRefusal, TokenSpec};
