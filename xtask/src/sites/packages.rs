//! Packages of Debian's releases: fetched by apt with a state of its own, unpacked into a temporary folder, never installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The releases that are tried.
const RELEASES: [&str; 4] = ["bullseye", "bookworm", "trixie", "sid"];

/// What vouches for the packages.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Longest that a command of the package manager takes, seconds.
const LONGEST: &str = "300";

/// The releases of the mirror that this machine uses.
pub(super) struct Releases {
    mirror: String,
    folder: TempDir,
}

impl Releases {
    /// Finds the mirror; the inner error says why there is none.
    pub(super) fn find() -> Result<Result<Releases, String>, String> {
        let folder = TempDir::new().map_err(|why| format!("no temporary folder: {why}"))?;
        let asked = ["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"];
        let said = match said(Command::new("apt-get").args(asked)) {
            Ok(said) => said,
            Err(why) => return Ok(Err(why)),
        };
        let mirror = said.lines().find(|line| line.trim_end_matches('/').ends_with("/debian"));
        Ok(match mirror {
            Some(mirror) => Ok(Releases { mirror: mirror.to_owned(), folder }),
            None => Err("apt has no mirror of Debian".to_owned()),
        })
    }

    /// Their names.
    pub(super) fn names(&self) -> [&'static str; 4] {
        RELEASES
    }

    /// Reads a release's index.
    pub(super) fn update(&self, release: &str) -> Result<(), String> {
        let state = self.folder.path().join(release);
        for folder in ["lists/partial", "archives/partial", "unpacked"] {
            std::fs::create_dir_all(state.join(folder)).map_err(|why| why.to_string())?;
        }
        let by = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let source = format!("deb {by}{} {release} main\n", self.mirror);
        std::fs::write(state.join("sources.list"), source).map_err(|why| why.to_string())?;
        said(self.apt(&state).arg("update")).map(drop)
    }

    /// Fetches a package and unpacks it; returns where.
    pub(super) fn unpack(&self, release: &str, package: &str) -> Result<PathBuf, String> {
        let state = self.folder.path().join(release);
        let fetched = state.join("fetched").join(package);
        std::fs::create_dir_all(&fetched).map_err(|why| why.to_string())?;
        said(self.apt(&state).args(["download", package]).current_dir(&fetched))?;
        let mut entries = std::fs::read_dir(&fetched).map_err(|why| why.to_string())?.flatten();
        let file = entries.next().ok_or("apt-get fetched nothing")?.path();
        let root = state.join("unpacked").join(package);
        said(Command::new("dpkg-deb").arg("-x").args([&file, &root]))?;
        Ok(root)
    }

    /// apt-get, with a state that is not the machine's.
    fn apt(&self, state: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.args([LONGEST, "apt-get", "-q"]);
        let place = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        let options = [
            place("Dir::Etc::sourcelist", state.join("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            place("Dir::State::lists", state.join("lists")),
            "Dir::State::status=/dev/null".to_owned(),
            place("Dir::Cache", state.to_path_buf()),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
        ];
        for option in options {
            command.args(["-o", &option]);
        }
        command
    }
}

/// What a command printed. # Errors: it could not be run, or failed, with the first line of its complaint.
fn said(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|why| format!("cannot run {name}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = complaint.lines().find(|line| line.starts_with("E:")).or(complaint.lines().next());
    Err(line.unwrap_or("it failed and said nothing").to_owned())
}
