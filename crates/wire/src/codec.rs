//! From bytes to messages and back, with every length checked.

use crate::{Head, MAGIC, Op, Reply};
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A request as received: which operation it asks for, and its body's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What is asked.
    pub op: Op,
    /// The calling thread, as it claims.
    pub tid: u32,
    /// To be given back.
    pub tag: u32,
    /// The rest.
    pub body: &'a [u8],
}

/// Reads a request's head. # Errors: `EPROTO` for anything that is no request of this version.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, Errno> {
    let (head, body) = Head::read_from_prefix(bytes).map_err(|_| Errno::EPROTO)?;
    if head.magic != MAGIC {
        return Err(Errno::EPROTO);
    }
    let op = Op::from_u32(head.op).ok_or(Errno::EPROTO)?;
    Ok(Packet { op, tid: head.tid, tag: head.tag, body })
}

impl<'a> Packet<'a> {
    /// Reads the body as exactly one `T`.
    pub fn body<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, Errno> {
        T::read_from_bytes(self.body).map_err(|_| Errno::EPROTO)
    }

    /// Reads the body as a `T` and what follows it.
    pub fn body_and_rest<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<(T, &'a [u8]), Errno> {
        T::read_from_prefix(self.body).map_err(|_| Errno::EPROTO)
    }
}

/// Makes a request's head.
pub fn head(op: Op, tid: u32, tag: u32) -> Head {
    Head { magic: MAGIC, op: op as u32, tid, tag }
}

/// Writes `head` and `body` into `out` and returns the packet's bytes, or `None` if `out` is too short.
pub fn encode<'o>(
    out: &'o mut [u8],
    head: &(impl IntoBytes + Immutable),
    body: &[u8],
    rest: &[u8],
) -> Option<&'o [u8]> {
    let mut at = 0usize;
    for part in [head.as_bytes(), body, rest] {
        out.get_mut(at..at.checked_add(part.len())?)?.copy_from_slice(part);
        at += part.len();
    }
    out.get(..at)
}

/// Splits a reply into its head and body. # Errors: `EPROTO` if it is shorter than a head.
pub fn reply(bytes: &[u8]) -> Result<(Reply, &[u8]), Errno> {
    Reply::read_from_prefix(bytes).map_err(|_| Errno::EPROTO)
}
