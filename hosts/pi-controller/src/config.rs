//! The controller's configuration file, `controller.toml` in its state folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mtls::Limits;
use serde::{Deserialize, Serialize};
use startup::ConfigError;

/// What a controller is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the CA, the store and this file, mode 0700.
    pub state: PathBuf,
    /// This instance's name in its certificate: a DNS label.
    pub id: String,
    /// Where to serve.
    pub listen: SocketAddr,
    /// Whether members may ask which methods there are (gRPC server reflection).
    pub reflection: bool,
    /// How many connections are taken on, and how many of one address: `[limits]`.
    pub limits: Limits,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    listen: SocketAddr,
    #[serde(default)]
    reflection: bool,
    /// Not written: what stands there is the default.
    #[serde(default, skip_serializing)]
    limits: Limits,
}

impl Config {
    pub(crate) fn path(state: &Path) -> PathBuf {
        state.join("controller.toml")
    }

    /// Reads the file of a state folder.
    ///
    /// # Errors
    ///
    /// One line with file, line and what was expected.
    pub fn load(state: &Path) -> Result<Self, ConfigError> {
        let File { id, listen, reflection, limits } = startup::load(&Self::path(state))?;
        Ok(Self { state: state.to_owned(), id, listen, reflection, limits })
    }

    pub(crate) fn store(&self) -> Result<(), mtls::FileError> {
        let Self { state: _, id, listen, reflection, limits } = self.clone();
        let file = File { id, listen, reflection, limits };
        // plain fields always serialise
        let text = toml::to_string(&file).unwrap_or_default();
        mtls::write_private(&Self::path(&self.state), text.as_bytes())
    }

    pub(crate) fn database(&self) -> PathBuf {
        Self::database_of(&self.state)
    }

    pub(crate) fn database_of(state: &Path) -> PathBuf {
        state.join("state.db")
    }

    /// Where the controller keeps its own certificate, for the day on which it cannot make a new one.
    pub(crate) fn own_certificate(&self) -> PathBuf {
        self.state.join("own")
    }

    /// The first operator's context.
    pub(crate) fn admin_context(state: &Path) -> PathBuf {
        state.join("admin.context.toml")
    }
}
