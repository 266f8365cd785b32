//! What a namespace's programs left behind, and the line that says so.

use crate::users::Users;
use ring3_abi::Kind;
use ring3_wire::reply::Detail;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::time::SystemTime;

/// One object left behind; also one line of `ring3 ls`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leak {
    /// `msg`, `sem` or `shm`.
    pub(crate) kind: String,
    /// Identifier.
    pub(crate) id: i32,
    /// Key.
    pub(crate) key: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Owner's group.
    pub(crate) gid: u32,
    /// Permission bits and flags.
    pub(crate) mode: u32,
    /// msg: bytes queued; sem: semaphores; shm: bytes.
    pub(crate) size: u64,
    /// msg: messages queued; sem: sleepers; shm: attachments.
    pub(crate) count: u64,
    /// Process that made it.
    pub(crate) creator: u32,
    /// Its name.
    pub(crate) creator_name: String,
    /// Last use, seconds since 1970; 0 never.
    pub(crate) last_use: i64,
    /// Made or changed, seconds since 1970.
    pub(crate) ctime: i64,
    /// Process that its lock names at this moment; 0 none.
    pub(crate) holder: u32,
}

impl Leak {
    /// Reads the broker's answer.
    pub(crate) fn new(kind: Kind, detail: &Detail) -> Leak {
        let name = detail.creator_name.split(|byte| *byte == 0).next().unwrap_or_default();
        Leak {
            kind: kind.word().to_string(),
            id: detail.id,
            key: detail.key.cast_unsigned(),
            uid: detail.uid,
            gid: detail.gid,
            mode: detail.mode,
            size: detail.size,
            count: detail.count,
            creator: detail.creator,
            creator_name: String::from_utf8_lossy(name).into_owned(),
            last_use: detail.last_use,
            ctime: detail.ctime,
            holder: detail.holder,
        }
    }

    /// The process that holds its lock, and what that does; `None` if there is none.
    pub(crate) fn held(&self) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.holder)).unwrap_or_default();
        // The name in parentheses may hold anything, so what follows starts at the last one.
        let state = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        let does = match state {
            Some('R') => "runs or waits for a CPU",
            Some('S') => "sleeps",
            Some('D') => "waits in the kernel, or is frozen",
            Some('T') => "is stopped",
            Some('t') => "is stopped by a debugger",
            Some(_) => "has ended",
            None => "is not to be seen here",
        };
        let line =
            || format!("{} {} is in the hands of process {}, which {does}", self.kind, self.id, self.holder);
        (self.holder != 0).then(line)
    }

    /// What is in it.
    pub(crate) fn content(&self) -> String {
        match self.kind.as_str() {
            "msg" => format!("{}, {}", many(self.count, "message"), many(self.size, "byte")),
            "sem" => many(self.size, "semaphore"),
            _ => many(self.size, "byte"),
        }
    }

    /// The process that made it.
    pub(crate) fn maker(&self) -> String {
        let name: String = self.creator_name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if name.is_empty() { self.creator.to_string() } else { format!("{} ({name})", self.creator) }
    }

    /// When it was used last.
    pub(crate) fn used(&self, now: i64) -> String {
        if self.last_use == 0 { "never".to_string() } else { ago(now - self.last_use) }
    }

    fn line(&self, users: &Users, now: i64) -> String {
        format!(
            "ring3: left behind: {} {}, key 0x{:08x}, owner {}, {}, made by {}, {}",
            self.kind,
            self.id,
            self.key,
            users.name(self.uid),
            self.content(),
            self.maker(),
            if self.last_use == 0 {
                "never used".to_string()
            } else {
                format!("last used {}", self.used(now))
            },
        )
    }
}

/// Says on standard error what was left, one line each.
pub(crate) fn say(leaks: &[Leak]) {
    if leaks.is_empty() {
        return;
    }
    let (users, now) = (Users::read(), now());
    let mut text = String::new();
    for leak in leaks {
        text.push_str(&leak.line(&users, now));
        text.push('\n');
    }
    // If standard error is gone there is nowhere left to say so, and CMD's status matters more.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed())
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..1 => "just now".to_string(),
        1..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
