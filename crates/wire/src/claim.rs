//! What a client says in numbers. Nothing in a packet is believed: a number becomes what it means by one question each.
//!
//! Identifiers of objects stay plain: every number is one, and to look it up is the only thing that is ever done with it.

use core::fmt;
use core::marker::PhantomData;
use ring3_abi::Kind;
use ring3_abi::limits::Limit;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the protocol has a number for.
pub trait Numbered: Copy {
    /// What has this number.
    fn with_number(number: u32) -> Option<Self>;
    /// Its number.
    fn number(self) -> u32;
}

impl Numbered for Kind {
    fn with_number(number: u32) -> Option<Kind> {
        Kind::from_u32(number)
    }

    fn number(self) -> u32 {
        self as u32
    }
}

impl Numbered for Limit {
    fn with_number(number: u32) -> Option<Limit> {
        Limit::from_u32(number)
    }

    fn number(self) -> u32 {
        self as u32
    }
}

/// The number of an `E`, as somebody says. What it stands for, if for anything, [`Number::known`] says.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Number<E> {
    number: u32,
    of: PhantomData<E>,
}

impl<E: Numbered> Number<E> {
    /// What it stands for. `None`: nothing that this version knows.
    pub fn known(self) -> Option<E> {
        E::with_number(self.number)
    }

    /// Whether it stands for this.
    pub fn is(self, value: E) -> bool {
        self.number == value.number()
    }
}

impl<E: Numbered> From<E> for Number<E> {
    fn from(value: E) -> Number<E> {
        Number { number: value.number(), of: PhantomData }
    }
}

impl<E> Clone for Number<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Number<E> {}

impl<E> Default for Number<E> {
    fn default() -> Self {
        Number { number: 0, of: PhantomData }
    }
}

impl<E> PartialEq for Number<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Number<E> {}

impl<E> fmt::Debug for Number<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// A process's number as the client's own PID namespace has it, which may be another than the broker's: whom it means is found there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct OwnPid(pub u32);

impl OwnPid {
    /// The number for nobody.
    pub const NOBODY: OwnPid = OwnPid(0);
}
