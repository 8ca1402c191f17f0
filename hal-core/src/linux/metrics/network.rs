//! Interfaces from `/proc/net/dev` and `/sys/class/net`.

use std::path::{Path, PathBuf};
use std::string::ToString;

use procfs::FromRead;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};

use super::kept::{Buffer, Kept};
use super::{Tell, failed, text};
use crate::{Groups, Interface, Label, Reading, Traffic};

/// More are not told: containers have hundreds.
const INTERFACES: usize = 64;

#[derive(Debug)]
pub(super) struct Network {
    traffic: Kept,
    class: PathBuf,
}

impl Network {
    pub(super) fn new(root: &Path) -> Self {
        Self { traffic: Kept::new(root.join("proc/net/dev")), class: root.join("sys/class/net") }
    }

    pub(super) fn sample(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        let read = self.traffic.read(buffer).map_err(|error| self.traffic.told(&error));
        let read =
            read.and_then(|text| InterfaceDeviceStatus::from_read(text.as_bytes()).map_err(|error| error.to_string()));
        let mut interfaces: std::vec::Vec<DeviceStatus> = match read {
            Ok(interfaces) => interfaces.0.into_values().collect(),
            Err(why) => return failed(tell, Groups::NETWORK, "network", &why),
        };
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        for interface in interfaces.iter().take(INTERFACES) {
            tell(Reading::Interface(self.interface(interface)));
        }
    }

    fn interface(&self, traffic: &DeviceStatus) -> Interface {
        let folder = self.class.join(&traffic.name);
        let up = match text(&folder.join("operstate")).as_deref() {
            None | Some("unknown") => None,
            Some(state) => Some(state == "up"),
        };
        // -1, or EINVAL while it is down and for what has no speed
        let speed = text(&folder.join("speed")).and_then(|speed| speed.parse().ok());
        Interface {
            name: Label::new(&traffic.name),
            up,
            speed_mbit: speed.filter(|speed| *speed > 0),
            received: Traffic {
                bytes: traffic.recv_bytes,
                packets: traffic.recv_packets,
                errors: traffic.recv_errs,
                dropped: traffic.recv_drop,
            },
            sent: Traffic {
                bytes: traffic.sent_bytes,
                packets: traffic.sent_packets,
                errors: traffic.sent_errs,
                dropped: traffic.sent_drop,
            },
        }
    }
}
