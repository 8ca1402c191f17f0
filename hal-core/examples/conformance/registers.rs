//! The registers of a BCM2835 as the world outside its lines, for an emulated Raspberry Pi 3: qemu lets GPSET and GPCLR
//! set the level of an input, too.
//!
//! Addresses: BCM2835 ARM Peripherals, chapter 6, with the BCM2837's peripherals at 0x3f00_0000.

use std::io;
use std::process::Command;
use std::thread;
use std::time::Duration;

use hal_core::conformance::{Harness, Need};
use hal_core::{Board, LineId};

const GPSET0: &str = "0x3f20001c";
const GPCLR0: &str = "0x3f200028";
const GPLEV0: &str = "0x3f200034";

/// A board whose lines are looked at, and driven, by busybox' `devmem`.
pub(crate) struct OnRegisters<B> {
    pub(crate) board: B,
}

impl<B: Board> Harness for OnRegisters<B> {
    type Board = B;

    fn board(&mut self) -> &mut B {
        &mut self.board
    }

    fn line(&self) -> LineId {
        LineId(17)
    }

    fn lacks(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::LetGo => Some("the emulated chip has no pulls"),
            Need::SharedWire => Some("a wire of the emulated chip has the level that was set last"),
            Need::History => Some("nothing records the levels of the emulated chip"),
            Need::Edges => Some("the emulated chip raises no interrupts"),
            _ => None,
        }
    }

    fn drive(&mut self, line: LineId, level: Option<bool>) {
        let bit = format!("{:#x}", 1_u32 << line.0);
        if let Some(high) = level {
            devmem(&[if high { GPSET0 } else { GPCLR0 }, "32", &bit]).expect("devmem writes");
        }
    }

    fn level(&mut self, line: LineId) -> Option<bool> {
        let levels = devmem(&[GPLEV0, "32"]).expect("devmem reads");
        let levels = u32::from_str_radix(levels.trim().trim_start_matches("0x"), 16).expect("a number");
        Some(levels >> line.0 & 1 == 1)
    }

    fn changes(&mut self, _: LineId) -> Vec<bool> {
        Vec::new()
    }

    fn settle(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

pub(crate) fn devmem(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("devmem").args(arguments).output()?;
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
