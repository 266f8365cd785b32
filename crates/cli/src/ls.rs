//! `ring3 ls`: what is in a namespace, as a table or as JSON.

use crate::args::Ls;
use crate::client::Client;
use crate::fault::{Fault, Result};
use crate::leak::{self, Leak};
use crate::manual;
use crate::table::{Side, Table};
use crate::users::Users;
use ring3_abi::Kind;

/// Lists and returns the exit status.
pub(crate) fn main(args: &Ls) -> Result<u8> {
    let mut client = Client::to(args.name.as_deref())?;
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        if args.kind.is_none_or(|only| Kind::from(only) == kind) {
            objects.extend(client.list(kind)?.iter().map(|detail| Leak::new(kind, detail)));
        }
    }
    let text = if args.json {
        let json = serde_json::to_string_pretty(&objects)
            .map_err(|why| Fault::new(format!("cannot write JSON: {why}")))?;
        json + "\n"
    } else {
        table(&objects)
    };
    manual::print(text.as_bytes())
}

fn table(objects: &[Leak]) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("KIND", Left),
        ("ID", Right),
        ("KEY", Left),
        ("OWNER", Left),
        ("MODE", Left),
        ("CONTENT", Left),
        ("USERS", Right),
        ("MADE BY", Left),
        ("LAST USE", Left),
    ]);
    let (users, now) = (Users::read(), leak::now());
    for object in objects {
        table.row(vec![
            object.kind.clone(),
            object.id.to_string(),
            format!("0x{:08x}", object.key),
            users.name(object.uid),
            format!("{:04o}", object.mode & 0o777),
            object.content(),
            if object.kind == "msg" { "-".to_string() } else { object.count.to_string() },
            object.maker(),
            object.used(now),
        ]);
    }
    let mut text = table.text();
    for held in objects.iter().filter_map(Leak::held) {
        text.push_str(&held);
        text.push('\n');
    }
    text
}
