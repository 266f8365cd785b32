//! The death command's options, and the choice of points that they make.

use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// So many points in all, not every one.
    pub(super) sample: Option<usize>,
    /// Where the sample's choice begins.
    pub(super) seed: u64,
    /// Stops instead of kills.
    pub(super) stop: bool,
    /// On the kernel's own System V IPC.
    pub(super) native: bool,
    /// This ring3 instead of the release build.
    pub(super) ring3: Option<PathBuf>,
    /// This case only (or those whose names begin so).
    pub(super) only: Option<String>,
    /// Workers at once, each on a CPU of its own.
    pub(super) jobs: usize,
    /// Prints the way of the victim, address by address, instead of killing it.
    pub(super) trace: bool,
    /// Prints the cases' names.
    pub(super) list: bool,
    /// Goes on at the point with this number.
    pub(super) from: usize,
    /// The broker is killed, at its system calls.
    pub(super) broker: bool,
    /// One point in so many.
    pub(super) every: usize,
}

impl Options {
    /// Reads them.
    pub(super) fn parse(arguments: &[String]) -> Result<Options, String> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Options { seed: 1, every: 1, jobs: cpus, ..Options::default() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--sample" => options.sample = Some(number(argument, value()?)?),
                "--seed" => options.seed = number(argument, value()?)?,
                "--jobs" => options.jobs = number::<usize>(argument, value()?)?.max(1),
                "--from" => options.from = number(argument, value()?)?,
                "--only" => options.only = Some(value()?.clone()),
                "--ring3" => options.ring3 = Some(value()?.into()),
                "--every" => options.every = number(argument, value()?)?,
                "--broker" => options.broker = true,
                "--stop" => options.stop = true,
                "--native" => options.native = true,
                "--trace" => options.trace = true,
                "--list" => options.list = true,
                other => return Err(format!("death: no option \"{other}\"")),
            }
        }
        Ok(options)
    }

    /// Chooses this worker's share of a case's points.
    pub(super) fn choose<P: Ord>(&self, mut all: Vec<P>) -> Vec<P> {
        if let Some(count) = self.sample.filter(|count| *count < all.len()) {
            let mut random = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for at in 0..count {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let left = all.len() - at;
                all.swap(at, at + (random % left as u64) as usize);
            }
            all.truncate(count);
        }
        all.sort();
        all.into_iter().skip(self.from).collect()
    }
}

/// Reads a number.
fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: \"{text}\" is not a number"))
}
