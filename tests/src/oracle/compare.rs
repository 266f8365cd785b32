//! Two records of one script side by side, and many scripts one after the other.

use super::random;
use super::script::Case;
use super::world::{Job, Output, Stage};
use proptest::strategy::ValueTree;
use std::fmt::{self, Display};
use std::io;
use std::thread;
use std::time::Duration;

/// Longest time for one script, seconds, before the driver is killed.
const ONE: u64 = 60;
/// Random scripts played by one driver.
const BATCH: u64 = 200;
/// How often a shrinking script is played at most.
const TRIALS: usize = 300;

/// A script whose records differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What it is called: a case's name, or seed and index.
    pub name: String,
    /// The script, as short as it could be made.
    pub lines: Vec<String>,
    /// The kernel's record.
    pub kernel: String,
    /// ring3's record.
    pub ring3: String,
    /// What else there is to say.
    pub remark: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DIFFERENCE in {}{}", self.name, self.remark)?;
        let (kernel, ring3): (Vec<&str>, Vec<&str>) =
            (self.kernel.lines().collect(), self.ring3.lines().collect());
        let same = kernel.iter().zip(&ring3).take_while(|(a, b)| a == b).count();
        let cut = |line: &&str| line.chars().take(400).collect::<String>();
        for line in kernel.iter().take(same) {
            // The state that both agree on says nothing.
            if !line.starts_with("  ") || line.starts_with("  =>") {
                writeln!(f, "          {}", cut(line))?;
            }
        }
        for (who, lines) in [("kernel: ", &kernel), ("ring3:  ", &ring3)] {
            for line in lines.iter().skip(same).take(4) {
                writeln!(f, "  {who}{}", cut(line))?;
            }
            if lines.len() == same {
                writeln!(f, "  {who}(nothing more)")?;
            }
        }
        Ok(())
    }
}

/// Runs a job in one world, then in the other.
fn in_turn(stages: &[Stage; 2], job: &Job, limit: Duration) -> io::Result<[Output; 2]> {
    Ok([stages[0].run(job, limit)?, stages[1].run(job, limit)?])
}

/// Runs a job in both worlds at once.
fn both(stages: &[Stage; 2], job: &Job, limit: Duration) -> io::Result<[Output; 2]> {
    let [kernel, ring3] = stages;
    let other = thread::scope(|scope| {
        let there = scope.spawn(|| ring3.run(job, limit));
        let here = kernel.run(job, limit);
        (here, there.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    });
    Ok([other.0?, other.1?])
}

/// What a world said, with its complaints if it did not end well.
fn said(output: &Output) -> String {
    if output.ok {
        return output.text.clone();
    }
    let complaints: String = output.complaints.lines().take(5).collect::<Vec<_>>().join("\n");
    format!("{}(the driver did not end well) {complaints}\n", output.text)
}

/// Plays one script in both worlds; `None`: no difference.
pub fn script(stages: &[Stage; 2], name: &str, lines: &[String]) -> io::Result<Option<Difference>> {
    let outputs = both(stages, &Job::Script(lines.to_vec()), Duration::from_secs(ONE))?;
    Ok(difference(name, lines, &outputs))
}

fn difference(name: &str, lines: &[String], [kernel, ring3]: &[Output; 2]) -> Option<Difference> {
    (kernel.text != ring3.text || !ring3.ok).then(|| Difference {
        name: name.to_string(),
        lines: lines.to_vec(),
        kernel: said(kernel),
        ring3: said(ring3),
        remark: String::new(),
    })
}

/// Plays a hand-written case.
pub fn case(stages: &[Stage; 2], case: &Case) -> io::Result<Option<Difference>> {
    let (job, limit) = (Job::Script(case.lines.clone()), Duration::from_secs(ONE));
    let outputs = if case.alone { in_turn(stages, &job, limit)? } else { both(stages, &job, limit)? };
    Ok(difference(&case.name, &case.lines, &outputs))
}

/// A run of many random scripts.
#[derive(Clone, Debug)]
pub struct Range {
    /// The seed of all of them.
    pub seed: u64,
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Stop after so many differences.
    pub enough: usize,
    /// Leave out lines with one of these words.
    pub without: Vec<String>,
}

/// Plays random scripts in both worlds; `progress` hears how many are done.
pub fn random(
    stages: &[Stage; 2],
    range: &Range,
    mut progress: impl FnMut(u64),
) -> io::Result<Vec<Difference>> {
    let (mut found, mut at, end) = (Vec::new(), range.from, range.from + range.count);
    while at < end && found.len() < range.enough {
        let count = BATCH.min(end - at);
        let job = Job::Random { seed: range.seed, from: at, count, without: range.without.clone() };
        let [kernel, ring3] = both(stages, &job, Duration::from_secs(ONE + count))?;
        match first_difference(at, count, &kernel, &ring3) {
            None => at += count,
            Some(index) => {
                found.push(narrow(stages, range, at, index, [&kernel, &ring3])?);
                at = index + 1;
            }
        }
        progress(at - range.from);
    }
    Ok(found)
}

/// The records in a driver's output, by index.
fn records(text: &str, from: u64) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    for index in from.. {
        let Some(tail) = rest.strip_prefix(&format!("# {index}\n")) else { break };
        let end = tail.find(&format!("\n# {}\n", index + 1)).map_or(tail.len(), |at| at + 1);
        all.push(&tail[..end]);
        rest = &tail[end..];
    }
    all
}

fn first_difference(from: u64, count: u64, kernel: &Output, ring3: &Output) -> Option<u64> {
    let (here, there) = (records(&kernel.text, from), records(&ring3.text, from));
    (0..count)
        .find(|&i| here.get(i as usize).is_none() || here.get(i as usize) != there.get(i as usize))
        .map(|i| from + i)
}

/// Plays the differing script alone and shrinks it; if it does not differ alone, shows it as it was.
fn narrow(
    stages: &[Stage; 2],
    range: &Range,
    from: u64,
    index: u64,
    out: [&Output; 2],
) -> io::Result<Difference> {
    let name = format!("seed {} script {index}", range.seed);
    let mut tree = random::tree(range.seed, index);
    let lines = |tree: &dyn ValueTree<Value = Vec<String>>| random::strip(tree.current(), &range.without);
    let Some(mut smallest) = script(stages, &name, &lines(&*tree))? else {
        let record = |output: &Output| {
            let found = records(&output.text, from).get((index - from) as usize).map(|r| r.to_string());
            found.unwrap_or_else(|| said(output).lines().rev().take(3).collect::<Vec<_>>().join("\n"))
        };
        return Ok(Difference {
            name,
            lines: lines(&*tree),
            kernel: record(out[0]),
            ring3: record(out[1]),
            remark: format!(
                " (only after the scripts from {from} on: --from {from} --sequences {})",
                index - from + 1
            ),
        });
    };
    let full = lines(&*tree).len();
    let mut going = tree.simplify();
    for _ in 0..TRIALS {
        if !going {
            break;
        }
        match script(stages, &name, &lines(&*tree))? {
            Some(smaller) => {
                smallest = smaller;
                going = tree.simplify();
            }
            None => going = tree.complicate(),
        }
    }
    smallest.remark = format!(" (shrunk from {full} lines to {})", smallest.lines.len());
    Ok(smallest)
}
