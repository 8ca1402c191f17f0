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
    /// Making join tokens.
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
    /// Making join tokens.
    Enrol,
    /// Everything that changes who is trusted, and with what.
    Administer,
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
        }
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Operators that have the permission.
    Operator(Permission),
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
    ("/pi.agent.v1.NodeAgent/CancelJob", Access::Operator(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ControlGPIO", Access::Operator(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/ExecuteCommand", Access::Operator(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ExecuteStream", Access::Operator(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/GetJob", Access::Operator(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/GetSystemMetrics", Access::Operator(Permission::View)),
    ("/pi.agent.v1.NodeAgent/HealthCheck", Access::Operator(Permission::View)),
    ("/pi.agent.v1.NodeAgent/ListJobs", Access::Operator(Permission::Exec)),
    ("/pi.agent.v1.NodeAgent/ScanI2c", Access::Operator(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/StreamGPIO", Access::Operator(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/StreamLogs", Access::Operator(Permission::Logs)),
    ("/pi.agent.v1.NodeAgent/StreamMetrics", Access::Operator(Permission::View)),
    ("/pi.agent.v1.NodeAgent/TransferI2c", Access::Operator(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/TransferSpi", Access::Operator(Permission::Gpio)),
    ("/pi.agent.v1.NodeAgent/WatchGPIO", Access::Operator(Permission::Gpio)),
    ("/pi.control.v1.ControlPlane/RegisterNode", Access::NodeOrToken),
    ("/pi.control.v1.ControlPlane/ReportHealth", Access::Node),
    ("/pi.control.v1.ControlPlane/RequestProvisioning", Access::Operator(Permission::Provision)),
    ("/pi.control.v1.ControlPlane/SyncClusterState", Access::Controller),
    ("/pi.control.v1.ControlPlane/WatchTrust", Access::Node),
    ("/pi.fleet.v1.Audit/ListRows", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Fleet/CreateToken", Access::Operator(Permission::Enrol)),
    ("/pi.fleet.v1.Fleet/GetNode", Access::Operator(Permission::View)),
    ("/pi.fleet.v1.Fleet/ListNodes", Access::Operator(Permission::View)),
    ("/pi.fleet.v1.Exclusions/Lock", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Exclusions/Revoke", Access::Operator(Permission::Administer)),
    ("/pi.fleet.v1.Exclusions/Unlock", Access::Operator(Permission::Administer)),
    ("/grpc.health.v1.Health/Check", Access::Member),
    ("/grpc.health.v1.Health/List", Access::Member),
    ("/grpc.health.v1.Health/Watch", Access::Member),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Member),
];

/// Who may call `method`, given as its full path; `None`: nobody.
pub fn access(method: &str) -> Option<Access> {
    METHODS.iter().find(|(path, _)| *path == method).map(|(_, access)| *access)
}
