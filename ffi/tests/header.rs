//! `include/amochats.h` is what the sources say. After a change of the interface write it anew:
//! `AMOCHATS_WRITE_HEADER=1 cargo test -p amochats-ffi --test header`.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = folder.join("include/amochats.h");
    let header = generate(folder);
    if std::env::var_os("AMOCHATS_WRITE_HEADER").is_some() {
        std::fs::write(&committed, &header).expect("the source tree is writable");
    }
    let found = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        found == header,
        "include/amochats.h differs from the sources: run\n\
         AMOCHATS_WRITE_HEADER=1 cargo test -p amochats-ffi --test header",
    );
}

fn generate(folder: &Path) -> String {
    let mut config =
        cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    config.after_includes = Some(format!(
        "\n/** The version of this header. */\n\
         #define AMOCHATS_VERSION_MAJOR {}\n\
         #define AMOCHATS_VERSION_MINOR {}\n\
         #define AMOCHATS_VERSION_PATCH {}\n\
         #define AMOCHATS_VERSION \"{}\"",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
        env!("CARGO_PKG_VERSION"),
    ));
    let bindings = cbindgen::generate_with_config(folder, config).expect("the sources can be parsed");
    let mut header = Vec::new();
    bindings.write(&mut header);
    String::from_utf8(header).expect("cbindgen writes UTF-8")
}
