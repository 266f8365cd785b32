//! `--limit NAME=VALUE` and `--share PERCENT`: a namespace's limits, and what of them one user may have, as they are typed. proc(5), svipc(7).

use crate::notify::FdStore;
use ring3_abi::limits::{Limit, Limits};
use ring3_broker::Share;
use std::str::FromStr;

/// One `--limit`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One of the limits that is one number; an unsigned one as its bits.
    One(Limit, i64),
    /// The four numbers of `sem`: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    Sem([i64; 4]),
}

/// What a namespace is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Its limits.
    pub(crate) limits: Limits,
    /// What one user may have of them.
    pub(crate) share: Share,
    /// What keeps its descriptors when all its processes are dead.
    pub(crate) store: Option<FdStore>,
}

/// The terms that `settings` make of the kernel's defaults.
pub(crate) fn terms(settings: &[Setting], share: Share) -> Terms {
    Terms { limits: limits(settings), share, store: None }
}

/// Reads a share.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    percent.and_then(Share::percent).ok_or_else(|| "give it as a number from 1 to 100".to_string())
}

/// The numbers of `sem`, in their order.
const SEM: [Limit; 4] = [Limit::Semmsl, Limit::Semmns, Limit::Semopm, Limit::Semmni];

/// The limits that a namespace can be started with: all but those that the next object uses up.
fn settable() -> impl Iterator<Item = Limit> {
    Limit::ALL.into_iter().filter(|limit| !limit.is_next_id())
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (word, value) = text.split_once('=').ok_or("give it as NAME=VALUE, for example msgmax=65536")?;
        if word == "sem" {
            return sem(value);
        }
        let Some(limit) = settable().find(|limit| limit.row().name == word) else {
            let words: Vec<&str> = settable().map(|limit| limit.row().name).collect();
            return Err(format!("no limit {word:?}; there are {} and sem", words.join(", ")));
        };
        let value = number(value).ok_or_else(|| format!("{value:?} is no number (K, M, G may follow it)"))?;
        let most = limit.row().range.most();
        if value > most {
            return Err(format!("{word} may be at most {most}"));
        }
        Ok(Setting::One(limit, value.cast_signed()))
    }
}

/// The limits that `settings` make of the kernel's defaults; the last one of a name counts.
fn limits(settings: &[Setting]) -> Limits {
    let mut limits = Limits::default();
    for setting in settings {
        match *setting {
            Setting::One(limit, value) => limits.put(limit, value),
            Setting::Sem(values) => {
                SEM.iter().zip(values).for_each(|(&limit, value)| limits.put(limit, value))
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
        Some(&[a, b, c, d])
            if SEM.iter().zip([a, b, c, d]).all(|(limit, n)| n <= limit.row().range.most()) =>
        {
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
