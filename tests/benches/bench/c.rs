//! What a call costs through C, against the same loop in Rust, and the memory of a channel in a C program.

use crate::load::Hook;
use crate::{ACCOUNT, CHANNEL, ROUNDS, SECRET, median, ratio, spread};
use amochats::{ChannelSecret, parse_webhook, verify_webhook};
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const CALLS: u32 = 20_000;
/// Ten minutes of a thousand a second; `AMOCHATS_SOAK` is another number.
const SOAKED: &str = "600000";

/// What a call costs.
pub(crate) fn through_c() {
    measure(calls);
}

/// Whether memory stays as it is.
pub(crate) fn soaked() {
    measure(soak);
}

/// Says what keeps it from measuring, such as a missing compiler, and lets the other parts go on.
fn measure(part: fn(&Path, &Path) -> Outcome<()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let done = build(folder.path()).and_then(|program| part(&program, folder.path()));
    if let Err(error) = done {
        println!("Through C: not measured, {error}\n");
    }
}

/// The program in C, with the library as optimised as this one.
fn build(folder: &Path) -> Outcome<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut library = Command::new(cargo);
    library.current_dir(&root).args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "amochats-ffi",
    ]);
    output(library.arg("--target-dir").arg(&target))?;
    fs::copy(target.join("release/libamochats.so"), folder.join("libamochats.so.0"))?;
    let program = folder.join("bench");
    let mut compiler = Command::new("cc");
    compiler.current_dir(&root).args([
        "-std=c11",
        "-pthread",
        "-D_GNU_SOURCE",
        "-O2",
        "-Iffi/include",
        "tests/c/bench.c",
    ]);
    compiler.arg("-o").arg(&program).arg(folder.join("libamochats.so.0"));
    output(compiler.arg(format!("-Wl,-rpath,{}", folder.display())))?;
    Ok(program)
}

fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn calls(program: &Path, folder: &Path) -> Outcome<()> {
    let secrets = [ChannelSecret::new(SECRET)?];
    let hook = Hook::new(&secrets[0], 1);
    let body = folder.join("body");
    fs::write(&body, hook.body())?;
    let (mut empty, mut in_c, mut in_rust) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..CALLS {
            let verified = verify_webhook(&secrets, black_box(hook.body()), Some(hook.signature()))?;
            black_box(parse_webhook(verified)?);
        }
        in_rust.push(started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        let mut calls = Command::new(program);
        calls.args(["calls", &CALLS.to_string(), hook.signature(), SECRET]).stdin(File::open(&body)?);
        let said = output(&mut calls)?;
        let (one, other) = said.trim().split_once(' ').ok_or("it says two figures")?;
        empty.push(one.parse()?);
        in_c.push(other.parse()?);
    }
    println!("A call, in nanoseconds: median (least to most of {ROUNDS} rounds)");
    println!("  through C, with nothing to do              {}", spread(&empty, 1));
    println!("  through C, verify and parse                {}", spread(&in_c, 0));
    println!("  the same loop in Rust                      {}", spread(&in_rust, 0));
    println!(
        "  through C it takes {:.3} times as long, {:+.0} ns\n",
        ratio(&in_c, &in_rust),
        median(&in_c) - median(&in_rust)
    );
    Ok(())
}

fn soak(program: &Path, folder: &Path) -> Outcome<()> {
    let config = folder.join("amochats.toml");
    fs::write(
        &config,
        format!(
            "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\nstore.path = '{}'\n\
             [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://127.0.0.1:9\"\n",
            folder.join("soak.db").display(),
        ),
    )?;
    let count = std::env::var("AMOCHATS_SOAK").unwrap_or_else(|_| SOAKED.to_owned());
    let mut soak = Command::new(program);
    soak.arg("soak").arg(&config).args([&format!("{CHANNEL}_{ACCOUNT}"), SECRET, &count]);
    println!(
        "Memory of a channel in a C program, each webhook kept, received and settled\n{}",
        output(&mut soak)?
    );
    Ok(())
}
