//! `cargo xtask sites`: which system calls of which libraries can be replaced, and whether a second decoder agrees.
//!
//! `files.rs` says which files are looked at, `packages.rs` fetches other releases' by their package manager, `second.rs` is what ours is compared with. docs/sites.md has what came of it.

mod files;
mod packages;
mod second;

use crate::cargo::Done;
use ring3_sites::{Claim, Identity, Image, List, Plan, Reason};
use std::path::Path;

/// A reason's column.
fn column(reason: Reason) -> &'static str {
    match reason {
        Reason::Unreached => "unreached",
        Reason::Disputed => "disputed",
        Reason::Sigreturn => "sigreturn",
        Reason::Compared => "compared",
        Reason::OtherDoor => "other door",
        Reason::Entered => "entered",
        Reason::Crowded => "crowded",
    }
}

/// Runs it on the files that are named, or on all that can be had.
pub(crate) fn run(arguments: &[String]) -> Done {
    if let Some(option) = arguments.iter().find(|word| word.starts_with('-')) {
        return Err(format!("sites: no option \"{option}\""));
    }
    let wanted = if arguments.is_empty() { files::all()? } else { files::named(arguments) };
    println!("{}", heading());
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for file in &wanted.files {
        match row(&file.path, file.symbols.as_deref()) {
            Ok((cells, said)) => {
                println!("{:37} {cells} {:>6}", file.name, said.len());
                wrong.extend(said.into_iter().map(|what| format!("{}: {what}", file.name)));
                looked_at += 1;
            }
            Err(why) if arguments.is_empty() => println!("{:37} {why}", file.name),
            Err(why) => return Err(format!("{}: {why}", file.name)),
        }
    }
    for what in &wanted.missing {
        println!("not looked at: {what}");
    }
    match (wrong.is_empty(), looked_at) {
        (true, 0) => Err("sites: there was no file to look at".to_owned()),
        (true, _) => Ok(()),
        (false, _) => Err(format!("sites: {} wrong decodes\n  {}", wrong.len(), wrong.join("\n  "))),
    }
}

fn heading() -> String {
    let reasons = Reason::ALL.map(|reason| format!("{:>10}", column(reason))).join(" ");
    format!(
        "{:37} {:8} {:>6} {:>6} {:>7} {reasons} {:>6}",
        "file", "build-id", "pairs", "found", "patched", "wrong"
    )
}

/// A file's cells, and what is wrong with them.
fn row(path: &Path, symbols: Option<&Path>) -> Result<(String, Vec<String>), String> {
    let data = std::fs::read(path).map_err(|why| why.to_string())?;
    let image = Image::read(&data).map_err(|why| why.to_string())?;
    let found = ring3_sites::find(&image);
    let plan = ring3_sites::plan(&image, &found).map_err(|why| why.to_string())?;
    let mut said = second::compare(path, symbols, &plan)?;
    let id = image.build_id.clone().unwrap_or_default();
    said.extend(kept(&id, &plan, &data).err());
    let count = |reason: Reason| plan.left.iter().filter(|left| left.reason == reason).count();
    let reasons = Reason::ALL.map(|reason| format!("{:>10}", count(reason))).join(" ");
    let prefix: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let all = plan.sites.len() + plan.left.len();
    let cells = format!("{prefix:8} {:>6} {all:>6} {:>7} {reasons}", image.pairs(), plan.sites.len());
    Ok((cells, said))
}

/// Says what is wrong with the plan's list after it was written and read again.
fn kept(id: &[u8], plan: &Plan, data: &[u8]) -> Done {
    let identity = Identity::of(id).unwrap_or(Identity::File {
        device: 0,
        inode: 0,
        size: data.len() as u64,
        changed: 0,
    });
    let list = List::new(identity.clone(), plan);
    let again = Claim::read(&list.write()).and_then(|claim| claim.verify(&identity, data));
    match again {
        Ok(again) if again == list => Ok(()),
        Ok(_) => Err("its list is another after it was read".to_owned()),
        Err(why) => Err(format!("its list was refused: {why}")),
    }
}
