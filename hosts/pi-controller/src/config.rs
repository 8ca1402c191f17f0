//! The controller's configuration file, `controller.toml` in its state folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use startup::ConfigError;

pub use lifetimes::Lifetimes;

mod lifetimes;

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
    /// For how long certificates are good.
    pub certificates: Lifetimes,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    listen: SocketAddr,
    #[serde(default)]
    reflection: bool,
    #[serde(default, skip_serializing)]
    certificates: lifetimes::Section,
}

impl Config {
    fn path(state: &Path) -> PathBuf {
        state.join("controller.toml")
    }

    /// Reads the file of a state folder.
    ///
    /// # Errors
    ///
    /// One line with file, line and what was expected.
    pub fn load(state: &Path) -> Result<Self, ConfigError> {
        let path = Self::path(state);
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let File { id, listen, reflection, certificates } = startup::parse(&path, &text)?;
        let certificates = certificates.lifetimes(&path, &text)?;
        Ok(Self { state: state.to_owned(), id, listen, reflection, certificates })
    }

    /// Writes what `init` decides; everything else has its default.
    pub(crate) fn store(&self) -> Result<(), mtls::FileError> {
        let (id, certificates) = (self.id.clone(), lifetimes::Section::default());
        let file = File { id, listen: self.listen, reflection: self.reflection, certificates };
        // plain fields always serialise
        let text = toml::to_string(&file).unwrap_or_default();
        mtls::write_private(&Self::path(&self.state), text.as_bytes())
    }

    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    pub(crate) fn ca_key(&self) -> PathBuf {
        self.state.join("ca.key.pem")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.state.join("state.db")
    }

    /// The first operator's context.
    pub(crate) fn admin_context(state: &Path) -> PathBuf {
        state.join("admin.context.toml")
    }
}
