//! A call's arguments, as a worker takes them from its slot: numbers, and the bytes that others point to.

use super::Player;
use crate::oracle::script::{Arg, Op};
use crate::oracle::slot::Value;

impl Player {
    pub(super) fn encode(&self, who: usize, op: Op, args: &[Arg]) -> (Vec<Value>, Vec<u8>) {
        let (mut values, mut data, mut natural) = (Vec::new(), Vec::new(), 0);
        for arg in args {
            let mut bytes = Vec::new();
            let mut number = None;
            match arg {
                Arg::Number(expr) => number = Some(expr.eval(who, &self.kept)),
                Arg::Natural => number = Some(natural),
                Arg::Sops(sops) => {
                    for (num, op, flags) in sops {
                        bytes.extend(num.to_ne_bytes());
                        bytes.extend(op.to_ne_bytes());
                        bytes.extend(flags.to_ne_bytes());
                    }
                    natural = sops.len() as i64;
                }
                Arg::Message(mtype, text) => {
                    bytes.extend(mtype.eval(who, &self.kept).to_ne_bytes());
                    bytes.extend(text);
                    natural = text.len() as i64;
                }
                Arg::Fields(fields) => {
                    for name in ["uid", "gid", "mode", "qbytes"] {
                        let value = fields.iter().find(|(known, _)| known == name);
                        bytes.extend(value.map_or(0, |(_, e)| e.eval(who, &self.kept)).to_ne_bytes());
                    }
                }
                Arg::Values(all) => {
                    bytes.extend(all.iter().flat_map(|v| v.to_ne_bytes()));
                    natural = all.len() as i64;
                }
                Arg::Time(sec, nsec) => {
                    bytes.extend(sec.to_ne_bytes());
                    bytes.extend(nsec.to_ne_bytes());
                }
                Arg::Text(text) => {
                    bytes.extend(text.as_bytes());
                    bytes.push(0);
                }
            }
            values.push(match number {
                Some(number) => Value { number, len: -1 },
                None => Value { number: data.len() as i64, len: bytes.len() as i64 },
            });
            data.extend(bytes);
        }
        if op == Op::Wait
            && let Some(value) = values.first_mut()
            && let Some(process) = self.workers.get(value.number as usize).and_then(Option::as_ref)
        {
            value.number = i64::from(process.pid);
        }
        (values, data)
    }
}
