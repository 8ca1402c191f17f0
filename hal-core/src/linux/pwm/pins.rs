//! Which pins the device tree leads to a PWM block.
//!
//! A block drives nothing but these: a channel asked for on another line would come out on the pin that the overlay named,
//! which somebody may have wired to something else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::vec::Vec;

use crate::LineId;

/// The lines that are led to the block of this chip when the kernel starts; `None` where there is no device tree to ask.
pub(super) fn led(sys: &Path, chip: &Path) -> Option<BTreeSet<LineId>> {
    let node = chip.join("device/of_node");
    if !node.is_dir() {
        return None;
    }
    let groups: BTreeSet<_> = cells(&node.join("pinctrl-0")).collect();
    let mut pins = BTreeSet::new();
    for folder in below(&sys.join("firmware/devicetree/base")) {
        if cells(&folder.join("phandle")).any(|handle| groups.contains(&handle)) {
            // a group of pins says them itself, or its children do
            pins.extend(below(&folder).iter().flat_map(|group| pins_of(group)));
        }
    }
    Some(pins)
}

/// A folder and all below it, without following links.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::from([PathBuf::from(folder)]);
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let folders: Vec<_> = folders.map(|entry| entry.path()).collect();
        found.extend(folders);
        next += 1;
    }
    found
}

/// By number, as every overlay of the Raspberry Pi has it (`brcm,pins`), or by name (`pins`), as RP1 has it too.
fn pins_of(group: &Path) -> Vec<LineId> {
    let numbers = cells(&group.join("brcm,pins")).filter_map(|pin| u16::try_from(pin).ok());
    let names = fs::read(group.join("pins")).unwrap_or_default();
    let named = names.split(|byte| *byte == 0).filter_map(|name| core::str::from_utf8(name).ok()?.strip_prefix("gpio"));
    numbers.chain(named.filter_map(|number| number.parse().ok())).map(LineId).collect()
}

/// The 32-bit numbers of a property; none if it is not there.
fn cells(property: &Path) -> impl Iterator<Item = u32> + use<> {
    let bytes = fs::read(property).unwrap_or_default();
    let cells = bytes.chunks_exact(4).filter_map(|cell| Some(u32::from_be_bytes(cell.try_into().ok()?)));
    cells.collect::<Vec<_>>().into_iter()
}
