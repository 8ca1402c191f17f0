//! `pi-controller ca`: what is done with the keys of the CA on the machine that has them.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use pi_controller::{Passphrase, PassphraseError, backup, recover, restore};
use startup::Failure;

#[derive(Subcommand)]
pub(crate) enum CaCommand {
    /// Write the CA keys and the state into one sealed file; the controller may run
    Backup {
        /// Folder that init made
        #[arg(long, value_name = "DIR", default_value = crate::STATE)]
        state: PathBuf,
        /// The new file; keep it away from this machine
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File with the passphrase, mode 0600; default: ask on the terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Go on from a backup; every join token of before is over
    Restore {
        /// The sealed file
        backup: PathBuf,
        /// Folder for the state; must be empty or not exist
        #[arg(long, value_name = "DIR", default_value = crate::STATE)]
        state: PathBuf,
        /// Set aside what the folder holds of the same cluster
        #[arg(long)]
        replace: bool,
        /// File with the passphrase, mode 0600; default: ask on the terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make a new CA key with the recovery key, when the old one is lost or stolen; no node needs a visit
    Recover {
        /// The recovery key's sealed file, from init
        recovery: PathBuf,
        /// Folder that init made; the controller must not run
        #[arg(long, value_name = "DIR", default_value = crate::STATE)]
        state: PathBuf,
        /// File with the passphrase, mode 0600; default: ask on the terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

pub(crate) fn run(command: CaCommand) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match command {
        CaCommand::Backup { state, out: file, passphrase_file } => {
            let passphrase = passphrase(passphrase_file.as_deref(), "the backup", true)?;
            let done = backup(&state, &file, &passphrase)?;
            writeln!(out, "backed up cluster {} at revision {} to {}", done.cluster, done.revision, file.display())?;
            writeln!(out, "next: move the file and its passphrase to two places, neither of them this machine")?;
        }
        CaCommand::Restore { backup, state, replace, passphrase_file } => {
            let passphrase = passphrase(passphrase_file.as_deref(), "the backup", false)?;
            let done = restore(&backup, &state, &passphrase, replace)?;
            writeln!(out, "restored cluster {} of revision {} in {}", done.cluster, done.revision, state.display())?;
            if let Some(aside) = done.set_aside {
                writeln!(out, "what was there is in {}: delete it when all is well", aside.display())?;
            }
            writeln!(out, "epoch {}: every join token of before is over", done.epoch)?;
            writeln!(out, "next: see that the old controller is off for good, then pi-controller serve")?;
        }
        CaCommand::Recover { recovery, state, passphrase_file } => {
            let passphrase = passphrase(passphrase_file.as_deref(), "the recovery key", false)?;
            let root = recover(&state, &recovery, &passphrase)?;
            writeln!(out, "root {root} signs from the next start on; join tokens of before no longer work")?;
            writeln!(
                out,
                "next:
  move the recovery key off this machine again
  pi-controller serve
  pictl ca rotate taint      nodes get certificates of the new root
  pictl ca rotate revoke     once none lags: the old root is believed no longer
  pi-controller ca backup    the new key is in no backup yet"
            )?;
        }
    }
    Ok(())
}

/// From the file, else from the person at the terminal.
pub(crate) fn passphrase(file: Option<&Path>, what: &str, is_new: bool) -> Result<Passphrase, PassphraseError> {
    match file {
        Some(file) => Passphrase::read(file),
        None => Passphrase::ask(what, is_new),
    }
}
