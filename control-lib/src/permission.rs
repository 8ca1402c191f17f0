//! Who may call which method: one table, and nothing outside it.

use std::fmt;
use std::str::FromStr;

/// What an operator has been given. Each role is one [`Permission`], except `admin`, which is all
/// of them, and `shell`, which adds to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Status and metrics.
    Viewer,
    /// Log lines.
    Logs,
    /// GPIO lines, reading as well as writing.
    Gpio,
    /// Running commands.
    Exec,
    /// Running scripts by a shell, beside [`Role::Exec`]; the node asks for it.
    Shell,
    /// Provisioning runs.
    Provision,
    /// Everything.
    Admin,
    /// Join tokens and approvals.
    Enroller,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 8] =
        [Role::Viewer, Role::Logs, Role::Gpio, Role::Exec, Role::Shell, Role::Provision, Role::Admin, Role::Enroller];

    /// The word that is stored, shown and typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Logs => "logs",
            Role::Gpio => "gpio",
            Role::Exec => "exec",
            Role::Shell => "shell",
            Role::Provision => "provision",
            Role::Admin => "admin",
            Role::Enroller => "enroller",
        }
    }

    /// Whether a node asks for it; of the others it need not know.
    pub const fn is_of_nodes(self) -> bool {
        match self {
            Role::Viewer | Role::Logs | Role::Gpio | Role::Exec | Role::Shell | Role::Admin => true,
            Role::Provision | Role::Enroller => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Role, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == word).ok_or(UnknownRole)
    }
}

/// The word is no [`Role`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("choose viewer, logs, gpio, exec, shell, provision, admin or enroller")]
pub struct UnknownRole;

/// What a method asks of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Seeing status and metrics.
    View,
    /// Reading logs.
    Logs,
    /// Using GPIO lines.
    Gpio,
    /// Running commands.
    Exec,
    /// Provisioning.
    Provision,
    /// Making join tokens and taking them back; approving and rejecting nodes.
    Enrol,
    /// Everything that changes who is trusted, and with what.
    Administer,
    /// Reading the audit.
    Audit,
}

impl Permission {
    /// The least role that has it.
    pub const fn role(self) -> Role {
        match self {
            Permission::View => Role::Viewer,
            Permission::Logs => Role::Logs,
            Permission::Gpio => Role::Gpio,
            Permission::Exec => Role::Exec,
            Permission::Provision => Role::Provision,
            Permission::Enrol => Role::Enroller,
            Permission::Administer => Role::Admin,
            Permission::Audit => Role::Admin,
        }
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Operators that have the permission for the whole fleet.
    Operator(Permission),
    /// Operators that have the permission, be it for some nodes only: who answers the method asks how far it reaches.
    Within(Permission),
    /// Every known operator: the method is about themselves, or asks more of who asks for others.
    AnyOperator,
    /// Enrolled nodes.
    Node,
    /// Enrolled nodes, and whoever holds a live join token.
    NodeOrToken,
    /// Parts of the control plane.
    Controller,
    /// Every known member of the cluster, but no join token.
    Member,
}

/// Every method that can be called on the control plane. What is not here is denied to everybody.
pub const METHODS: &[(&str, Access)] = &[
    ("/pi.agent.v1.NodeAgent/CancelJob", Access::Within(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ControlGPIO", Access::Within(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/ExecuteCommand", Access::Within(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ExecuteStream", Access::Within(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/GetJob", Access::Within(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/GetSystemMetrics", Access::Within(Permission::View)),
    ("/pi.agent.v1.NodeAgent/HealthCheck", Access::Within(Permission::View)),
    ("/pi.agent.v1.NodeAgent/ListJobs", Access::Within(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ScanI2c", Access::Within(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/StreamGPIO", Access::Within(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/StreamLogs", Access::Within(Permission::Logs)),
    ("/pi.agent.v1.NodeAgent/StreamMetrics", Access::Within(Permission::View)),
    ("/pi.agent.v1.NodeAgent/TransferI2c", Access::Within(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/TransferSpi", Access::Within(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/WatchGPIO", Access::Within(Permission::Gpio)),
    ("/pi.control.v1.ControlPlane/RegisterNode", Access::NodeOrToken),
    ("/pi.control.v1.ControlPlane/ReportHealth", Access::Node),
    ("/pi.control.v1.ControlPlane/RequestProvisioning", Access::Operator(Permission::Provision)),
    ("/pi.control.v1.ControlPlane/SyncClusterState", Access::Controller),
    ("/pi.control.v1.ControlPlane/WatchTrust", Access::Node),
    ("/pi.fleet.v1.Audit/ListRows", Access::Operator(Permission::Audit)),
    ("/pi.fleet.v1.Enrolment/ApproveNode", Access::Operator(Permission::Enrol)),
    ("/pi.fleet.v1.Enrolment/LabelNode", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Enrolment/RejectNode", Access::Operator(Permission::Enrol)),
    ("/pi.fleet.v1.Exclusions/Lock", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Exclusions/Revoke", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Exclusions/Unlock", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Tokens/CreateToken", Access::Within(Permission::Enrol)),
    ("/pi.fleet.v1.Tokens/ListTokens", Access::Operator(Permission::Enrol)),
    ("/pi.fleet.v1.Tokens/RevokeToken", Access::Operator(Permission::Enrol)),
    ("/pi.fleet.v1.Fleet/GetNode", Access::Within(Permission::View)),
    ("/pi.fleet.v1.Fleet/ListNodes", Access::Within(Permission::View)),
    ("/pi.fleet.v1.Operators/AddOperator", Access::Within(Permission::Administer)),
    ("/pi.fleet.v1.Operators/ChangeRoles", Access::Within(Permission::Administer)),
    ("/pi.fleet.v1.Operators/GetOperator", Access::AnyOperator),
    ("/pi.fleet.v1.Operators/ListOperators", Access::Within(Permission::Administer)),
    ("/pi.fleet.v1.Operators/RenewCertificate", Access::AnyOperator),
    ("/grpc.health.v1.Health/Check", Access::Member),
    ("/grpc.health.v1.Health/List", Access::Member),
    ("/grpc.health.v1.Health/Watch", Access::Member),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Member),
];

/// Who may call `method`, given as its full path; `None`: nobody.
pub fn access(method: &str) -> Option<Access> {
    METHODS.iter().find(|(path, _)| *path == method).map(|(_, access)| *access)
}
