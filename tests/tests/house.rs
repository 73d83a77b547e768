//! What the folders promise of each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The core signs and parses in anybody's process, so it brings no I/O of its own.
#[test]
fn the_core_depends_on_no_io() {
    let plain = dependencies("amochats", &["--no-default-features"]);
    let with_client = dependencies("amochats", &["--features", "client"]);
    for name in ["tokio", "hyper", "reqwest", "rustls", "socket2", "mio"] {
        assert!(!plain.contains(name), "{name} is in the core");
        // The names are right: they are there where they may be.
        assert!(with_client.contains(name), "{name} is not even in the client");
    }
    assert!(plain.contains("serde_json"), "{plain:?}");
}

/// A C program that only signs and verifies pays for nothing else.
#[test]
fn the_c_library_depends_on_no_io() {
    let all = dependencies("amochats-ffi", &["--no-default-features"]);
    assert!(all.contains("amochats") && !all.contains("tokio") && !all.contains("rustls"), "{all:?}");
}

/// Which way dependencies point; what is not listed may not be used.
#[test]
fn dependencies_point_inwards() {
    for (package, allowed) in [
        ("amochats", &[][..]),
        ("amochats-proto", &[]),
        ("amochats-runtime", &["amochats"]),
        ("amochats-sandbox", &["amochats"]),
        ("amochats-server", &["amochats", "amochats-proto", "amochats-runtime", "amochats-sandbox"]),
        ("amochats-ffi", &["amochats", "amochats-runtime"]),
        ("amochats-python", &["amochats", "amochats-runtime", "amochats-sandbox"]),
    ] {
        let mut ours = dependencies(package, &[]);
        ours.retain(|name| name.starts_with("amochats") && name != package);
        let allowed = allowed.iter().map(ToString::to_string).collect();
        assert!(ours.is_subset(&allowed), "{package} uses {ours:?}");
    }
}

#[test]
fn unsafe_code_is_where_c_is_spoken() {
    // The C ABI; what makes Python's objects, and leaves backtraces out of its small build.
    let allowed = |file: &str| {
        file.starts_with("ffi/") || ["python/src/records.rs", "python/src/backtrace.rs"].contains(&file)
    };
    let mut files = 0;
    for member in ["core", "runtime", "sandbox", "proto", "grpc-server", "ffi", "python", "tests/src"] {
        for file in rust_files(&root().join(member)) {
            files += 1;
            let source = fs::read_to_string(&file).expect("sources are UTF-8");
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let mut words =
                code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c)));
            let name = file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            assert!(allowed(&name) || words.all(|word| word != "unsafe"), "{name} has unsafe code");
        }
    }
    assert!(files > 50, "only {files} sources were found");
}

/// The packages that a package is built from, itself included.
fn dependencies(package: &str, features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package])
        .args(features)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("names are ASCII");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the repository")
}
