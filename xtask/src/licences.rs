//! Licences of everything that is built in: the list of deny.toml, checked without cargo-deny.

use crate::cargo::{self, Done};

/// Runs the check; uses cargo-deny as well where it is installed.
pub(crate) fn run() -> Done {
    let allowed = allowed()?;
    let metadata = cargo::metadata(true)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata has no packages")?;
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !permitted(licence, &allowed) {
            found.push(format!("{name}: \"{licence}\" is not permitted by deny.toml"));
        }
    }
    cargo::verdict("licences", packages.len(), "packages", &found)?;
    deny()
}

/// Runs cargo-deny if there is one.
fn deny() -> Done {
    let there = cargo::cargo().args(["deny", "--version"]).output().is_ok_and(|out| out.status.success());
    if !there {
        return Ok(());
    }
    let status = cargo::cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err("cargo deny check failed".to_owned()),
    }
}

/// Reads the permitted licences out of deny.toml.
fn allowed() -> Result<Vec<String>, String> {
    let file = cargo::root().join("deny.toml");
    let text = std::fs::read_to_string(&file).map_err(|why| format!("cannot read deny.toml: {why}"))?;
    let list = text.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.ok_or("deny.toml has no list of permitted licences")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Says whether an SPDX expression can be satisfied by the permitted licences alone.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    // `A OR B AND C`: every term of one alternative. Brackets only ever occur around alternatives of an AND,
    // where demanding that each group has a permitted member is what dropping them does.
    expression.split(" AND ").all(|term| {
        term.split(" OR ").any(|one| {
            let one = one.trim();
            allowed.iter().any(|licence| licence == one)
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn expressions() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()];
        for (expression, wanted) in [
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("GPL-2.0", false),
            ("", false),
        ] {
            assert_eq!(super::permitted(expression, &allowed), wanted, "{expression}");
        }
    }
}
