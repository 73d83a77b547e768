//! The seeds of the fuzz targets, every vector, and thousands of damaged seeds through what the targets
//! check: with a stable compiler and without a fuzzer, the same ones in every run. `make fuzz` goes on
//! where this ends.

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

/// How many damaged copies are made of each seed.
const DAMAGED: usize = 400;

/// What may stand where it does not belong: the punctuation and odd values of JSON and of forms.
const PIECES: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"\"\"",
    b"[[]]",
    b"9223372036854775808",
    b"\\ud800",
    b"\xff",
    b"\n",
    b"%5B",
    b"&a[]=",
    b"=",
];

#[test]
fn no_damage_to_a_seed_breaks_its_target() {
    let mut random = fastrand::Rng::with_seed(7);
    for (name, check) in TARGETS {
        let seeds: Vec<Vec<u8>> = entries(&fuzz().join("seeds").join(name))
            .iter()
            .map(|seed| fs::read(seed).expect("a readable file"))
            .collect();
        for seed in &seeds {
            for _ in 0..DAMAGED {
                let mut bytes = seed.clone();
                for _ in 0..random.usize(1..4) {
                    damage(&mut bytes, &seeds, &mut random);
                }
                check(&bytes);
            }
        }
    }
}

fn damage(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    let to = random.usize(at..=bytes.len().min(at + 20));
    match random.u8(..6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..to)),
        2 => drop(bytes.splice(at..to, PIECES[random.usize(..PIECES.len())].iter().copied())),
        3 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
        4 => {
            let again = bytes[at..to].to_vec();
            drop(bytes.splice(at..at, again));
        }
        _ => {
            let other = &seeds[random.usize(..seeds.len())];
            bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
        }
    }
}

/// The targets are built from a lock file of their own, which nothing else would keep up to date.
#[test]
fn the_lock_file_of_the_targets_is_up_to_date() {
    let manifest = fuzz().join("Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--locked", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo is there: it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
