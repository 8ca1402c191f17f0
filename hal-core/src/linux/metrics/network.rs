//! Interfaces from `/proc/net/dev` and `/sys/class/net`.

use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use procfs::FromRead;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};

use super::kept::{Buffer, Kept};
use super::{Tell, failed};
use crate::{Groups, Interface, Label, Reading, Traffic};

/// More are not told: containers have hundreds.
const INTERFACES: usize = 64;

#[derive(Debug)]
pub(super) struct Network {
    traffic: Kept,
    class: PathBuf,
    links: Vec<Link>,
}

/// What an interface says of its cable.
#[derive(Debug)]
struct Link {
    interface: String,
    state: Kept,
    speed: Kept,
}

impl Network {
    pub(super) fn new(root: &Path) -> Self {
        Self { traffic: Kept::new(root.join("proc/net/dev")), class: root.join("sys/class/net"), links: Vec::new() }
    }

    /// Forgets the files that are open: an interface may have been given another's name.
    pub(super) fn find(&mut self) {
        self.links.clear();
    }

    pub(super) fn sample(&mut self, buffer: &mut Buffer, tell: Tell<'_>) {
        let read = self.traffic.read(buffer).map_err(|error| self.traffic.told(&error));
        let read =
            read.and_then(|text| InterfaceDeviceStatus::from_read(text.as_bytes()).map_err(|error| error.to_string()));
        let mut interfaces: Vec<DeviceStatus> = match read {
            Ok(interfaces) => interfaces.0.into_values().collect(),
            Err(why) => return failed(tell, Groups::NETWORK, "network", &why),
        };
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        interfaces.truncate(INTERFACES);
        self.links.retain(|link| interfaces.iter().any(|interface| interface.name == link.interface));
        for interface in &interfaces {
            tell(Reading::Interface(self.interface(interface, buffer)));
        }
    }

    fn interface(&mut self, traffic: &DeviceStatus, buffer: &mut Buffer) -> Interface {
        let link = self.link(&traffic.name);
        let up = match link.state.read(buffer).map(str::trim) {
            Err(_) | Ok("unknown") => None,
            Ok(state) => Some(state == "up"),
        };
        // -1 or EINVAL for what has none, and while it is down
        let speed = if up == Some(false) { None } else { link.speed.number(buffer).ok() };
        Interface {
            name: Label::new(&traffic.name),
            up,
            speed_mbit: speed.and_then(|speed: i64| u32::try_from(speed).ok()).filter(|speed| *speed > 0),
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

    fn link(&mut self, interface: &str) -> &mut Link {
        let at = self.links.iter().position(|link| link.interface == interface).unwrap_or_else(|| {
            let file = |name: &str| Kept::new(self.class.join(interface).join(name));
            self.links.push(Link { interface: interface.into(), state: file("operstate"), speed: file("speed") });
            self.links.len() - 1
        });
        &mut self.links[at]
    }
}
