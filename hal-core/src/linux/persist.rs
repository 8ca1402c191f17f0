//! What becomes of an output when its program ends.

use std::fs;
use std::path::Path;

/// The drivers that have the setting: of the Pi 5 family, and of all before.
const DRIVERS: [&str; 2] = ["pinctrl_rp1", "pinctrl_bcm2835"];

/// Whether this kernel goes on driving an output that was released, or whose program died, below `root`, which is `/` but
/// in tests. `None` if it does not say: no Raspberry Pi, or a kernel without the setting.
///
/// It is the parameter `persist_gpio_outputs` of Raspberry Pi kernels, where it is on by default; upstream it is off. The
/// overlay `dtparam=strict_gpiod` turns it off. Without it a released line becomes an input, and its wire goes where the
/// pull resistors say.
pub fn persist_outputs(root: &Path) -> Option<bool> {
    let parameter = |driver: &&str| {
        let file = root.join("sys/module").join(driver).join("parameters/persist_gpio_outputs");
        fs::read_to_string(file).ok()
    };
    match DRIVERS.iter().find_map(parameter)?.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(driver: &str, text: &str) -> Option<bool> {
        let root = tempfile::tempdir().unwrap();
        let parameters = root.path().join("sys/module").join(driver).join("parameters");
        fs::create_dir_all(&parameters).unwrap();
        fs::write(parameters.join("persist_gpio_outputs"), text).unwrap();
        persist_outputs(root.path())
    }

    #[test]
    fn both_drivers_tell() {
        assert_eq!(says("pinctrl_rp1", "Y\n"), Some(true));
        assert_eq!(says("pinctrl_bcm2835", "N\n"), Some(false));
    }

    #[test]
    fn another_kernel_does_not_say() {
        assert_eq!(says("pinctrl_other", "Y\n"), None);
        assert_eq!(says("pinctrl_rp1", "perhaps\n"), None);
    }
}
