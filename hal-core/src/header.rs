//! The 40-pin header J8, the same on every Raspberry Pi since the Model B+ (2014).

use crate::LineId;

/// Header pin and BCM number of each of the 28 lines, by header pin.
///
/// Sources: Raspberry Pi documentation, "GPIO and the 40-pin header"; the same as gpiozero's `PLUS_J8`. The other
/// pins are 3.3 V (1, 17), 5 V (2, 4) and ground (6, 9, 14, 20, 25, 30, 34, 39).
const J8: [(u8, u16); 28] = [
    (3, 2),
    (5, 3),
    (7, 4),
    (8, 14),
    (10, 15),
    (11, 17),
    (12, 18),
    (13, 27),
    (15, 22),
    (16, 23),
    (18, 24),
    (19, 10),
    (21, 9),
    (22, 25),
    (23, 11),
    (24, 8),
    (26, 7),
    (27, 0),
    (28, 1),
    (29, 5),
    (31, 6),
    (32, 12),
    (33, 13),
    (35, 19),
    (36, 16),
    (37, 26),
    (38, 20),
    (40, 21),
];

/// The lines that the header carries: GPIO0 to GPIO27, in order.
///
/// Higher numbers are the board's own affair; on a Pi 5 touching them can cut the power of the USB ports.
pub fn lines() -> impl Iterator<Item = LineId> {
    (0..=27).map(LineId)
}

/// The line on a header pin (1 to 40), or `None` for power, ground and pins that are not there.
pub fn bcm_of_pin(pin: u8) -> Option<LineId> {
    J8.iter().find(|(at, _)| *at == pin).map(|(_, bcm)| LineId(*bcm))
}

/// The header pin (1 to 40) that carries a line, or `None` for lines that the header does not carry.
pub fn pin_of_bcm(line: LineId) -> Option<u8> {
    J8.iter().find(|(_, bcm)| *bcm == line.0).map(|(pin, _)| *pin)
}

/// The lines of the header's I²C bus 1, SDA and SCL, as `dtparam=i2c_arm=on` has them; none for other buses, whose lines an
/// overlay chooses.
pub fn i2c_lines(bus: u8) -> impl Iterator<Item = LineId> {
    (2..=3).map(LineId).filter(move |_| bus == 1)
}

/// The lines of the header's SPI bus 0, two chip selects, MISO, MOSI and clock, as `dtparam=spi=on` has them; none for other
/// buses, whose lines an overlay chooses.
pub fn spi_lines(bus: u8) -> impl Iterator<Item = LineId> {
    (7..=11).map(LineId).filter(move |_| bus == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_one_pin_and_back() {
        for line in lines() {
            assert_eq!(pin_of_bcm(line).and_then(bcm_of_pin), Some(line));
        }
        assert_eq!((1..=40).filter_map(bcm_of_pin).count(), 28);
    }

    #[test]
    fn known_pins() {
        assert_eq!(bcm_of_pin(11), Some(LineId(17)));
        assert_eq!(pin_of_bcm(LineId(18)), Some(12));
    }

    #[test]
    fn the_header_s_buses_have_their_pins() {
        let pins = |lines: &mut dyn Iterator<Item = LineId>| {
            lines.filter_map(pin_of_bcm).fold(0, |sum, pin| sum + u32::from(pin))
        };
        assert_eq!(pins(&mut i2c_lines(1)), 3 + 5);
        assert_eq!(pins(&mut spi_lines(0)), 19 + 21 + 23 + 24 + 26);
        assert_eq!(i2c_lines(0).chain(spi_lines(1)).count(), 0);
    }

    #[test]
    fn power_ground_and_the_board_s_own_lines_are_not_on_it() {
        for pin in [0, 1, 2, 4, 6, 9, 14, 17, 20, 25, 30, 34, 39, 41] {
            assert_eq!(bcm_of_pin(pin), None, "pin {pin}");
        }
        assert_eq!(pin_of_bcm(LineId(28)), None);
    }
}
