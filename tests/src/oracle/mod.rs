//! The oracle: one program, the same System V calls, once on the kernel and once on ring3; what it prints must be equal.
//!
//! A *script* is a list of lines, each one call by one of a few worker processes (`script`). The driver binary (`ring3-oracle`)
//! plays it (`play`): it hands each call to its worker (`worker`) over a page of shared memory (`slot`), waits until the
//! worker has answered or provably sleeps (`watch`), and records the result and whoever else came back because of it.
//! `world` runs the driver in a fresh IPC namespace of the kernel and under `ring3 run`; `compare` puts the two records
//! side by side, `shrink` cuts a random script that differs down to its core.
//!
//! Hand-written scripts stand in [`cases`], one file a mechanism; random ones come from [`random`].

pub mod cases;
pub mod compare;
pub mod play;
pub mod random;
pub mod script;
pub mod slot;
pub mod sys;
pub mod watch;
pub mod worker;
pub mod world;

mod dump;
mod names;
mod perform;
mod show;
