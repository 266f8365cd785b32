//! Which crate may use which: the table of ARCHITECTURE.md, compared with the manifests; the rooms inside a crate; the cells of each mechanism.

mod cells;
mod rooms;

use crate::cargo::{self, Done};
use serde_json::Value;

/// One crate of the workspace.
struct Layer {
    name: &'static str,
    /// The crates of this workspace that it may use at run time.
    uses: &'static [&'static str],
    /// What it may use from outside at run time.
    outside: &'static [&'static str],
}

/// The allowed edges; whatever is not here is an error.
const LAYERS: [Layer; 9] = [
    Layer { name: "ring3-abi", uses: &[], outside: &["zerocopy"] },
    Layer { name: "ring3-os", uses: &["ring3-abi"], outside: &["rustix", "zerocopy"] },
    Layer { name: "ring3-engine", uses: &["ring3-abi"], outside: &[] },
    Layer { name: "ring3-wire", uses: &["ring3-abi"], outside: &["zerocopy"] },
    Layer {
        name: "ring3-calls",
        uses: &["ring3-abi", "ring3-os", "ring3-engine", "ring3-wire"],
        outside: &["zerocopy"],
    },
    Layer { name: "ring3-sites", uses: &[], outside: &["iced-x86", "object", "thiserror"] },
    Layer { name: "ring3-agent", uses: &["ring3-abi", "ring3-os", "ring3-calls"], outside: &[] },
    Layer {
        name: "ring3-broker",
        uses: &["ring3-abi", "ring3-os", "ring3-engine", "ring3-wire"],
        outside: &["rustix", "thiserror", "zerocopy", "libc"],
    },
    Layer {
        name: "ring3-cli",
        uses: &["ring3-abi", "ring3-os", "ring3-engine", "ring3-wire", "ring3-broker"],
        outside: &[
            "clap",
            "clap_complete",
            "clap_mangen",
            "libc",
            "rustix",
            "serde",
            "serde_json",
            "thiserror",
            "zerocopy",
        ],
    },
];

/// Nobody may depend on these.
const TOPS: [&str; 4] = ["ring3-agent", "ring3-cli", "ring3-tests", "xtask"];

/// Runs the check.
pub(crate) fn run() -> Done {
    let (looked_at, mut findings) = findings()?;
    findings.extend(rooms::findings()?);
    findings.extend(cells::findings());
    println!("{}\n{}", rooms::draw()?, cells::draw());
    cargo::verdict("layers", looked_at, "crates", &findings)
}

/// Compares every member's dependencies with the table.
fn findings() -> Result<(usize, Vec<String>), String> {
    let metadata = cargo::metadata(false)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let wanted = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        for dependency in wanted.iter().filter(|dependency| dependency["kind"] != "dev") {
            let used = dependency["name"].as_str().unwrap_or_default();
            found.extend(judge(name, used, dependency));
        }
    }
    Ok((packages.len(), found))
}

/// Says what is wrong with `name` using `used`, if anything.
fn judge(name: &str, used: &str, dependency: &Value) -> Option<String> {
    if TOPS.contains(&used) {
        return Some(format!("{name} uses {used}, which nobody may"));
    }
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return match name {
            "ring3-tests" | "xtask" => None,
            _ => Some(format!("{name} is not in the table of xtask/src/layers.rs and ARCHITECTURE.md")),
        };
    };
    let ours = dependency["path"].is_string();
    let allowed = if ours { layer.uses } else { layer.outside };
    (!allowed.contains(&used)).then(|| format!("{name} may not use {used}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn manifests_follow_the_table() {
        let (_, found) = super::findings().expect("cargo metadata");
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
