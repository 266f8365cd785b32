//! Scripts: what they can say and how it is written.
//!
//! One line is one step:
//!
//! ```text
//! 0: q = msgget(5, IPC_CREAT|0600)       worker 0 calls; the result is kept as q
//! 1: msgsnd(q, {3 abc}, _, IPC_NOWAIT)   type 3, text abc; _ is the length of the literal
//! 1: msgrcv(q, OUT, 10, 0-3, 0)          may sleep: the step ends when it provably does
//! 2: semop(s, [0-1u 1+2 2=0n], _)        u: SEM_UNDO, n: IPC_NOWAIT
//! 2: semtimedop(s, [0-1], _, 5ms)        short times are waited out, long ones (1h) are not
//! 0: semctl(s, 0, SETALL, <1 2 3>)       0: msgctl(q, IPC_SET, {uid=0 gid=0 mode=0600 qbytes=99})
//! 1?: shmdt(a)                           worker 1 or, if it is in a call, the next of 0 to 3 that is free
//! signal 1   kill 1   stop 1   cont 1   tick   dump
//! ```
//!
//! Numbers are decimal, octal (0…) or hexadecimal, joined by `+ - | & *` from left to right; capitals are the manual
//! pages' words, small letters are kept results (-1 before they exist). A worker is started by the first line that names it.
//! `tick` waits for the next second, so that times can be told apart; `dump` prints everything there is.

use super::names;
use std::collections::HashMap;

/// One hand-written script.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The row of docs/deviations.md that it shows, if kernel and ring3 differ on purpose here.
    pub deviates: Option<String>,
    /// Counts something of the whole machine: the worlds take turns.
    pub alone: bool,
    /// What must hold for it to say anything (see `support::has`).
    pub needs: Vec<String>,
    /// The steps.
    pub lines: Vec<String>,
}

/// Cuts a file of cases into cases: `case NAME` starts one; `needs`, `alone` and `deviates` say more about it, `repeat N LINE ; LINE`
/// stands for its lines N times, `#` starts a comment.
pub fn cases(text: &str) -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("case ") {
            all.push(Case {
                name: name.to_string(),
                deviates: None,
                alone: false,
                needs: Vec::new(),
                lines: Vec::new(),
            });
        } else if let Some(case) = all.last_mut() {
            match line.split_once(' ') {
                Some(("deviates", key)) => case.deviates = Some(key.to_string()),
                Some(("needs", what)) => case.needs.push(what.to_string()),
                Some(("repeat", rest)) => case.lines.extend(repeated(rest)),
                None if line == "alone" => case.alone = true,
                _ => case.lines.push(line.to_string()),
            }
        }
    }
    all
}

/// `N LINE ; LINE`: these lines, N times.
fn repeated(rest: &str) -> Vec<String> {
    let (times, lines) = rest.split_once(' ').unwrap_or((rest, ""));
    let lines: Vec<String> = lines.split(';').map(|line| line.trim().to_string()).collect();
    std::iter::repeat_n(lines, times.parse().unwrap_or(0)).flatten().collect()
}

macro_rules! ops {
    ($($name:ident = $word:literal;)*) => {
        /// What a worker can be told to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "each is the call of that name")]
        pub enum Op { $($name,)* }

        impl Op {
            const ALL: &[(Op, &'static str)] = &[$((Op::$name, $word),)*];
        }
    };
}

ops! {
    Msgget = "msgget"; Msgsnd = "msgsnd"; Msgrcv = "msgrcv"; Msgctl = "msgctl";
    Semget = "semget"; Semop = "semop"; Semtimedop = "semtimedop"; Semctl = "semctl";
    Shmget = "shmget"; Shmat = "shmat"; Shmdt = "shmdt"; Shmctl = "shmctl";
    Ftok = "ftok"; Peek = "peek"; Poke = "poke"; Mmap = "mmap"; Munmap = "munmap"; Mprotect = "mprotect"; Mremap = "mremap";
    Fork = "fork"; Vfork = "vfork"; Thread = "thread"; Exec = "exec"; Exit = "exit"; Wait = "wait"; Become = "become";
    Seteuid = "seteuid"; Setegid = "setegid"; CapDrop = "capdrop"; Handler = "handler"; Rlimit = "rlimit";
    Sysctl = "sysctl"; Cat = "cat"; Write = "write"; Access = "access"; Fill = "fill"; Unshare = "unshare_sem";
    Hide = "hide"; Forbid = "forbid";
}

impl Op {
    /// The operation of that name.
    pub fn from_word(word: &str) -> Option<Op> {
        Op::ALL.iter().find(|(_, name)| *name == word).map(|&(op, _)| op)
    }

    /// The operation with that number.
    pub fn from_u32(number: u32) -> Option<Op> {
        Op::ALL.get(number as usize).map(|&(op, _)| op)
    }

    /// Whether a call may sleep until somebody else does something.
    pub fn may_sleep(self) -> bool {
        matches!(self, Op::Msgsnd | Op::Msgrcv | Op::Semop | Op::Semtimedop)
    }
}

/// A number as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr(Vec<(char, Term)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Number(i64),
    Word(String),
}

impl Expr {
    /// Its value in a call by worker `who`; unknown words are -1.
    pub fn eval(&self, who: usize, kept: &HashMap<String, i64>) -> i64 {
        self.0.iter().fold(0, |sum, (sign, term)| {
            let value = match term {
                Term::Number(n) => *n,
                Term::Word(w) => names::lookup(w, who).or_else(|| kept.get(w).copied()).unwrap_or(-1),
            };
            match sign {
                '-' => sum.wrapping_sub(value),
                '|' => sum | value,
                '&' => sum & value,
                '*' => sum.wrapping_mul(value),
                _ => sum.wrapping_add(value),
            }
        })
    }
}

/// An argument as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number or an address.
    Number(Expr),
    /// `_`: the length of the literal before it.
    Natural,
    /// `[0-1u …]`: semaphore, what to add, flags.
    Sops(Vec<(u16, i16, i16)>),
    /// `{TYPE TEXT}`.
    Message(Expr, Vec<u8>),
    /// `{uid=… gid=… mode=… qbytes=…}`.
    Fields(Vec<(String, Expr)>),
    /// `<1 2 3>`, `<7*100>`: 16-bit values.
    Values(Vec<u16>),
    /// `5ms`, `2s`, `1h`, `time(SEC NSEC)`.
    Time(i64, i64),
    /// `"text"` or `|text|`.
    Text(String),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A worker calls.
    Call {
        /// Which worker.
        who: usize,
        /// `1?`: or else the next one that is free.
        any: bool,
        /// The name its result is kept under.
        keep: Option<String>,
        /// What it calls.
        op: Op,
        /// The arguments.
        args: Vec<Arg>,
    },
    /// SIGUSR1 to a worker.
    Signal(usize),
    /// SIGKILL to a worker's process; reaped at once if the driver started it.
    Kill(usize),
    /// SIGSTOP.
    Stop(usize),
    /// SIGCONT.
    Cont(usize),
    /// The next second.
    Tick,
    /// Everything there is.
    Dump,
}

/// How many workers a script can have.
pub const WORKERS: usize = 8;

/// A line that is not a step.
#[derive(Debug, thiserror::Error)]
#[error("not a step: {line:?}: {what}")]
pub struct BadLine {
    line: String,
    what: &'static str,
}

impl Step {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Step, BadLine> {
        parse(line).map_err(|what| BadLine { line: line.to_string(), what })
    }
}

fn parse(line: &str) -> Result<Step, &'static str> {
    match line.trim() {
        "tick" => return Ok(Step::Tick),
        "dump" => return Ok(Step::Dump),
        _ => {}
    }
    if let Some((verb, who)) = line.trim().split_once(' ') {
        let make: Option<fn(usize) -> Step> = match verb {
            "signal" => Some(Step::Signal),
            "kill" => Some(Step::Kill),
            "stop" => Some(Step::Stop),
            "cont" => Some(Step::Cont),
            _ => None,
        };
        if let Some(make) = make {
            return Ok(make(worker(who)?));
        }
    }
    let (who, rest) = line.split_once(':').ok_or("no worker")?;
    let any = who.ends_with('?');
    let who = worker(who.trim_end_matches('?'))?;
    let open = rest.find('(').ok_or("no call")?;
    let head = rest.get(..open).ok_or("no call")?;
    let inner =
        rest.get(open + 1..).and_then(|r| r.trim_end().strip_suffix(')')).ok_or("no closing parenthesis")?;
    let (keep, word) = match head.split_once('=') {
        Some((keep, word)) => (Some(keep.trim().to_string()), word.trim()),
        None => (None, head.trim()),
    };
    let op = Op::from_word(word).ok_or("no such call")?;
    let args = pieces(inner).into_iter().map(|piece| arg(piece.trim())).collect::<Result<_, _>>()?;
    Ok(Step::Call { who, any, keep, op, args })
}

fn worker(text: &str) -> Result<usize, &'static str> {
    text.trim().parse().ok().filter(|&n: &usize| n < WORKERS).ok_or("no such worker")
}

/// Cuts at the commas that are not inside brackets or quotes.
fn pieces(text: &str) -> Vec<&str> {
    let (mut all, mut depth, mut quoted, mut from) = (Vec::new(), 0, false, 0);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' | '<' if !quoted => depth += 1,
            ')' | ']' | '}' | '>' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                all.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        all.push(&text[from..]);
    }
    all
}

fn arg(text: &str) -> Result<Arg, &'static str> {
    let inside = |close: char| text.get(1..).and_then(|t| t.strip_suffix(close)).ok_or("unclosed literal");
    match text.chars().next() {
        None => Err("empty argument"),
        Some('_') => Ok(Arg::Natural),
        Some(quote @ ('"' | '|')) => Ok(Arg::Text(inside(quote)?.to_string())),
        Some('[') => inside(']')?.split_whitespace().map(sop).collect::<Result<_, _>>().map(Arg::Sops),
        Some('<') => values(inside('>')?).map(Arg::Values),
        Some('{') => braces(inside('}')?),
        Some(_) => match time(text) {
            Some((sec, nsec)) => Ok(Arg::Time(sec, nsec)),
            None => expr(text).map(Arg::Number),
        },
    }
}

/// `NUM(+|-|=)OP[u][n]`
fn sop(text: &str) -> Result<(u16, i16, i16), &'static str> {
    let at = text.find(['+', '-', '=']).ok_or("operation without + - =")?;
    let num = number(&text[..at])? as u16;
    let sign = if text[at..].starts_with('-') { -1 } else { 1 };
    let digits = text[at + 1..].trim_end_matches(['u', 'n']);
    let flags = &text[at + 1 + digits.len()..];
    let undo = if flags.contains('u') { 0x1000 } else { 0 };
    let nowait = if flags.contains('n') { 0o4000 } else { 0 };
    Ok((num, (number(digits)? * sign) as i16, undo | nowait))
}

fn values(text: &str) -> Result<Vec<u16>, &'static str> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('*') {
            Some((value, times)) => {
                all.extend(std::iter::repeat_n(number(value)? as u16, number(times)? as usize))
            }
            None => all.push(number(word)? as u16),
        }
    }
    Ok(all)
}

fn braces(text: &str) -> Result<Arg, &'static str> {
    if text.contains('=') {
        let field = |word: &str| {
            let (name, value) = word.split_once('=').ok_or("field without =")?;
            Ok((name.to_string(), expr(value)?))
        };
        return text.split_whitespace().map(field).collect::<Result<_, _>>().map(Arg::Fields);
    }
    let (mtype, body) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let body = match body.split_once('*') {
        Some((unit, times)) => unit.repeat(number(times)? as usize),
        None => body.to_string(),
    };
    Ok(Arg::Message(expr(mtype)?, body.into_bytes()))
}

fn time(text: &str) -> Option<(i64, i64)> {
    if let Some(inner) = text.strip_prefix("time(") {
        let (sec, nsec) = inner.strip_suffix(')')?.split_once(' ')?;
        return Some((sec.parse().ok()?, nsec.parse().ok()?));
    }
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let n: i64 = text[..at].parse().ok()?;
    match &text[at..] {
        "ms" => Some((n / 1000, n % 1000 * 1_000_000)),
        "s" => Some((n, 0)),
        "h" => Some((n * 3600, 0)),
        _ => None,
    }
}

fn number(text: &str) -> Result<i64, &'static str> {
    let parsed = if let Some(hex) = text.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        i64::from_str_radix(&text[1..], 8)
    } else {
        text.parse().or_else(|_| text.parse().map(u64::cast_signed))
    };
    parsed.map_err(|_| "not a number")
}

fn expr(text: &str) -> Result<Expr, &'static str> {
    let (mut terms, mut sign, mut from) = (Vec::new(), '+', 0);
    let ends = text.char_indices().filter(|&(_, c)| "+-|&*".contains(c)).chain([(text.len(), ' ')]);
    for (at, c) in ends {
        let word = text[from..at].trim();
        if word.is_empty() && at == 0 && c == '-' {
            (sign, from) = (c, 1);
            continue;
        }
        let term = match word.chars().next() {
            None => return Err("operator without a term"),
            Some(d) if d.is_ascii_digit() => Term::Number(number(word)?),
            Some(_) if word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                Term::Word(word.to_string())
            }
            Some(_) => return Err("not a number or a word"),
        };
        terms.push((sign, term));
        (sign, from) = (c, at + 1);
    }
    Ok(Expr(terms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str) -> i64 {
        expr(text).expect(text).eval(0, &HashMap::from([("q".to_string(), 7)]))
    }

    #[test]
    fn expressions() {
        assert_eq!(eval("IPC_CREAT|0600"), 0o1600);
        assert_eq!(eval("-3"), -3);
        assert_eq!(eval("q+32768"), 32775);
        assert_eq!(eval("q & 3"), 3);
        assert_eq!(eval("unset"), -1);
        assert_eq!(eval("KERNEL") as u64, 0xffff_8000_0000_0000);
    }

    #[test]
    fn steps() {
        let step = Step::parse("1: msgsnd(q, {3 a*4}, _, IPC_NOWAIT)").expect("parses");
        let Step::Call { who: 1, any: false, keep: None, op: Op::Msgsnd, args } = step else {
            panic!("{step:?}")
        };
        assert!(matches!(&args[1], Arg::Message(_, text) if text == b"aaaa"));
        let step = Step::parse("0: semop(s, [0-1u 1+2 2=0n], _)").expect("parses");
        let Step::Call { args, .. } = step else { panic!("{step:?}") };
        assert_eq!(args[1], Arg::Sops(vec![(0, -1, 0x1000), (1, 2, 0), (2, 0, 0o4000)]));
        assert!(Step::parse("0: nosuch(1)").is_err());
        assert_eq!(Step::parse("kill 2").expect("parses"), Step::Kill(2));
    }
}
