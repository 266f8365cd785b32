//! Users by name and by number, from /etc/passwd. passwd(5).
//!
//! No other name service is asked: the command must not load foreign libraries, and a number is always true.

use std::collections::HashMap;
use std::fs;

/// The machine's users.
pub(crate) struct Users(HashMap<u32, String>);

impl Users {
    /// Reads them; without the file there are none.
    pub(crate) fn read() -> Users {
        let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut users = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
                users.entry(uid).or_insert_with(|| name.to_string());
            }
        }
        Users(users)
    }

    /// The user's name, or the number when it has none.
    pub(crate) fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// The number of a user given by name or number.
    pub(crate) fn number(&self, user: &str) -> Option<u32> {
        let by_name = self.0.iter().find(|(_, name)| *name == user).map(|(uid, _)| *uid);
        by_name.or_else(|| user.parse().ok())
    }
}
