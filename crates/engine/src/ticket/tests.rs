//! What a sleeper needs to be woken survives whatever comes between it and its server.
#![allow(unreachable_pub, reason = "a layout's fields are public")]

use super::layout::{Half, Place};
use super::{Queue, Ticket, Tickets};
use crate::atomic::AtomicU64;
use crate::host::Caller;
use crate::journal::{Entry, Tx};
use crate::layout;
use crate::object::Header;
use crate::region::{Region, Table};
use crate::testing::Heap;

layout! {
    /// A half that holds nothing.
    Nothing[32] {
        /// Unused.
        spare: [AtomicU64; 4],
    }
}
impl Half for Nothing {}

const OWNER: Caller = Caller { pid: 100, tid: 200, life: 0 };
const JOURNAL: Table<Entry> = Table::new(256, 32);
const TICKETS: Table<Place> = Table::new(1024, 4);

fn change(region: Region<'_>) -> Tx<'_> {
    Tx::begin(region, region.at::<Header>(0).unwrap(), JOURNAL.lies_in(region).unwrap())
}

/// Runs a test with one ticket that waits.
fn with_sleeper(test: impl FnOnce(Region<'_>, Tickets<'_, Nothing>, &Queue, Ticket)) {
    let heap = Heap::new(4096);
    let region = heap.region();
    let tickets = Tickets::new(region, region.at(0).unwrap(), TICKETS);
    let queue = region.at::<Queue>(128).unwrap();
    let mut tx = change(region);
    let (ticket, _) = tickets.take_to_wait(&mut tx, OWNER, 0).unwrap();
    tickets.push(&mut tx, queue, ticket).unwrap();
    tx.commit();
    test(region, tickets, queue, ticket);
}

#[test]
fn who_parked_is_woken_and_who_looks_is_not() {
    for parks in [false, true] {
        with_sleeper(|region, tickets, queue, ticket| {
            assert!(!parks || tickets.wait_word(ticket).unwrap().mark_parked());
            let mut tx = change(region);
            assert_eq!(tickets.serve(&mut tx, queue, ticket, 0), Ok(parks));
            tx.commit();
            assert!(tickets.get(ticket).unwrap().state().is_done() && queue.is_empty());
            assert!(!tickets.wait_word(ticket).unwrap().mark_parked());
        });
    }
}

/// The owner may have parked between the server's look at the word and its swap, and sleeps on when the change is rolled back.
#[test]
fn a_rollback_forgets_no_sleeper() {
    with_sleeper(|region, tickets, queue, ticket| {
        let mut tx = change(region);
        assert_eq!(tickets.serve(&mut tx, queue, ticket, 0), Ok(false));
        drop(tx);
        assert!(tickets.get(ticket).unwrap().state().waits() && !queue.is_empty());
        assert!(!tickets.wait_word(ticket).unwrap().mark_parked());
        let mut tx = change(region);
        assert_eq!(tickets.serve(&mut tx, queue, ticket, 0), Ok(true));
    });
}

/// Who asks a sleeper to look may die before the wake-up.
#[test]
fn who_was_asked_is_still_woken() {
    with_sleeper(|region, tickets, queue, ticket| {
        let word = tickets.wait_word(ticket).unwrap();
        assert!(word.mark_parked());
        super::ask_to_look(word.futex());
        assert!(word.has_changed() && !word.mark_parked());
        let mut tx = change(region);
        assert_eq!(tickets.serve(&mut tx, queue, ticket, 0), Ok(true));
    });
}
