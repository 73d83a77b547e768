//! Names the shared library for its ABI and keeps it loaded.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The major version is the version of the ABI.
        println!(
            "cargo::rustc-cdylib-link-arg=-Wl,-soname,libamochats.so.{}",
            env!("CARGO_PKG_VERSION_MAJOR")
        );
        // Rust's thread-locals have destructors in the library: dlclose() must not unmap them.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
