//! Compiles the .proto files with a compiler written in Rust: a fresh machine needs no protoc.

use std::fs;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-changed=pi"); // compile_fds does not say so by itself
    let mut files = Vec::new();
    find(Path::new("pi"), &mut files)?;
    files.sort();
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    fs::write(out.join("methods.rs"), format!("{:#?}", methods(&descriptors)))?;
    let mut names = tonic_prost_build::Config::new();
    names.btree_map([".pi.agent.v1.CommandRequest"]); // one order of encoding: requests are compared by their digest
    names.enable_type_names(); // `prost::Name`: what a message is called, for its descriptor
    // secrets may be in them: what may be shown of them is in src/redacted.rs
    names.skip_debug([".pi.agent.v1.CommandRequest", ".pi.agent.v1.ExecuteStreamRequest"]);
    tonic_prost_build::configure()
        .build_transport(false) // connections are made by `mtls`
        .compile_fds_with_config(descriptors, names)?;
    Ok(())
}

/// Every .proto file below a folder.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension() {
            _ if path.is_dir() => find(&path, files)?,
            Some(extension) if extension == "proto" => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// The path of every method of ours, as it stands in a request.
fn methods(descriptors: &FileDescriptorSet) -> Vec<String> {
    let ours = descriptors.file.iter().filter(|file| file.package().starts_with("pi."));
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let (package, services) = (file.package().to_owned(), file.service.clone());
        services.into_iter().flat_map(move |service| {
            let prefix = format!("/{package}.{}/", service.name());
            service.method.into_iter().map(move |method| format!("{prefix}{}", method.name()))
        })
    };
    let mut methods: Vec<String> = ours.flat_map(of_file).collect();
    methods.sort();
    methods
}
