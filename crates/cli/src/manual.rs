//! The manual page and the shells' completions, out of the definitions in `args.rs`.

use crate::args::Ring3;
use crate::fault::{Fault, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};

/// Prints the completion script for `shell`.
pub(crate) fn completions(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Ring3::command(), "ring3", &mut script);
    print(&script)
}

/// Prints one manual page: the command, then each subcommand that is no helper.
pub(crate) fn page() -> Result<u8> {
    let mut page = Vec::new();
    write_page(&mut page).map_err(|why| Fault::io("write the manual page", why))?;
    print(&page)
}

fn write_page(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Ring3::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_options_section(page)?;
    man.render_subcommands_section(page)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        writeln!(page, ".SH \"RING3 {}\"", sub.get_name().to_uppercase())?;
        let man = Man::new(sub.clone());
        man.render_description_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
        // Lines that belong together stay as they are typed.
        if let Some(more) = sub.get_after_help() {
            writeln!(page, ".PP\n.nf\n{}\n.fi", escaped(&more.to_string()))?;
        }
    }
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    writeln!(page, ".SH NOTES\n.nf\n{}\n.fi", escaped(&more))?;
    man.render_version_section(page)
}

/// Plain text as roff: hyphens and quotes as they are, backslashes too.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// Writes to standard output; a reader that has gone is no error.
pub(crate) fn print(bytes: &[u8]) -> Result<u8> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fault::io("write to standard output", why))
        }
        _ => Ok(0),
    }
}
