//! The breaks. Each takes out as little as can be: a look, a store's place, a wake-up.

use super::Break;
use super::notice::Notice::{self, Model, Program, Xtask};

/// Tests of the engine.
const fn engine(name: &'static str) -> Notice {
    Notice::Test { package: "ring3-engine", target: "--lib", name }
}

/// Tests of a broker at work.
const fn broker(target: &'static str, name: &'static str) -> Notice {
    Notice::Test { package: "ring3-broker", target, name }
}

/// All of them, by promise.
pub(super) const BREAKS: &[Break] = &[
    // A call is done wholly or not at all.
    Break {
        name: "no-rollback",
        promise: "who settles a death rolls the set's journal back",
        file: "crates/engine/src/sem/settle.rs",
        text: "rollback(self.region, self.header, self.journal)?;",
        with: "self.header.journal_len.store(0, Relaxed);",
        notice: engine("sem::tests::death::in_a_call"),
    },
    Break {
        name: "no-rollback-of-messages",
        promise: "who settles a death rolls the queue's journal back",
        file: "crates/engine/src/msg/settle.rs",
        text: "rollback(self.region, self.header, self.journal)?;",
        with: "self.header.journal_len.store(0, Relaxed);",
        notice: engine("msg::tests::death::in_a_send"),
    },
    Break {
        name: "value-before-old-value",
        promise: "a field's old value is in the journal before its new one is in the field (J2)",
        file: "crates/engine/src/journal.rs",
        text: "        self.note(self.region.place_of(field), 1, old)?;
        // ORDERING: as in replace32.
        field.store(new, Release);
        Ok(())",
        with: "        field.store(new, Release);
        self.note(self.region.place_of(field), 1, old)",
        notice: engine("sem::tests::death::in_a_call"),
    },
    Break {
        name: "length-before-entry",
        promise: "the journal's length counts an entry when it is whole (J2)",
        file: "crates/engine/src/journal.rs",
        text: "        entry.place.store((offset as u64) << 1 | wide, Relaxed);
        entry.old.store(old, Relaxed);
        self.len += 1;",
        with: "        self.len += 1;
        self.header.journal_len.store(self.len, Release);
        entry.place.store((offset as u64) << 1 | wide, Relaxed);
        entry.old.store(old, Relaxed);",
        notice: engine("sem::tests::death::in_a_call"),
    },
    Break {
        name: "no-undo-of-refused",
        promise: "a call that is refused half-way has changed nothing",
        file: "crates/engine/src/journal.rs",
        text: "            let _ = rollback(self.region, self.header, self.entries);",
        with: "            self.header.journal_len.store(0, Release);",
        notice: engine("sem::tests::operations_are_all_done_or_none"),
    },
    Break {
        name: "unlock-before-commit",
        promise: "the lock is given back after the change is committed, and once",
        file: "crates/engine/src/journal.rs",
        text: "        if self.len != 0 {
            self.len = 0;
            // ORDERING: Release keeps every new value before the end of the journal (J3).",
        with: "        if self.len != 0 {
            self.len = 0;
            let holder = self.header.lock.load(Relaxed);
            if holder & crate::lock::WAITERS == 0 {
                let _ = self.header.lock.compare_exchange(holder, 0, AcqRel, Relaxed);
            }",
        notice: Model("sem::"),
    },
    // SEM_UNDO is applied once.
    Break {
        name: "adjustment-outside-journal",
        promise: "an adjustment changes together with its value",
        file: "crates/engine/src/sem/undo.rs",
        text: "        tx.replace32(cell, before, adjustment as u32)?;",
        with: "        cell.store(adjustment as u32, Relaxed);",
        notice: engine("sem::tests::death::in_a_call"),
    },
    Break {
        name: "half-an-adjustment",
        promise: "every operation with SEM_UNDO has its adjustment",
        file: "crates/engine/src/sem/op.rs",
        text: "            if UNDO && op.sem_flg & SEM_UNDO != 0 {",
        with: "            if UNDO && n == 0 && op.sem_flg & SEM_UNDO != 0 {",
        notice: engine("sem::tests::random_calls_do_what_the_model_does"),
    },
    Break {
        name: "undo-twice",
        promise: "a dead process's row is freed in the change that applies it",
        file: "crates/engine/src/sem/settle.rs",
        text: "        self.free_row(&mut tx, row)?;
        tx.commit();",
        with: "        tx.commit();
        let mut tx = self.change();
        self.free_row(&mut tx, row)?;
        tx.commit();",
        notice: engine("sem::tests::death::in_ctl"),
    },
    Break {
        name: "next-of-the-first-is-lost",
        promise: "the first row keeps its next when it is unlinked, so that a walk without the lock goes on (U5)",
        file: "crates/engine/src/sem/undo.rs",
        text: "            return tx.set_link(&self.own.rows, next);",
        with: "            tx.set_link(&self.own.rows, next)?;
            return tx.set_link(&key.next, Link::NONE);",
        notice: Model("sem::nobody_with_adjustments_is_overlooked"),
    },
    Break {
        name: "unlinked-next-is-lost",
        promise: "a row between others keeps its next when it is unlinked, so that a walk without the lock goes on (U5)",
        file: "crates/engine/src/sem/undo.rs",
        text: "        tx.set_link(&key.prev, Link::NONE)
    }",
        with: "        tx.set_link(&key.prev, Link::NONE)?;
        tx.set_link(&key.next, Link::NONE)
    }",
        notice: Model("sem::nobody_with_adjustments_is_overlooked"),
    },
    // Who sleeps is woken by what makes the call possible.
    Break {
        name: "lost-post",
        promise: "a post between a sleeper's last look and its sleep is seen",
        file: "crates/engine/src/host.rs",
        text: "        match self.word.compare_exchange(self.waiting, self.parked, AcqRel, Acquire) {",
        with: "        match Ok::<u32, u32>(self.word.swap(self.parked, AcqRel)) {",
        notice: Model("sem::turns_are_taken"),
    },
    Break {
        name: "fast-word-with-sleepers",
        promise: "a semaphore that somebody waits for changes under the lock alone (S1)",
        file: "crates/engine/src/sem/op.rs",
        text: "        if !self.named(num)? {",
        with: "        if num < u32::MAX {",
        notice: Model("sem::a_mutex_has_one_holder"),
    },
    Break {
        name: "untaken-words",
        promise: "a ticket's words are slow, those behind the one that blocks, too (I3)",
        file: "crates/engine/src/sem/op.rs",
        text: "            self.take(held, u32::from(op.sem_num))?;
        }
        self.sleep",
        with: "            self.word(u32::from(op.sem_num))?;
        }
        self.sleep",
        notice: engine("sem::tests"),
    },
    Break {
        name: "no-wake-after-serving",
        promise: "who was served is woken",
        file: "crates/engine/src/sem/op.rs",
        text: "        drop(locked);
        served.wake(host);",
        with: "        drop(locked);
        let _ = (served, host);",
        notice: Model("sem::turns_are_taken"),
    },
    Break {
        name: "no-wake-after-death",
        promise: "who settles a death wakes those that were served",
        file: "crates/engine/src/sem/settle.rs",
        text: "        self.tickets().wake_left(host)",
        with: "        Ok(())",
        notice: Model("sem::the_dead_give_back"),
    },
    Break {
        name: "asleep-after-the-servers-death",
        promise: "who was served by one who died before the wake-up is woken",
        file: "crates/engine/src/ticket/state.rs",
        text: "        matches!(self.0, DONE | ASKED)",
        with: "        matches!(self.0, ASKED)",
        notice: Xtask("death --only sem-wake,msg-send-to-sleeper --sample 400"),
    },
    Break {
        name: "no-scan-after-death",
        promise: "what a dead process had committed has its consequences",
        file: "crates/engine/src/sem/settle.rs",
        text: "            if was_held {",
        with: "            if was_held && dead == 0 {",
        notice: engine("sem::tests::death::in_a_call_that_serves_sleepers"),
    },
    Break {
        name: "gathered-sleep-on",
        promise: "who was being gathered by one who died is woken",
        file: "crates/engine/src/ticket/mod.rs",
        text: "        host.wake(&self.header.gathering, u32::MAX >> 1, &self.header.peer_cpu);",
        with: "        let _ = host;",
        notice: Xtask("death --only sem-wake-together --sample 400"),
    },
    Break {
        name: "out-of-the-queue-and-in-the-line",
        promise: "who leaves the queue leaves the semaphore's line (N1)",
        file: "crates/engine/src/sem/line.rs",
        text: "        tx.set_link(after, before)",
        with: "        let _ = (after, before);
        Ok(())",
        notice: engine("sem::tests::a_sleeper_is_served_by_who_makes_it_possible"),
    },
    Break {
        name: "no-wake-after-removal",
        promise: "IPC_RMID wakes every sleeper",
        file: "crates/engine/src/sem/ctl.rs",
        text: "        drop(locked);
        self.tickets().wake_all(host)",
        with: "        drop(locked);
        let _ = host;
        Ok(())",
        notice: Model("sem::removal_leaves_nobody_asleep"),
    },
    Break {
        name: "removed-and-fast",
        promise: "a removed set's words are slow, so that no compare-and-swap succeeds (S2)",
        file: "crates/engine/src/sem/ctl.rs",
        text: "            self.take(locked.held(), num)?;
        }
        self.header.state.store(REMOVED, Relaxed);",
        with: "            self.word(num)?;
        }
        self.header.state.store(REMOVED, Relaxed);",
        notice: engine("sem::tests::removal_ends_every_call"),
    },
    Break {
        name: "the-dead-are-served",
        promise: "a sleeper that has ended is taken out, not served (O3)",
        file: "crates/engine/src/sem/sleeper.rs",
        text: "        let ended = record.has_ended();",
        with: "        let ended = false && record.has_ended();",
        notice: engine("sem::tests::ended::a_post_passes_them"),
    },
    Break {
        name: "the-dead-receive",
        promise: "a receiver that has ended gets no message (O3)",
        file: "crates/engine/src/ticket/owner.rs",
        text: "        self.0.load(Acquire) & ENDED != 0",
        with: "        self.0.load(Acquire) & ENDED == ENDED >> 1",
        notice: engine("msg::tests::ended::a_message_passes_receivers"),
    },
    // What comes out of a region is not believed.
    Break {
        name: "no-bounds-check",
        promise: "an index from a region is compared with the table's capacity",
        file: "crates/engine/src/region/link.rs",
        text: "        (number < self.cap).then_some(Index { number, of: PhantomData })",
        with: "        Some(Index { number, of: PhantomData })",
        notice: engine("region::link::tests"),
    },
    Break {
        name: "no-array-check",
        promise: "an index into a table that was looked at once is compared with its capacity",
        file: "crates/engine/src/region/array.rs",
        text: "        if index >= self.cap {",
        with: "        if index == u32::MAX {",
        notice: engine("region::array::tests"),
    },
    Break {
        name: "no-range-check",
        promise: "a field lies in its region",
        file: "crates/engine/src/region/mod.rs",
        text: "        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {",
        with: "        if !offset.is_multiple_of(align_of::<T>()) {",
        notice: engine("msg::tests::garbage"),
    },
    Break {
        name: "endless-walk",
        promise: "a walk along links ends after as many as there can be",
        file: "crates/engine/src/ticket/queue.rs",
        text: "            Ok(record) if self.left > 0 => record,",
        with: "            Ok(record) => record,",
        notice: engine("msg::tests::garbage"),
    },
    Break {
        name: "any-protocol",
        promise: "what is no request of this protocol is refused",
        file: "crates/wire/src/codec.rs",
        text: "    if head.magic != MAGIC {
        return Err(Errno::EPROTO);
    }
    let op",
        with: "    let op",
        notice: Notice::Test {
            package: "ring3-wire",
            target: "--test=codec",
            name: "other_protocols_are_refused",
        },
    },
    Break {
        name: "any-lock-word",
        promise: "a lock's word with impossible bits is spoiled (L5)",
        file: "crates/engine/src/lock.rs",
        text: "        if seen & HOLDER == 0 || seen & !(HOLDER | WAITERS) != 0 {",
        with: "        if seen == WAITERS << 1 {",
        notice: broker("--test=hostile", "a_word_that_is_no_lock_is_spoiled_at_once"),
    },
    // Nobody where they don't belong.
    Break {
        name: "files-of-any-size",
        promise: "who may write a class's files cannot change their size",
        file: "crates/broker/src/object/arena.rs",
        text: "        seal(&file, SealFlags::GROW)?;",
        with: "",
        notice: broker("--test=hostile", "nobody_changes_the_size_of_a_file_of_regions"),
    },
    Break {
        name: "any-number-of-connections",
        promise: "a process has so many connections and no more",
        file: "crates/broker/src/serve/doors.rs",
        text: "        if of_process >= CONNECTIONS_OF_A_PROCESS || !may {",
        with: "        if of_process == usize::MAX && CONNECTIONS_OF_A_PROCESS == 0 || of_process == usize::MAX && !may {",
        notice: broker("--test=hostile", "a_flood_of_notes_is_one_clients_loss"),
    },
    Break {
        name: "one-user-takes-everything",
        promise: "a user other than the owner has a part of what the others leave",
        file: "crates/broker/src/policy/quota.rs",
        text: "        u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(mine)",
        with: "        u64::try_from(share.max(u128::from(left))).unwrap_or(u64::MAX).saturating_sub(mine)",
        notice: broker("--test=quota", "who_takes_all_that_there_is_leaves_something"),
    },
    Break {
        name: "descriptors-that-nobody-keeps",
        promise: "what records name is in the manager's store before they are committed (vault.rs, L1)",
        file: "crates/broker/src/state/hand.rs",
        text: "        write(from, &mut batch);\n        self.keep();",
        with: "        write(from, &mut batch);",
        notice: Notice::Test {
            package: "ring3-cli",
            target: "--test=store",
            name: "whoever_asks_meanwhile_is_answered_once",
        },
    },
    Break {
        name: "memory-that-was-anothers",
        promise: "memory that a process receives is zeroed (A3)",
        file: "crates/broker/src/object/arena.rs",
        text: "        rustix::fs::fallocate(&self.file, hole, at, len).map_err(errno)?;",
        with: "        let _ = hole;",
        notice: broker("--test=life", "many_sets_share_few_files_and_ranges_are_zeroed"),
    },
    Break {
        name: "no-mode-check-in-agent",
        promise: "the agent asks the mode before each call",
        file: "crates/calls/src/object/record.rs",
        text: "        if self.granted & wanted == wanted || self.permits_thread(wanted) {",
        with: "        if self.granted & wanted == wanted || self.permits_thread(wanted) || wanted != 0 {",
        notice: Xtask("permissions --short --only group"),
    },
    Break {
        name: "no-mode-check-in-broker",
        promise: "the broker asks the mode before it answers",
        file: "crates/broker/src/policy/creds.rs",
        text: "        if self.permits(perm, flags) { Ok(()) } else { Err(Errno::EACCES) }",
        with: "        if self.permits(perm, flags) || flags != 0 { Ok(()) } else { Err(Errno::EACCES) }",
        notice: broker("--test=objects", "who_may_do_what"),
    },
    Break {
        name: "writable-for-readers",
        promise: "who may only read gets a mapping that cannot be written",
        file: "crates/broker/src/object/open.rs",
        text: "    let how = if access & WRITE != 0 { Access::ReadWrite } else { Access::Read };",
        with: "    let how = if access != 0 { Access::ReadWrite } else { Access::Read };",
        notice: Xtask("permissions --short --only group"),
    },
    Break {
        name: "rights-kept",
        promise: "a process that gives rights up loses the regions that it has no right to any more",
        file: "crates/calls/src/object/narrow.rs",
        text: "        if object.len != 0 && !may_keep(object) {",
        with: "        if object.len == usize::MAX && !may_keep(object) {",
        notice: Xtask("permissions --short"),
    },
    Break {
        name: "rights-kept-after-set",
        promise: "IPC_SET takes a right from what is mapped already: the set moves",
        file: "crates/broker/src/sem/mod.rs",
        text: "            migrate(ns, KIND, ask.id, perm, home.geometry)?;",
        with: "            let _ = home;
            ns.object_mut(KIND, ask.id)?.perm = perm;
            ns.publish(KIND, ask.id);",
        notice: broker("--test=hostile", "who_has_lost_a_right_keeps_a_dead_copy"),
    },
    Break {
        name: "rights-of-the-next-image",
        promise: "rights are those of the sender when it sent (C1)",
        file: "crates/broker/src/policy/creds.rs",
        text: "            let plain = is_owned_by(self.pid, tid, self.uid)?;",
        with: "            let plain = is_owned_by(self.pid, tid, self.uid)? || tid != 0;",
        notice: broker("--test=hostile", "rights_are_those_of_the_sender_when_it_sent"),
    },
    // Whoever can know of a death sees it settled.
    Break {
        name: "deaths-after-requests",
        promise: "deaths are settled before a request is answered (V1)",
        file: "crates/broker/src/serve/mod.rs",
        text: "        if std::mem::take(&mut self.may_have_ended) {",
        with: "        if self.line.is_empty() && std::mem::take(&mut self.may_have_ended) {",
        notice: broker("--test=life", "a_death_comes_before_a_request_that_is_met_with_it"),
    },
    Break {
        name: "nobody-is-suspected",
        promise: "before a request on an object, those who use it are looked at: an end shows before its pidfd says so",
        file: "crates/broker/src/life/suspects.rs",
        text: "                (Some(process), _) if !ns.owes(pid) && process.is_ending(pid) => self.bury(pid),",
        with: "                (Some(process), _) if process.is_ending(pid) && ns.owes(pid) => self.bury(pid),",
        notice: Program("ended"),
    },
    Break {
        name: "a-dead-request-is-done",
        promise: "what a dead process asked for is done before its end is settled, or never (V4)",
        file: "crates/broker/src/serve/endings.rs",
        text: "        self.drop_asked(|request| request.creds.pid == pid);",
        with: "",
        notice: broker("--test=life", "what_the_dead_asked_for_is_done_before_their_end_or_never"),
    },
    Break {
        name: "a-cancel-is-lost",
        promise: "a signal ends a call that is in line still",
        file: "crates/broker/src/serve/sleepers.rs",
        text: "            request.interrupted = true;",
        with: "            let _ = request;",
        notice: broker("--test=life", "a_signal_ends_a_call_that_the_broker_has_not_tried_yet"),
    },
    Break {
        name: "a-debt-takes-the-next-image",
        promise: "no process comes into a region in which its former image owes (X3)",
        file: "crates/broker/src/life/death.rs",
        text: "        self.debts.keys().any(|debt| (debt.pid, debt.kind, debt.id) == (pid, kind, id))",
        with: "        self.debts.is_empty() && (pid, kind as u32, id) == (0, 0, -1)",
        notice: broker("--test=life", "what_an_image_left_is_settled_before_the_next_one_comes_in"),
    },
    Break {
        name: "exec-applies-undo",
        promise: "exec keeps a process's adjustments",
        file: "crates/broker/src/life/death.rs",
        text: "        self.leave(pid);
        self.settle_regions(pid, End::Image);",
        with: "        self.leave(pid);
        self.settle_regions(pid, End::Process);",
        notice: broker("--test=life", "exec_drops_attachments_and_keeps_undo"),
    },
    Break {
        name: "exec-keeps-attachments",
        promise: "exec drops a process's attachments",
        file: "crates/broker/src/life/death.rs",
        text: "        self.leave(pid);
        self.settle_regions(pid, End::Image);",
        with: "        self.settle_regions(pid, End::Image);",
        notice: broker("--test=life", "exec_drops_attachments_and_keeps_undo"),
    },
    Break {
        name: "a-look-trusts-the-dead",
        promise: "who counts attachments looks whether those who have them live",
        file: "crates/calls/src/process/lives.rs",
        text: "    is_held(life) && seen(life).is_some_and(done)",
        with: "    (is_held(life) || life != 0) && seen(life).is_some_and(done)",
        notice: Program("looked"),
    },
    Break {
        name: "a-look-does-not-wait-for-notes",
        promise: "who counts attachments waits for what was announced",
        file: "crates/calls/src/process/lives.rs",
        text: "    is_held(life) && seen(life).is_some_and(done)",
        with: "    is_held(life) && seen(life).is_some_and(|seen| done(seen) || life != 0)",
        notice: Program("looked"),
    },
    // What is done without asking.
    Break {
        name: "ledger-read-late",
        promise: "ledgers are read before anything that could show what they say (G1)",
        file: "crates/broker/src/serve/route.rs",
        text: "        if !is_of_regions(packet.op) {",
        with: "        if is_of_regions(packet.op) {",
        notice: broker("--test=ledger", "what_a_process"),
    },
    Break {
        name: "ledger-out-of-order",
        promise: "entries of several processes take effect in the order of their stamps (G2)",
        file: "crates/broker/src/ledgers.rs",
        text: "    found.sort_by_key(|(_, event)| event.stamp);",
        with: "    found.sort_by_key(|(pid, _)| *pid);",
        notice: broker("--test=ledger", "they_come"),
    },
    Break {
        name: "attach-not-allowed",
        promise: "a process attaches by itself what the broker has allowed, and nothing else",
        file: "crates/broker/src/shm/again.rs",
        text: "    is_new && ns.states.shm.again.allowed.contains_key(&(pid, event.id))",
        with: "    is_new && ns.states.shm.segments.contains_key(&event.id)",
        notice: broker("--test=ledger", "nonsense"),
    },
    Break {
        name: "removal-before-ledgers",
        promise: "ledgers are read after a removal stands in the directory, before the segment goes (G5)",
        file: "crates/broker/src/shm/mod.rs",
        text: "        ledgers::read_behind(ns);\n        attach::destroy_if_due(ns, id);",
        with: "        attach::destroy_if_due(ns, id);\n        ledgers::read_behind(ns);",
        notice: Program("again"),
    },
    Break {
        name: "rights-of-the-first-time",
        promise: "an attach without asking looks whether the segment is what it was (A1)",
        file: "crates/calls/src/object/spare.rs",
        text: "        directory.version(Kind::Shm, index) == self.version",
        with: "        directory.version(Kind::Shm, index) >= self.version",
        notice: Program("again"),
    },
    Break {
        name: "unmaps-what-is-there",
        promise: "a range is unmapped only if the kernel says that it is the attachment (A3)",
        file: "crates/calls/src/syscall/shm/again.rs",
        text: "    own_maps::descriptor(home).and_then(|maps| mappings::covering(maps, part.addr)) == Ok(wanted)",
        with: "    own_maps::descriptor(home).and_then(|maps| mappings::covering(maps, part.addr)).is_ok() || wanted.start == 0",
        notice: Program("again"),
    },
    Break {
        name: "some-of-the-dead",
        promise: "the attachments of one that has ended go all at once",
        file: "crates/broker/src/shm/attach.rs",
        text: "    let ids: BTreeSet<IpcId> = segments.values().copied().collect();\n    ids.into_iter().for_each(|id| show(ns, id));",
        with: "    segments.values().take(1).for_each(|&id| show(ns, id));",
        notice: Program("looked"),
    },
    Break {
        name: "a-lease-taken-twice",
        promise: "a lease is taken back before anybody else is given an identifier (L2)",
        file: "crates/broker/src/object/get.rs",
        text: "            lease::take_back(ns, kind);\n",
        with: "",
        notice: Program("made"),
    },
    Break {
        name: "made-after-the-lease",
        promise: "what was made in a lease that was over is taken back (E2)",
        file: "crates/calls/src/object/lease.rs",
        text: "        directory::head().is_ok_and(|head| head.lease_turn(kind) == self.turn.load(Relaxed))",
        with: "        directory::head().is_ok_and(|head| head.lease_turn(kind) >= self.turn.load(Relaxed))",
        notice: Program("made"),
    },
    Break {
        name: "removed-though-seen",
        promise: "an object that others have seen is not removed in the ledger alone (E3)",
        file: "crates/calls/src/object/lease.rs",
        text: "    directory.is_free(kind, index)",
        with: "    directory.is_free(kind, index) || id >= 0",
        notice: Program("made"),
    },
    Break {
        name: "not-there-yet",
        promise: "what the directory does not show is asked about while somebody has a lease",
        file: "crates/calls/src/object/open.rs",
        text: "    lease::settle(kind);",
        with: "    let _ = lease::settle;",
        notice: Program("made"),
    },
];
