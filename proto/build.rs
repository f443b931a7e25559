//! Compiles the .proto files with protox, so that no `protoc` needs to be installed.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=limbic");
    let files = ["limbic/v1/worker.proto", "limbic/v1/control.proto"];
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("limbic.bin"), descriptors.encode_to_vec())?;
    // Channels and servers belong to the shells, so no transport code is generated.
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
