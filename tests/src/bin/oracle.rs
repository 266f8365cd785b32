//! The oracle: compares the kernel and ring3, and is the driver that plays scripts in either.
//!
//! ```text
//! ring3-oracle [OPTION…]                         all hand-written cases, then random scripts
//!   --cases [PART]       only the cases, whose name has that part
//!   --random             only the random scripts
//!   --sequences N        so many random scripts (1000)
//!   --seed S --from I    the seed (else the clock's), and the first script of it
//!   --without WORD       random scripts without the lines that have this word
//!   --file FILE          one script
//!   --spread             ring3 may use all CPUs
//!   --twice              the kernel against itself
//!   --show               what the kernel does in the cases
//! ring3-oracle kernel|here PACE script           plays one script from standard input
//! ring3-oracle kernel|here PACE random SEED FROM COUNT [WORD…]
//! ring3-oracle worker WHO FD                     a worker, after exec
//! ```
//! `kernel`: first enter a fresh IPC namespace of the kernel's. PACE: a CPU's number, or `spread`.
//! Exit status: 0 no difference, 1 some; 3 a script hung, 2 the arguments or the machine do not allow it.

use ring3_tests::oracle::play::{Pace, Player};
use ring3_tests::oracle::world::{Job, Stage, World, stages};
use ring3_tests::oracle::{cases, compare, random, slot::Shared, sys, worker::Worker};
use ring3_tests::support;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["worker", who, fd] => worker(who, fd),
        [world @ ("kernel" | "here"), pace, what @ ..] => drive(world, pace, what),
        options => Options::parse(options).and_then(|options| compare_worlds(&options)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(io::stderr(), "ring3-oracle: {e}");
            ExitCode::from(2)
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("not a number: {text}")))
}

fn worker(who: &str, fd: &str) -> io::Result<u8> {
    let fd = number(fd)?;
    Worker { shared: Shared::open(fd)?, fd, who: number(who)? }.serve_after_exec()
}

fn drive(world: &str, pace: &str, what: &[&str]) -> io::Result<u8> {
    if world == "kernel" {
        sys::new_namespace()?;
    }
    let pace = if pace == "spread" { Pace::Spread } else { Pace::OneCpu(number(pace)?) };
    let mut player = Player::new(pace)?;
    let mut out = io::BufWriter::new(io::stdout());
    let mut hung = false;
    match what {
        ["script"] => {
            let lines: Vec<String> = io::stdin().lock().lines().collect::<io::Result<_>>()?;
            let (record, end) = player.play(&lines);
            out.write_all(record.as_bytes())?;
            hung = end.is_err();
        }
        ["random", seed, from, count, without @ ..] => {
            let (seed, from, count): (u64, u64, u64) = (number(seed)?, number(from)?, number(count)?);
            let without: Vec<String> = without.iter().map(|word| word.to_string()).collect();
            for index in from..from + count {
                let (record, end) = player.play(&random::script(seed, index, &without));
                write!(out, "# {index}\n{record}")?;
                if end.is_err() {
                    hung = true;
                    break;
                }
            }
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "script or random?")),
    }
    out.flush()?;
    Ok(if hung { 3 } else { 0 })
}

#[derive(Default)]
struct Options {
    sequences: Option<u64>,
    seed: Option<u64>,
    from: u64,
    cases: Option<String>,
    file: Option<String>,
    spread: bool,
    random: bool,
    twice: bool,
    without: Vec<String>,
    show: bool,
}

impl Options {
    fn parse(words: &[&str]) -> io::Result<Options> {
        let mut options = Options::default();
        let mut words = words.iter().copied().peekable();
        while let Some(word) = words.next() {
            match word {
                "--sequences" => options.sequences = Some(number(words.next().unwrap_or_default())?),
                "--seed" => options.seed = Some(number(words.next().unwrap_or_default())?),
                "--from" => options.from = number(words.next().unwrap_or_default())?,
                "--cases" => {
                    options.cases = Some(words.next_if(|w| !w.starts_with("--")).unwrap_or("").to_string())
                }
                "--file" => options.file = words.next().map(str::to_string),
                "--random" => options.random = true,
                "--spread" => options.spread = true,
                "--without" => options.without.extend(words.next().map(str::to_string)),
                "--show" => options.show = true,
                "--twice" => options.twice = true,
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!("no such option: {word}"),
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn compare_worlds(options: &Options) -> io::Result<u8> {
    let driver = std::env::current_exe()?;
    let other = if options.twice { World::Kernel } else { World::Ring3(support::ring3(&driver)) };
    let stages = stages(&driver, other, options.spread);
    let mut out = io::stdout();
    if !support::kernel_namespace() {
        writeln!(
            out,
            "oracle: left out: only root can have a fresh IPC namespace of the kernel's to compare with"
        )?;
        return Ok(0);
    }
    if let Some(file) = &options.file {
        let lines: Vec<String> = std::fs::read_to_string(file)?.lines().map(str::to_string).collect();
        return show(&mut out, compare::script(&stages, file, &lines)?.as_slice());
    }
    if options.show {
        for case in cases::all().iter().filter(|c| c.name.contains(options.cases.as_deref().unwrap_or(""))) {
            let record = stages[0].run(&Job::Script(case.lines.clone()), Duration::from_secs(60))?;
            writeln!(out, "case {}\n{}", case.name, record.text)?;
        }
        return Ok(0);
    }
    let mut code = 0;
    if !options.random {
        code |= all_cases(&stages, options.cases.as_deref().unwrap_or(""), &mut out)?;
    }
    if options.cases.is_none() {
        code |= sequences(&stages, options, &mut out)?;
    }
    Ok(code)
}

fn show(out: &mut io::Stdout, found: &[compare::Difference]) -> io::Result<u8> {
    for difference in found {
        writeln!(out, "{difference}")?;
    }
    Ok(u8::from(!found.is_empty()))
}

fn all_cases(stages: &[Stage; 2], part: &str, out: &mut io::Stdout) -> io::Result<u8> {
    let (mut code, mut played, mut left_out, mut on_purpose) = (0, 0, 0, 0);
    for case in cases::all().iter().filter(|case| case.name.contains(part)) {
        if let Some(what) = case.needs.iter().find(|what| !support::has(what)) {
            writeln!(out, "oracle: left out (needs {what}): {}", case.name)?;
            left_out += 1;
            continue;
        }
        played += 1;
        match (compare::case(stages, case)?, &case.deviates) {
            (Some(_), Some(_)) => on_purpose += 1,
            (None, Some(row)) if stages[1].world != World::Kernel => {
                writeln!(
                    out,
                    "no difference any more in \"{}\": drop row {row} of docs/deviations.md",
                    case.name
                )?;
                code = 1;
            }
            (found, _) => code |= show(out, found.as_slice())?,
        }
    }
    writeln!(
        out,
        "oracle: {played} cases, {on_purpose} of them deliberate differences, {left_out} left out"
    )?;
    Ok(code)
}

fn sequences(stages: &[Stage; 2], options: &Options, out: &mut io::Stdout) -> io::Result<u8> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |t| t.as_secs());
    let seed = options.seed.unwrap_or(clock);
    let count = options.sequences.unwrap_or(1000);
    writeln!(out, "oracle: {count} random scripts, --seed {seed}")?;
    let begun = Instant::now();
    let without = options.without.clone();
    let range = compare::Range { seed, from: options.from, count, enough: 20, without };
    let mut told = 0;
    let found = compare::random(stages, &range, |done| {
        if done >= told + 5000 {
            told = done;
            let _ = writeln!(io::stdout(), "oracle: {done} of {count}, {} s", begun.elapsed().as_secs());
        }
    })?;
    let code = show(out, &found)?;
    let all = if found.len() < range.enough { "" } else { " (stopped there)" };
    writeln!(out, "oracle: {count} random scripts, --seed {seed}: {} differences{all}", found.len())?;
    Ok(code)
}
