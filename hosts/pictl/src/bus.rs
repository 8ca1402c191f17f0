//! `pictl i2c` and `pictl spi`.

use clap::Subcommand;
use proto::agent::v1::i2c_operation::Operation;
use proto::agent::v1::{I2cOperation, ScanI2cRequest, TransferI2cRequest, TransferSpiRequest};

use crate::call::Caller;
use crate::exit::Failure;
use crate::output::{Output, json};

const BYTES_HELP: &str = "Bytes in hexadecimal, such as 01 ff or 01ff";

#[derive(Subcommand)]
pub(crate) enum I2c {
    /// The addresses that answer
    Scan {
        /// Name of the node
        node: String,
        /// Number of the bus
        #[arg(long, default_value_t = 1)]
        bus: u32,
    },
    /// Read from a device, after writing some bytes to it if given, such as a register's number
    Read {
        /// Name of the node
        node: String,
        /// 7-bit address, such as 0x48
        #[arg(value_parser = number)]
        address: u32,
        /// How many bytes
        length: u32,
        #[arg(long, value_name = "BYTES", value_parser = bytes, help = BYTES_HELP)]
        after: Option<Bytes>,
        /// Number of the bus
        #[arg(long, default_value_t = 1)]
        bus: u32,
    },
    /// Write to a device
    Write {
        /// Name of the node
        node: String,
        /// 7-bit address, such as 0x48
        #[arg(value_parser = number)]
        address: u32,
        #[arg(required = true, value_parser = bytes, help = BYTES_HELP)]
        data: Vec<Bytes>,
        /// Number of the bus
        #[arg(long, default_value_t = 1)]
        bus: u32,
    },
}

#[derive(Subcommand)]
pub(crate) enum Spi {
    /// Send bytes and show those that came back meanwhile
    Transfer {
        /// Name of the node
        node: String,
        #[arg(required = true, value_parser = bytes, help = BYTES_HELP)]
        data: Vec<Bytes>,
        /// Number of the bus
        #[arg(long, default_value_t = 0)]
        bus: u32,
        /// Which device on it
        #[arg(long, default_value_t = 0)]
        chip_select: u32,
        /// SPI mode
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3))]
        mode: u32,
        /// Clock in hertz
        #[arg(long, default_value_t = 1_000_000)]
        clock: u32,
    },
}

/// One argument's worth of bytes.
#[derive(Clone)]
pub(crate) struct Bytes(Vec<u8>);

pub(crate) async fn i2c(caller: &Caller, command: I2c, output: Output) -> Result<String, Failure> {
    let (node, bus, address, operations) = match command {
        I2c::Scan { node, bus } => return scan(caller, &node, bus, output).await,
        I2c::Read { node, address, length, after, bus } => {
            let after = after.map(|Bytes(bytes)| Operation::Write(bytes));
            (node, bus, address, after.into_iter().chain([Operation::Read(length)]).collect::<Vec<_>>())
        }
        I2c::Write { node, address, data, bus } => (node, bus, address, vec![Operation::Write(joined(data))]),
    };
    let operations = operations.into_iter().map(|operation| I2cOperation { operation: Some(operation) }).collect();
    let request = caller.request_to(&node, TransferI2cRequest { bus, address, operations })?;
    let answer = caller.node(&node)?.transfer_i2c(request).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table if answer.reads.is_empty() => Ok(format!("{node} {address:#04x} took it")),
        Output::Table => Ok(answer.reads.iter().map(|read| hexadecimal(read)).collect::<Vec<_>>().join("\n")),
    }
}

async fn scan(caller: &Caller, node: &str, bus: u32, output: Output) -> Result<String, Failure> {
    let request = caller.request_to(node, ScanI2cRequest { bus })?;
    let answer = caller.node(node)?.scan_i2c(request).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table if answer.addresses.is_empty() => Ok(format!("{node}: nothing answers on bus {bus}")),
        Output::Table => {
            let found: Vec<String> = answer.addresses.iter().map(|address| format!("{address:#04x}")).collect();
            Ok(found.join("\n"))
        }
    }
}

pub(crate) async fn spi(caller: &Caller, command: Spi, output: Output) -> Result<String, Failure> {
    let Spi::Transfer { node, data, bus, chip_select, mode, clock } = command;
    let message = TransferSpiRequest { bus, chip_select, mode, clock_hz: clock, write: joined(data) };
    let request = caller.request_to(&node, message)?;
    let answer = caller.node(&node)?.transfer_spi(request).await?.into_inner();
    match output {
        Output::Json => json(&answer),
        Output::Table => Ok(hexadecimal(&answer.read)),
    }
}

fn joined(data: Vec<Bytes>) -> Vec<u8> {
    data.into_iter().flat_map(|Bytes(bytes)| bytes).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number such as 0x48 or 72".to_owned())
}

fn bytes(text: &str) -> Result<Bytes, String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [_, _] => std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.map(Bytes).ok_or_else(|| "expected bytes in hexadecimal, such as 01ff".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_pairs_of_hexadecimal_digits() {
        assert_eq!(bytes("01fF").unwrap().0, [1, 255]);
        for wrong in ["1", "0g", "é1", "0x"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!((number("0x48"), number("72")), (Ok(0x48), Ok(72)));
    }
}
