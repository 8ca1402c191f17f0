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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_to_the_buses_of_its_configuration() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[bus]\ni2c = { 1 = [0x48] }\nspi = ['0.1']\n").unwrap();
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes_with(1, &pi_agent::Config::load(file.path()).unwrap()).await;
    let said = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(said("i2c scan sim-1").await.out, "0x48\n", "no other address is asked");
    for line in ["i2c read sim-1 0x50 1", "spi transfer sim-1 01"] {
        let refused = said(line).await;
        assert_eq!(refused.exit, Exit::Denied, "{line}: {}", refused.err);
        assert!(refused.err.contains("is not allowed on this node; allow it in the agent's policy"), "{}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_and_its_bus_exclude_each_other() {
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes(1).await;
    let said = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
    said("gpio set sim-1 3 high").await;
    let refused = said("i2c scan sim-1").await;
    assert_eq!(refused.exit, Exit::Conflict, "{}", refused.err);
    assert!(refused.err.contains("GPIO3, which is held by operator/admin; ask them to release it"), "{}", refused.err);
    assert_eq!(said("spi transfer sim-1 01").await.exit, Exit::Done, "another bus has other lines");
    said("gpio release sim-1 3").await;
    assert_eq!(said("i2c scan sim-1").await.out, "0x48\n0x50\n");
    for line in ["gpio set sim-1 3 high", "gpio get sim-1 2", "gpio watch sim-1 9 --count 1"] {
        let refused = said(line).await;
        assert_eq!(refused.exit, Exit::Conflict, "{line}: {}", refused.err);
        assert!(refused.err.contains("which this agent has in use; choose another line"), "{}", refused.err);
    }
    assert_eq!(said("gpio set sim-1 4 high").await.exit, Exit::Done);
}

/// A bus that is allowed but not there takes no lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_cannot_be_opened_leaves_its_lines_free() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[bus]\nspi = ['0.7']\n").unwrap();
    let cluster = Cluster::start().await;
    let _fleet = cluster.nodes_with(1, &pi_agent::Config::load(file.path()).unwrap()).await;
    let said = async |line: &str| cluster.pictl(&line.split(' ').collect::<Vec<_>>()).await;
    let refused = said("spi transfer sim-1 01 --chip-select 7").await;
    assert!(refused.err.contains("the bus is not enabled"), "{}", refused.err);
    assert_eq!(said("gpio set sim-1 9 high").await.exit, Exit::Done);
}
