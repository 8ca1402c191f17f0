//! Which calls leave a row before they go on to a node.

use control_lib::{METHODS, Recording, recording};

/// Each method of a node; a new one has to be put somewhere.
const NEVER: &[&str] =
    &["GetJob", "GetSystemMetrics", "HealthCheck", "ListJobs", "StreamLogs", "StreamMetrics", "WatchGPIO"];
const MINUTELY: &[&str] = &["ControlGPIO", "ScanI2c", "TransferI2c", "TransferSpi"];
const EACH: &[&str] = &["CancelJob", "ExecuteCommand", "ExecuteStream", "StreamGPIO"];

#[test]
fn every_method_of_a_node_is_recorded_as_it_should_be() {
    let methods = METHODS.iter().filter_map(|(path, _)| path.strip_prefix("/pi.agent.v1.NodeAgent/"));
    for method in methods {
        let expected = match method {
            method if NEVER.contains(&method) => Recording::Never,
            method if MINUTELY.contains(&method) => Recording::Minutely,
            method if EACH.contains(&method) => Recording::Each,
            method => panic!("{method}: does it read or change something? Put it into a list"),
        };
        assert_eq!(recording(&format!("/pi.agent.v1.NodeAgent/{method}")), expected, "{method}");
    }
    for unknown in ["", "/x/Y", "ControlGPIO", "/pi.agent.v1.NodeAgent/New", "/pi.agent.v2.NodeAgent/HealthCheck"] {
        assert_eq!(recording(unknown), Recording::Each, "{unknown}");
    }
}
