//! `--limit NAME=VALUE`: a namespace's limits as they are typed. proc(5), svipc(7).

use ring3_abi::ipc::IPCMNI;
use ring3_abi::limits::Limits;
use std::str::FromStr;

/// One `--limit`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One of the limits that is one number.
    One(&'static Name, u64),
    /// The four numbers of `sem`: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem([i64; 4]),
}

/// A limit by name: how far it may go, and where it stands.
#[derive(Debug)]
pub(crate) struct Name {
    word: &'static str,
    most: u64,
    set: fn(&mut Limits, u64),
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.word == other.word
    }
}

impl Eq for Name {}

const INT: u64 = i32::MAX as u64;
const MNI: u64 = IPCMNI as u64;

static NAMES: [Name; 12] = [
    Name { word: "msgmax", most: INT, set: |l, v| l.msgmax = v.cast_signed() },
    Name { word: "msgmnb", most: INT, set: |l, v| l.msgmnb = v.cast_signed() },
    Name { word: "msgmni", most: MNI, set: |l, v| l.msgmni = v.cast_signed() },
    Name { word: "semmsl", most: INT, set: |l, v| l.semmsl = v.cast_signed() },
    Name { word: "semmns", most: INT, set: |l, v| l.semmns = v.cast_signed() },
    Name { word: "semopm", most: INT, set: |l, v| l.semopm = v.cast_signed() },
    Name { word: "semmni", most: MNI, set: |l, v| l.semmni = v.cast_signed() },
    Name { word: "shmmax", most: u64::MAX, set: |l, v| l.shmmax = v },
    Name { word: "shmall", most: u64::MAX, set: |l, v| l.shmall = v },
    Name { word: "shmmni", most: MNI, set: |l, v| l.shmmni = v.cast_signed() },
    Name { word: "shm_rmid_forced", most: 1, set: |l, v| l.shm_rmid_forced = v.cast_signed() },
    Name { word: "auto_msgmni", most: 1, set: |l, v| l.auto_msgmni = v.cast_signed() },
];

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (word, value) = text.split_once('=').ok_or("give it as NAME=VALUE, for example msgmax=65536")?;
        if word == "sem" {
            return sem(value);
        }
        let Some(name) = NAMES.iter().find(|name| name.word == word) else {
            let words: Vec<&str> = NAMES.iter().map(|name| name.word).collect();
            return Err(format!("no limit {word:?}; there are {} and sem", words.join(", ")));
        };
        let value = number(value).ok_or_else(|| format!("{value:?} is no number (K, M, G may follow it)"))?;
        if value > name.most {
            return Err(format!("{word} may be at most {}", name.most));
        }
        Ok(Setting::One(name, value))
    }
}

/// The limits that `settings` make of the kernel's defaults; the last one of a name counts.
pub(crate) fn limits(settings: &[Setting]) -> Limits {
    let mut limits = Limits::default();
    for setting in settings {
        match *setting {
            Setting::One(name, value) => (name.set)(&mut limits, value),
            Setting::Sem([semmsl, semmns, semopm, semmni]) => {
                limits = Limits { semmsl, semmns, semopm, semmni, ..limits };
            }
        }
    }
    limits
}

/// Reads the four numbers of `sem`, separated as in /proc or by commas.
fn sem(value: &str) -> Result<Setting, String> {
    let parts: Option<Vec<u64>> =
        value.split([',', ' ', '\t']).filter(|part| !part.is_empty()).map(number).collect();
    match parts.as_deref() {
        Some(&[a, b, c, d]) if a.max(b).max(c) <= INT && d <= MNI => {
            Ok(Setting::Sem([a, b, c, d].map(u64::cast_signed)))
        }
        _ => Err("sem takes SEMMSL,SEMMNS,SEMOPM,SEMMNI, for example sem=250,32000,32,128".to_string()),
    }
}

/// Reads a number with an optional K, M or G behind it.
fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
