//! Compiles the .proto files with protox, so that no `protoc` needs to be installed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=limbic");
    let files = ["limbic/v1/worker.proto", "limbic/v1/control.proto"];
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Channels and servers belong to the shells, so no transport code is generated.
    tonic_prost_build::configure()
        .build_transport(false)
        .file_descriptor_set_path(out.join("limbic.bin"))
        .skip_protoc_run()
        .compile_fds(descriptors)?;
    Ok(())
}
