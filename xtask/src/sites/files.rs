//! Which files are looked at: this machine's libraries, and those of other releases where their packages can be had.

use super::packages::Releases;
use std::path::{Path, PathBuf};

/// This machine's, by name and the places where one may be.
const HERE: [(&str, &[&str]); 4] = [
    ("libc.so.6", &["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"]),
    ("ld-linux-x86-64.so.2", &["/lib64/ld-linux-x86-64.so.2"]),
    ("musl's libc.so", &["/lib/ld-musl-x86_64.so.1", "/usr/lib/x86_64-linux-musl/libc.so"]),
    ("busybox", &["/bin/busybox", "/usr/bin/busybox"]),
];

/// A package's files, below `/` or `/usr`.
const PACKAGED: [(&str, &[&str]); 4] = [
    ("libc6", &["lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"]),
    ("musl", &["lib/x86_64-linux-musl/libc.so"]),
    ("busybox-static", &["bin/busybox"]),
    // A Go program, which enters the kernel by itself.
    ("fzf", &["bin/fzf"]),
];

/// Where the symbols of glibc's libraries are.
const SYMBOLS: &str = "libc6-dbg";

/// A file to look at.
pub(super) struct File {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The file with all of its symbols, if that is another.
    pub(super) symbols: Option<PathBuf>,
}

/// What is there to look at, and what could not be had.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) files: Vec<File>,
    pub(super) missing: Vec<String>,
    /// What was unpacked stays as long as this.
    _unpacked: Option<Releases>,
}

/// The files that were named.
pub(super) fn named(names: &[String]) -> Wanted {
    let file = |name: &String| File { name: name.clone(), path: name.into(), symbols: None };
    Wanted { files: names.iter().map(file).collect(), ..Wanted::default() }
}

/// Everything that can be had.
pub(super) fn all() -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for (name, places) in HERE {
        match places.iter().find(|place| Path::new(place).exists()) {
            Some(place) => {
                wanted.files.push(File { name: format!("here: {name}"), path: place.into(), symbols: None })
            }
            None => wanted.missing.push(format!("{name} of this machine: it has none")),
        }
    }
    match Releases::find()? {
        Ok(releases) => {
            for release in releases.names() {
                wanted.release(&releases, release);
            }
            wanted._unpacked = Some(releases);
        }
        Err(why) => wanted.missing.push(format!("other releases: {why}")),
    }
    Ok(wanted)
}

impl Wanted {
    /// Adds a release's files.
    fn release(&mut self, releases: &Releases, release: &str) {
        if let Err(why) = releases.update(release) {
            return self.missing.push(format!("all of {release}: {why}"));
        }
        for (package, paths) in PACKAGED {
            let root = match releases.unpack(release, package) {
                Ok(root) => root,
                Err(why) => {
                    self.missing.push(format!("{package} of {release}: {why}"));
                    continue;
                }
            };
            let before = self.files.len();
            for path in paths {
                let place = [root.join(path), root.join("usr").join(path)];
                if let Some(place) = place.into_iter().find(|place| place.is_file()) {
                    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.files.push(File {
                        name: format!("{release}: {package} {name}"),
                        path: place,
                        symbols: None,
                    });
                }
            }
            if before == self.files.len() {
                self.missing.push(format!("{package} of {release}: none of {} is in it", paths.join(", ")));
            }
        }
        self.symbols(releases, release);
    }

    /// Finds the symbols of a release's glibc by build-id.
    fn symbols(&mut self, releases: &Releases, release: &str) {
        let root = match releases.unpack(release, SYMBOLS) {
            Ok(root) => root.join("usr/lib/debug/.build-id"),
            Err(why) => return self.missing.push(format!("{SYMBOLS} of {release}: {why}")),
        };
        let glibc = format!("{release}: libc6 ");
        for file in self.files.iter_mut().filter(|file| file.name.starts_with(&glibc)) {
            file.symbols = symbols_of(&file.path, &root);
            if file.symbols.is_none() {
                self.missing.push(format!("all symbols of {}: {SYMBOLS} has not its build-id", file.name));
            }
        }
    }
}

/// The file with all symbols of a file, in a folder that has them by build-id.
fn symbols_of(path: &Path, root: &Path) -> Option<PathBuf> {
    let data = std::fs::read(path).ok()?;
    let id = ring3_sites::Image::read(&data).ok()?.build_id?;
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, rest) = digits.split_at_checked(2)?;
    Some(root.join(folder).join(format!("{rest}.debug"))).filter(|path| path.is_file())
}
