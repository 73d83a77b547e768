//! The seeds of the fuzz targets, and every vector, through what the targets check: with a stable
//! compiler and without a fuzzer.

#[path = "../../fuzz/checks.rs"]
mod checks;

use amochats_tests::vectors;
use std::fs;
use std::path::{Path, PathBuf};

type Check = fn(&[u8]);

/// The targets, by the names of their folders.
const TARGETS: [(&str, Check); 4] = [
    ("messages", checks::messages),
    ("parse_crm_webhook", checks::parse_crm_webhook),
    ("parse_webhook", checks::parse_webhook),
    ("verify_webhook", checks::verify_webhook),
];

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort_unstable();
    paths
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

#[test]
fn every_seed_passes_its_target() {
    let folders = entries(&fuzz().join("seeds"));
    let names: Vec<_> = folders.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, TARGETS.map(|(name, _)| name), "the folders of seeds");
    for (name, check) in TARGETS {
        assert!(fuzz().join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} is a target");
        let seeds = entries(&fuzz().join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seed");
        for seed in &seeds {
            check(&fs::read(seed).expect("a readable file"));
        }
        println!("{name}: {} seeds", seeds.len());
    }
}

/// The files themselves are JSON; whatever they hold inside is reached by the seeds.
#[test]
fn every_vector_passes_every_target() {
    let mut files = 0;
    for group in entries(&vectors::folder()).iter().filter(|path| path.is_dir()) {
        for file in entries(group) {
            let bytes = fs::read(&file).expect("a readable file");
            for (_, check) in TARGETS {
                check(&bytes);
            }
            files += 1;
        }
    }
    assert!(files > 100, "only {files} vectors were found");
}
