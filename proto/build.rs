//! Compiles the .proto files with a compiler written in Rust: a fresh machine needs no protoc.

const FILES: [&str; 5] = [
    "pi/agent/v1/agent.proto",
    "pi/control/v1/control.proto",
    "pi/fleet/v1/audit.proto",
    "pi/fleet/v1/exclusions.proto",
    "pi/fleet/v1/fleet.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=pi"); // compile_fds does not say so by itself
    let descriptors = protox::compile(FILES, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    let mut names = tonic_prost_build::Config::new();
    names.btree_map([".pi.agent.v1.CommandRequest"]); // one order of encoding: requests are compared by their digest
    names.enable_type_names(); // `prost::Name`: what a message is called, for its descriptor
    tonic_prost_build::configure()
        .build_transport(false) // connections are made by `mtls`
        .compile_fds_with_config(descriptors, names)?;
    Ok(())
}
