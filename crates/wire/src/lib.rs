//! The protocol between a process (its agent, or the command) and its namespace's broker.
//!
//! One `SOCK_SEQPACKET` socket a process; one packet a message; at most one descriptor beside it.
//! A request is a [`Head`] and the body of its [`Op`]; a reply is a [`Reply`] and the body that the request's
//! type names. Integers are in the machine's order: both ends are on one machine. Every request carries
//! `SCM_CREDENTIALS` with the caller's process, *effective* user and *effective* group, which the kernel vouches
//! for; nothing that a packet claims about its sender is believed. Requests marked *one-way* get no reply.
//!
//! A malformed packet ends its connection and no other. The page `docs/protocol.md` is this file in prose.
#![no_std]
#![forbid(unsafe_code)]

pub mod claim;
pub mod codec;
pub mod op;
pub mod reply;
pub mod request;

pub use codec::{Packet, decode, reply};
pub use op::Op;
pub use reply::Reply;
pub use request::Head;

/// First word of every request: protocol and version. A broker refuses any other with `EPROTO`.
pub const MAGIC: u32 = 0x3352_0001;

/// Longest packet either side sends. Longer payloads travel in a memfd.
pub const MAX_PACKET: usize = 64 * 1024;
