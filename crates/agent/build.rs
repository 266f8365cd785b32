//! Links the agent without any library: it lives inside programs of any libc.

fn main() {
    for argument in [
        "-nostdlib",
        "-Wl,--no-rosegment",
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
    println!("cargo:rerun-if-changed=build.rs");
}
