//! What can happen to a simulated system.

/// Something that happens to a system.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SystemFault {
    /// The processor's temperature sensor cannot be read any more.
    SensorDies,
    /// The processor reaches this many thousandths of a degree Celsius; from 85 °C on the firmware throttles it.
    Overheats(i32),
    /// The supply's voltage drops.
    UnderVoltage,
    /// The root file system fails and is remounted read-only.
    ReadOnly,
    /// Everything is as it was at first; what the firmware remembers it remembers.
    Recovers,
}

impl std::str::FromStr for SystemFault {
    type Err = UnknownFault;

    /// `sensor-dies`, `overheats`, `under-voltage`, `read-only` or `recovers`.
    fn from_str(word: &str) -> Result<Self, UnknownFault> {
        match word {
            "sensor-dies" => Ok(Self::SensorDies),
            "overheats" => Ok(Self::Overheats(86_000)),
            "under-voltage" => Ok(Self::UnderVoltage),
            "read-only" => Ok(Self::ReadOnly),
            "recovers" => Ok(Self::Recovers),
            _ => Err(UnknownFault),
        }
    }
}

/// The word is no [`SystemFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("choose sensor-dies, overheats, under-voltage, read-only or recovers")]
pub struct UnknownFault;
