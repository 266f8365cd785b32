//! What can be typed: the one definition that parser, help, man page and completions come from.

use crate::limit::{self, Setting};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ring3_abi::Kind;
use ring3_broker::Share;
use std::ffi::OsString;

const MORE: &str = "\
Environment:
  RING3_DIR=DIR        where namespaces live
  RING3_LOG=debug      trace agent and broker, into RING3_LOG_FILE

Try it: ring3 run -- sh -c 'ipcmk -Q; ipcs'";

const RUN_MORE: &str = "\
CMD's exit status is passed on: 128+N for signal N, 127 if it was not found,
126 if it could not be run.";

const RM_MORE: &str = "\
Examples:
  ring3 rm --in ci msg 0 32768   two queues, by identifier
  ring3 rm sem --key 0x51        the set with this key
  ring3 rm --owner www-data      all that this user owns
  ring3 rm --all                 everything";

/// System V IPC in user space: a private namespace for any program.
#[derive(Debug, Parser)]
#[command(name = "ring3", version, after_help = MORE, max_term_width = 80, disable_help_subcommand = true)]
pub(crate) struct Ring3 {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in a namespace of its own
    Run(Run),
    /// Keep a namespace that programs can join
    Serve(Serve),
    /// End a namespace that is kept
    Stop(Stop),
    /// List queues, semaphore sets and segments
    Ls(Ls),
    /// Remove queues, semaphore sets and segments
    Rm(Rm),
    /// Say what this machine allows
    Doctor,
    /// Measure the kernel and ring3 side by side
    Bench(Bench),
    /// Print a shell's completion script
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
    /// Measure one row here and now.
    #[command(hide = true)]
    BenchWorker(BenchWorker),
}

/// `ring3 run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_MORE, override_usage = "ring3 run [OPTIONS] -- CMD [ARG]...")]
pub(crate) struct Run {
    /// Join the namespace NAME instead of making one
    #[arg(long = "in", value_name = "NAME", conflicts_with_all = ["keep", "limits", "share"])]
    pub(crate) name: Option<String>,
    /// Leave the namespace serving when CMD has ended
    #[arg(long)]
    pub(crate) keep: bool,
    /// Do not say what CMD left behind
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Set a limit: msgmax, shmmni, sem, … as in svipc(7)
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub(crate) limits: Vec<Setting>,
    /// What a user other than the owner and root may have: percent of what the others leave
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = limit::share)]
    pub(crate) share: Share,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// `ring3 serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The namespace's name
    pub(crate) name: String,
    /// Go to the background, once it can be joined
    #[arg(short, long)]
    pub(crate) daemon: bool,
    /// Set a limit: msgmax, shmmni, sem, … as in svipc(7)
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub(crate) limits: Vec<Setting>,
    /// What a user other than the owner and root may have: percent of what the others leave
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = limit::share)]
    pub(crate) share: Share,
    /// This is the background process: let the terminal go when ready.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// `ring3 stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The namespace's name
    pub(crate) name: String,
}

/// A mechanism, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    // Plain comments: one line of help is enough for the three.
    // Message queues.
    Msg,
    // Semaphore sets.
    Sem,
    // Shared memory segments.
    Shm,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Kind {
        match name {
            KindName::Msg => Kind::Msg,
            KindName::Sem => Kind::Sem,
            KindName::Shm => Kind::Shm,
        }
    }
}

/// `ring3 ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only this kind
    pub(crate) kind: Option<KindName>,
    /// The namespace; without it, the one this command runs in
    #[arg(long = "in", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ring3 rm`.
#[derive(Debug, Args)]
#[command(after_help = RM_MORE)]
pub(crate) struct Rm {
    /// Only this kind
    pub(crate) kind: Option<KindName>,
    /// Identifiers; they need a kind
    #[arg(value_name = "ID", requires = "kind")]
    pub(crate) ids: Vec<i32>,
    /// Those with this key (decimal, or 0x…)
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub(crate) key: Option<i32>,
    /// Those that this user owns (name or number)
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "key", "owner"])]
    pub(crate) all: bool,
    /// The namespace; without it, the one this command runs in
    #[arg(long = "in", value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `ring3 bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Only these rows (see --list)
    #[arg(value_name = "ROW")]
    pub(crate) rows: Vec<String>,
    /// How often each side is measured
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Length of a measurement, ms
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) time: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the rows' names
    #[arg(long)]
    pub(crate) list: bool,
}

/// `ring3 bench-worker`.
#[derive(Debug, Args)]
pub(crate) struct BenchWorker {
    /// The row.
    pub(crate) row: String,
    /// How long, milliseconds.
    pub(crate) time: u64,
}

/// Reads a key: decimal, hexadecimal with 0x or octal with 0o; the upper half of 32 bits counts as negative.
fn key(text: &str) -> Result<i32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).map(u32::cast_signed),
        None => text.parse::<i32>().or_else(|_| text.parse::<u32>().map(u32::cast_signed)),
    };
    parsed.map_err(|_| "not a key: give 32 bits, decimal or as 0x…".to_string())
}
