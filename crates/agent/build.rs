//! Links the agent without any library: it lives inside programs of any libc.

fn main() {
    for argument in [
        "-nostdlib",
        "-nostartfiles",
        "-Wl,-z,nodelete",
        "-Wl,-z,now",
        "-Wl,-soname,libring3.so",
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
        "-Wl,--hash-style=gnu",
        // Names for debuggers and profilers stay; the rest would be carried by every copy of the command.
        "-Wl,--strip-debug",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    // One segment less to map at every exec. Only lld knows the option; it is rustc's linker on this machine alone.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-rosegment");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
