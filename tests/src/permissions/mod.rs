//! Permission, cell by cell: who (`identity.rs`) does what (`calls.rs`) to an object of which mode, and what the process holds then (`held.rs`).
//!
//! A cell's line says what the call answered and how the object looks to root afterwards. The same table is made in a fresh IPC namespace of
//! the kernel's and under `ring3 run`; `cargo xtask permissions` compares the two.

pub mod calls;
pub mod held;
pub mod identity;
pub mod scene;

/// Modes that make a difference.
pub const MODES: [u32; 18] = [
    0, 0o400, 0o200, 0o600, 0o040, 0o020, 0o060, 0o004, 0o002, 0o006, 0o444, 0o222, 0o666, 0o640, 0o604,
    0o111, 0o555, 0o777,
];

/// The modes of the short table.
pub const FEW: [u32; 5] = [0, 0o600, 0o040, 0o006, 0o444];

/// The user and the group that own the objects.
pub const OWNER: (u32, u32) = (1001, 2001);

/// The user and the group that created them.
pub const CREATOR: (u32, u32) = (1002, 2002);
