//! Links the agent without any library: it lives inside programs of any libc.

fn main() {
    for argument in [
        "-nostdlib",
        "-nostartfiles",
        "-Wl,-z,nodelete",
        "-Wl,-z,now",
        "-Wl,-soname,libring3.so",
        "-Wl,-z,norelro",
        "-Wl,--hash-style=gnu",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    // Names for debuggers and profilers stay; the rest would be carried by every copy of the command. `cargo xtask counts --trace` wants it.
    if std::env::var_os("RING3_AGENT_LINES").is_none() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-debug");
    }
    println!("cargo:rerun-if-env-changed=RING3_AGENT_LINES");
    // Only lld knows how; it is rustc's linker on x86-64 alone.
    let layout: &[&str] = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => &[concat!("-Wl,-T,", env!("CARGO_MANIFEST_DIR"), "/layout.ld")],
        _ => &["-Wl,-z,noseparate-code"],
    };
    for argument in layout {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
}
