//! Which buses and devices may be used: the table `[bus]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use agent_lib::BusPolicy;
use hal_core::{I2C_ADDRESSES, SpiDeviceId};
use serde::Deserialize;
use startup::ConfigError;
use toml::Spanned;

/// The table as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Bus {
    /// I2C bus to the addresses that may be used; absent: all of bus 1.
    i2c: Option<BTreeMap<String, Spanned<Addresses>>>,
    /// SPI devices that may be used, such as "0.1"; absent: "0.0" and "0.1".
    spi: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a list of addresses such as [0x48, 0x50], or \"all\"")]
enum Addresses {
    Every(Every),
    These(BTreeSet<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Every {
    All,
}

impl Bus {
    pub(super) fn policy(self, path: &Path, text: &str) -> Result<BusPolicy, ConfigError> {
        let wrong = |span, expected: &dyn std::fmt::Display| startup::at(path, text, span, expected);
        let usual = BusPolicy::default();
        let mut i2c = BTreeMap::new();
        match self.i2c {
            None => i2c.extend(usual.i2c().map(|(bus, addresses)| (bus, addresses.collect()))),
            Some(buses) => {
                for (name, addresses) in buses {
                    let span = addresses.span();
                    let bus: u8 = name.parse().map_err(|_| {
                        wrong(span.clone(), &format!("`{name}` is no I2C bus; give its number, 0 to 255"))
                    })?;
                    let addresses = match addresses.into_inner() {
                        Addresses::Every(Every::All) => I2C_ADDRESSES.collect(),
                        Addresses::These(addresses) => addresses,
                    };
                    // One at a time, so that a refusal can be told with its line of the file.
                    let alone = BTreeMap::from([(bus, addresses.clone())]);
                    BusPolicy::new(alone, BTreeSet::new()).map_err(|error| wrong(span, &error))?;
                    i2c.insert(bus, addresses);
                }
            }
        }
        let spi = match self.spi {
            None => usual.spi().collect(),
            Some(devices) => devices
                .into_iter()
                .map(|device| spi_device(device.get_ref(), device.span(), &wrong))
                .collect::<Result<_, _>>()?,
        };
        BusPolicy::new(i2c, spi).map_err(|error| wrong(0..0, &error))
    }
}

fn spi_device(
    text: &str,
    span: Range<usize>,
    wrong: &dyn Fn(Range<usize>, &dyn std::fmt::Display) -> ConfigError,
) -> Result<SpiDeviceId, ConfigError> {
    let device = text.split_once('.').and_then(|(bus, chip_select)| {
        Some(SpiDeviceId { bus: bus.parse().ok()?, chip_select: chip_select.parse().ok()? })
    });
    device.ok_or_else(|| wrong(span, &format!("`{text}` is no SPI device; give bus and chip select, such as \"0.1\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn load(text: &str) -> Result<BusPolicy, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let told = |error: ConfigError| error.to_string().split('/').next_back().unwrap().to_owned();
        Config::load(&path).map(|config| config.buses).map_err(told)
    }

    fn allowed(policy: &BusPolicy) -> (Vec<(u8, Vec<u8>)>, Vec<String>) {
        let i2c = policy.i2c().map(|(bus, addresses)| (bus, addresses.collect())).collect();
        (i2c, policy.spi().map(|device| device.to_string()).collect())
    }

    #[test]
    fn what_is_not_said_stays_as_usual() {
        assert_eq!(load("").unwrap(), BusPolicy::default());
        assert_eq!(load("[bus]\n").unwrap(), BusPolicy::default());
        let only_spi = load("[bus]\nspi = []").unwrap();
        assert_eq!((only_spi.i2c().count(), only_spi.spi().count()), (1, 0));
    }

    #[test]
    fn buses_addresses_and_devices_can_be_said() {
        let policy = load("[bus]\ni2c = { 1 = [0x48, 80], 3 = 'all', 4 = [] }\nspi = ['0.1', '1.2']").unwrap();
        let (i2c, spi) = allowed(&policy);
        assert_eq!((i2c[0].clone(), i2c[1].1.len(), i2c[2].1.len()), ((1, vec![0x48, 80]), 112, 0));
        assert_eq!(spi, ["SPI0.1", "SPI1.2"]);
        assert_eq!(allowed(&load("[bus]\ni2c = {}\nspi = []").unwrap()), (vec![], vec![]));
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        let told = |text| load(text).unwrap_err();
        assert_eq!(
            told("[bus.i2c]\n\n1 = [0x48, 0x03]"),
            "agent.toml, line 3: I²C address 0x03 is reserved; use 0x08 to 0x77"
        );
        assert_eq!(
            told("[bus.i2c]\none = 'all'"),
            "agent.toml, line 2: `one` is no I2C bus; give its number, 0 to 255"
        );
        assert_eq!(
            told("[bus]\ni2c = { 1 = 'some' }"),
            "agent.toml, line 2: expected a list of addresses such as [0x48, 0x50], or \"all\""
        );
        assert_eq!(
            told("[bus]\nspi = [\n'0.0',\n'0:1']"),
            "agent.toml, line 4: `0:1` is no SPI device; give bus and chip select, such as \"0.1\""
        );
        assert!(told("[bus]\ni3c = 1").starts_with("agent.toml, line 2: unknown field `i3c`, expected `i2c` or `spi`"));
    }
}
