//! The two worlds: a fresh IPC namespace of the kernel's, and `ring3 run`.

use super::sys;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where scripts are played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum World {
    /// The kernel's own System V IPC.
    Kernel,
    /// ring3: the command's path.
    Ring3(PathBuf),
}

/// What the driver is to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// One script.
    Script(Vec<String>),
    /// Random scripts `from` to `from + count - 1` of a seed.
    Random {
        /// The seed.
        seed: u64,
        /// The first.
        from: u64,
        /// How many.
        count: u64,
        /// Lines with one of these words are left out.
        without: Vec<String>,
    },
}

/// How a job is run: the driver's binary, and where.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The driver (`ring3-oracle`).
    pub driver: PathBuf,
    /// The world.
    pub world: World,
    /// The CPU everything runs on; `None`: on all.
    pub cpu: Option<usize>,
}

/// Priority of what must run before the workers: ring3's broker.
const BEFORE_WORKERS: i32 = 20;

/// What a job printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output.
    pub text: String,
    /// Standard error.
    pub complaints: String,
    /// Whether it ended by itself, successfully.
    pub ok: bool,
}

impl Stage {
    /// Runs a job to its end, or kills it after `limit`.
    pub fn run(&self, job: &Job, limit: Duration) -> io::Result<Output> {
        let mut command = self.command(job);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if let Some(cpu) = self.cpu {
            // SAFETY: between fork and exec only system calls are made.
            unsafe {
                command.pre_exec(move || {
                    sys::pin(cpu)?;
                    // Without the right to it everything works, with more looks at /proc.
                    let _ = sys::schedule(BEFORE_WORKERS);
                    Ok(())
                });
            }
        }
        let mut child = command.spawn()?;
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        if let (Some(mut input), Job::Script(lines)) = (child.stdin.take(), job) {
            // A driver that is gone already says why itself.
            let _ = input.write_all((lines.join("\n") + "\n").as_bytes());
        }
        let ok = end(&mut child, limit)?;
        let join = |h: thread::JoinHandle<String>| h.join().unwrap_or_default();
        Ok(Output { text: join(out), complaints: join(err), ok })
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = match &self.world {
            World::Kernel => {
                let mut command = Command::new(&self.driver);
                command.arg("kernel");
                command
            }
            World::Ring3(ring3) => {
                let mut command = Command::new(ring3);
                command.args(["run", "--quiet", "--"]).arg(&self.driver).arg("here");
                command
            }
        };
        command.arg(self.cpu.map_or("spread".to_string(), |cpu| cpu.to_string()));
        match job {
            Job::Script(_) => command.arg("script"),
            Job::Random { seed, from, count, without } => {
                command.arg("random").args([seed, from, count].map(u64::to_string)).args(without)
            }
        };
        command
    }
}

fn drain<R: Read + Send + 'static>(from: Option<R>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the child; after `limit` its whole group is killed.
fn end(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    let pidfd = sys::pidfd(child.id())?;
    let left = || limit.saturating_sub(begun.elapsed());
    if sys::readable(&pidfd, left()) {
        return Ok(child.wait()?.success());
    }
    sys::kill_group(child.id());
    child.wait()?;
    Ok(false)
}

/// The stages of the two worlds, each on a CPU of its own. With `spread` the second one has all CPUs: then its own spinning and
/// its wake-ups between CPUs are tried too. The first stays on one CPU, where the kernel's order is first come, first served;
/// on several, which of two woken senders finds room first is a race.
pub fn stages(driver: &Path, other: World, spread: bool) -> [Stage; 2] {
    let cpus = sys::cpus();
    let stage = |world, cpu| Stage { driver: driver.to_path_buf(), world, cpu };
    let (first, last) = (cpus.first().copied(), cpus.last().copied());
    [stage(World::Kernel, first), stage(other, last.filter(|_| !spread))]
}
