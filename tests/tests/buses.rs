//! I²C and SPI, whole: the command line to a simulated device.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pictl::Exit;
use tests::{Cluster, Said};

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_found_read_and_written() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let said = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(said("i2c scan sim-1").await.out, "0x48\n0x50\n");
    // an LM75 at 21.5 °C: register 0, 9 bits of half a degree, left-aligned
    assert_eq!(said("i2c read sim-1 0x48 2 --after 00").await.out, "15 80\n");
    // an EEPROM: write at address 0x10, read it back once its write cycle of 5 ms is over
    assert_eq!(said("i2c write sim-1 0x50 10 c0ffee").await.out, "sim-1 0x50 took it\n");
    tests::eventually(async || said("i2c read sim-1 0x50 3 --after 10").await.out == "c0 ff ee\n").await;
    assert_eq!(said("spi transfer sim-1 01 02ff").await.out, "01 02 ff\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_says_why() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    for (line, exit, why) in [
        ("i2c read sim-1 0x49 1", Exit::Unreachable, "does not answer; check address, wiring and power"),
        ("i2c read sim-1 0x03 1", Exit::Usage, "is reserved"),
        ("i2c read sim-1 0x48 9000", Exit::Usage, "8192"),
        ("i2c scan sim-1 --bus 20", Exit::Denied, "not allowed"),
        ("spi transfer sim-1 01 --bus 7", Exit::Denied, "not allowed"),
        ("spi transfer sim-1 01 --clock 1", Exit::Usage, "cannot be clocked"),
        ("i2c write sim-1 0x48 0g", Exit::Usage, "hexadecimal"),
    ] {
        let Said { exit: ended, out, err } = cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((ended, out.as_str()), (exit, ""), "{line}: {err}");
        assert!(err.contains(why), "{line}: {err}");
    }
}
