//! Makes the messages and the service of `proto/kanx.proto` into Rust; it needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/kanx.proto");
    let service = protox::compile(["kanx.proto"], ["proto"])?;
    // How a client connects is for `client.rs` to say.
    tonic_prost_build::configure().build_transport(false).compile_fds(service)?;
    Ok(())
}
