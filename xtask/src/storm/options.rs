//! The storm's command line.

use super::ledger::WORKERS;
use std::path::PathBuf;
use std::time::Duration;

/// Who is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kills {
    pub(super) clients: bool,
    pub(super) broker: bool,
    pub(super) keeper: bool,
}

impl Kills {
    /// From words with commas.
    fn parse(words: &str) -> Result<Kills, String> {
        let mut kills = Kills::default();
        for word in words.split(',') {
            match word {
                "clients" => kills.clients = true,
                "broker" => kills.broker = true,
                "keeper" => kills.keeper = true,
                other => return Err(format!("--kill {other}: it takes clients, broker and keeper")),
            }
        }
        Ok(kills)
    }

    fn words(self) -> String {
        let all = [(self.clients, "clients"), (self.broker, "broker"), (self.keeper, "keeper")];
        all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) time: Duration,
    pub(super) kills: Kills,
    pub(super) workers: usize,
    pub(super) seed: u64,
    /// The kernel's own System V IPC: is the storm itself right?
    pub(super) native: bool,
    pub(super) ring3: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    pub(super) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            time: Duration::from_secs(60),
            kills: Kills { clients: true, broker: false, keeper: false },
            workers: 16,
            seed: 1,
            native: false,
            ring3: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--minutes" => {
                    options.time = Duration::from_secs_f64(60.0 * number::<f64>(value()?)?.max(0.0))
                }
                "--seconds" => options.time = Duration::from_secs(number(value()?)?),
                "--kill" => options.kills = Kills::parse(value()?)?,
                "--workers" => options.workers = number(value()?)?,
                "--seed" => options.seed = number(value()?)?,
                "--native" => options.native = true,
                "--ring3" => options.ring3 = Some(PathBuf::from(value()?)),
                other => return Err(format!("storm: no option \"{other}\"")),
            }
        }
        if !(8..=WORKERS).contains(&options.workers) {
            return Err(format!("--workers: 8 to {WORKERS}"));
        }
        if options.native && (options.kills.broker || options.kills.keeper) {
            return Err("--native: the kernel has no broker to kill".to_owned());
        }
        Ok(options)
    }

    /// The same as arguments for the process inside.
    pub(super) fn words(&self) -> Vec<String> {
        let seconds = self.time.as_secs().max(1).to_string();
        let (workers, seed, kills) = (self.workers.to_string(), self.seed.to_string(), self.kills.words());
        let mut words: Vec<String> =
            ["--seconds", &seconds, "--workers", &workers, "--seed", &seed, "--kill", &kills]
                .map(str::to_owned)
                .to_vec();
        if self.native {
            words.push("--native".to_owned());
        }
        words
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("\"{word}\" is no number"))
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn what_is_asked_for_comes_through() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let options =
            Options::parse(&words(&["--minutes", "0.5", "--kill", "clients,broker"])).expect("good");
        let again = Options::parse(&options.words()).expect("good");
        assert_eq!((again.time, again.kills), (options.time, options.kills));
        assert!(options.kills.broker && !options.kills.keeper && options.time.as_secs() == 30);
        assert!(Options::parse(&words(&["--kill", "cats"])).is_err());
        assert!(Options::parse(&words(&["--native", "--kill", "broker"])).is_err());
    }
}
