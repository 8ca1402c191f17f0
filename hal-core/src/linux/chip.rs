//! Which of a machine's GPIO chips carries the header.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

use gpio_cdev::Chip;
use nix::errno::Errno;

use super::CdevError;

/// The driver labels of the chips that carry the header: Pi 5 family, Pi 4 family, all before.
///
/// A chip is never chosen by number: the header of a Pi 5 was gpiochip4 on early 6.6 kernels and is gpiochip0 since
/// 6.6.47 (raspberrypi/linux#6144), with a link from the old name to the new.
pub const HEADER_LABELS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];

/// The device file of the header chip among the GPIO chips in `/dev`.
pub(super) fn find_header() -> Result<PathBuf, CdevError> {
    let mut labels = BTreeMap::new();
    let mut first_failure = None;
    for path in devices(Path::new("/dev")) {
        match open(&path) {
            Ok(chip) => _ = labels.insert(path, chip.label().to_string()),
            Err(failure) => _ = first_failure.get_or_insert(failure),
        }
    }
    match choose(&labels) {
        Some(path) => Ok(path.into()),
        // A chip that could not be opened may have been the one: "permission denied" helps more than "not found".
        None => Err(first_failure.unwrap_or(CdevError::NoHeaderChip)),
    }
}

/// Opens one chip by its device file.
pub(super) fn open(path: &Path) -> Result<Chip, CdevError> {
    Chip::new(path).map_err(|error| CdevError::Open { path: path.into(), source: cause(error) })
}

/// What the kernel said. gpio-cdev keeps its error's kind to itself: the number is only to be had from the cause.
pub(super) fn cause(error: gpio_cdev::Error) -> io::Error {
    let number = error.source().and_then(|cause| {
        let io = || cause.downcast_ref::<io::Error>()?.raw_os_error();
        cause.downcast_ref::<Errno>().map(|errno| *errno as i32).or_else(io)
    });
    number.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
}

/// The chip that carries the header, of device files and their chips' labels.
fn choose(labels: &BTreeMap<PathBuf, String>) -> Option<&Path> {
    let labelled = |wanted: &&str| labels.iter().find(|(_, label)| label.as_str() == *wanted);
    HEADER_LABELS.iter().find_map(labelled).map(|(path, _)| path.as_path())
}

/// Whether the outputs of a chip with this label stay driven when they are released. Only the header's drivers say so.
pub(super) fn outputs_persist(label: &str) -> Option<bool> {
    HEADER_LABELS.contains(&label).then(|| super::persist_outputs(Path::new("/"))).flatten()
}

/// The GPIO chips' device files in a folder, each once: links are followed, so that one chip is not counted twice.
fn devices(dev: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(dev).into_iter().flatten().flatten();
    let chips = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("gpiochip"));
    chips.filter_map(|entry| entry.path().canonicalize().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultKind};
    use std::os::unix::fs::symlink;

    // These two also notice when gpio-cdev moves to another nix: the number would be hidden again.
    #[test]
    fn a_file_that_is_no_chip_is_unsupported() {
        let error = open(Path::new("/dev/null")).unwrap_err();
        assert_eq!(error.fault(), FaultKind::Unsupported);
        assert!(error.source().is_some());
        assert_eq!(
            error.to_string(),
            "/dev/null cannot be opened as a GPIO chip; the file is not a GPIO chip: see `ls /dev/gpiochip*`"
        );
    }

    #[test]
    fn a_missing_file_is_gone() {
        assert_eq!(open(Path::new("/nonexistent")).unwrap_err().fault(), FaultKind::Gone);
    }

    fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<PathBuf, String> {
        pairs.map(|(path, label)| (PathBuf::from(path), label.to_string())).into()
    }

    #[test]
    fn an_early_pi_5_has_its_header_at_4() {
        let found = labels([("/dev/gpiochip0", "gpio-brcmstb@107d508500"), ("/dev/gpiochip4", "pinctrl-rp1")]);
        assert_eq!(choose(&found), Some(Path::new("/dev/gpiochip4")));
    }

    #[test]
    fn a_pi_5_has_its_header_at_0() {
        let found = labels([("/dev/gpiochip0", "pinctrl-rp1"), ("/dev/gpiochip10", "gpio-brcmstb@107d508500")]);
        assert_eq!(choose(&found), Some(Path::new("/dev/gpiochip0")));
    }

    #[test]
    fn the_expander_of_a_pi_4_is_not_its_header() {
        let found = labels([("/dev/gpiochip0", "pinctrl-bcm2711"), ("/dev/gpiochip1", "raspberrypi-exp-gpio")]);
        assert_eq!(choose(&found), Some(Path::new("/dev/gpiochip0")));
    }

    #[test]
    fn another_machine_has_no_header() {
        assert_eq!(choose(&labels([("/dev/gpiochip0", "INTC1055:00")])), None);
        assert_eq!(choose(&BTreeMap::new()), None);
    }

    #[test]
    fn a_linked_chip_counts_once() {
        let dev = tempfile::tempdir().unwrap();
        let real = dev.path().canonicalize().unwrap().join("gpiochip0");
        fs::write(&real, "").unwrap();
        symlink("gpiochip0", dev.path().join("gpiochip4")).unwrap();
        symlink("nowhere", dev.path().join("gpiochip5")).unwrap();
        fs::write(dev.path().join("gpiomem0"), "").unwrap();
        assert_eq!(devices(dev.path()), BTreeSet::from([real]));
    }

    #[test]
    fn a_missing_folder_has_no_chips() {
        assert!(devices(Path::new("/nonexistent")).is_empty());
    }
}
