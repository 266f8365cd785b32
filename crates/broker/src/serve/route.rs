//! The table of requests: which function does each.

use super::Server;
use super::client::{Answer, Request};
use super::sleepers::{Progress, Sleeping};
use crate::life::{Which, lives};
use crate::namespace::{Namespace, Trouble};
use crate::object::query::{self, Look};
use crate::object::{ctl, get, open};
use crate::policy::creds::Creds;
use crate::policy::limits;
use crate::{mechanism, msg, sem, shm};
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_wire::claim::Number;
use ring3_wire::{Op, Packet, request};
use std::rc::Rc;

/// An answer, nothing yet, or an error and its value.
type Outcome = Result<Option<Answer>, (Trouble, i64)>;

/// How a request is done.
enum Route {
    /// One-way; an error of it breaks the protocol.
    Note(fn(&mut Server, &Request, &Packet<'_>) -> Result<(), Errno>),
    /// It concerns connections and processes.
    Broker(fn(&mut Server, &Request, &Packet<'_>) -> Outcome),
    /// It concerns the namespace's state alone, and anybody may ask.
    Anybody(fn(&mut Namespace, &Creds, &Packet<'_>) -> Result<Answer, Trouble>),
    /// The same, for processes that have introduced themselves.
    Known(fn(&mut Namespace, &Creds, &Packet<'_>) -> Result<Answer, Trouble>),
    /// It concerns what a process holds, in whichever of the namespaces that know the process.
    Holder(fn(&mut Namespace, &Creds, &Packet<'_>) -> Result<Answer, Trouble>),
    /// A call that may sleep, of a process that has introduced itself.
    Sleepy(fn(&mut Namespace, &Request, &Packet<'_>) -> Result<Progress, Trouble>),
    /// A call that is done in an object's region, of such a process.
    Proxied(fn(&mut Namespace, &Request, &Packet<'_>) -> Result<Answer, Trouble>),
}

/// The table. Every request's body is read here; what it says is judged where it leads.
fn route(op: Op) -> Route {
    use Route::{Anybody, Broker, Holder, Known, Note, Proxied, Sleepy};
    match op {
        Op::Hello => Broker(|server, asked, packet| whole(server.hello(asked, packet))),
        Op::Proc => Broker(|server, asked, packet| whole(server.proc(asked, packet))),
        Op::Settle => Broker(|server, asked, packet| whole(server.settle(asked, packet))),
        Op::Shutdown => Broker(Server::shutdown),
        Op::Join => Broker(|server, asked, _| {
            server.spaces.join(asked.creds.clone());
            whole(Ok(Answer::default()))
        }),

        Op::Adopt => Note(Server::adopt_copy),
        Op::Fork => Note(Server::fork),
        Op::Forked => Note(Server::forked),
        Op::Born => Note(Server::born),
        Op::Exec | Op::ExecFailed => Note(Server::exec),
        Op::Close => Note(|server, asked, packet| {
            open::close(server.spaces.of_mut(pid(asked)), &asked.creds, &packet.body()?)
        }),
        Op::Cancel => Note(Server::cancel),
        Op::Read => Note(|server, _, _| {
            server.spaces.all_mut().for_each(|(_, ns)| ns.catch_up());
            Ok(())
        }),

        Op::Remove => Anybody(|ns, creds, packet| ctl::remove(ns, creds, &packet.body()?)),
        Op::Set => Anybody(|ns, creds, packet| ctl::set(ns, creds, &packet.body()?)),
        Op::Stat => Anybody(|ns, creds, packet| query::stat(ns, creds, &packet.body()?, Look::Settled)),
        Op::Info => Anybody(|ns, _, packet| query::info(ns, &packet.body()?)),
        Op::Detail => Anybody(|ns, _, packet| query::detail(ns, &packet.body()?)),
        Op::Limits => Anybody(|ns, _, _| Ok(Answer::with(0, ns.limits()))),
        Op::SetLimit => Anybody(|ns, creds, packet| limits::set_limit(ns, creds, &packet.body()?)),

        Op::Get => Known(|ns, creds, packet| get::get(ns, creds, &packet.body()?)),
        Op::Open => Known(|ns, creds, packet| open::open(ns, creds, &packet.body()?)),
        Op::Grow => Known(|ns, creds, packet| open::grow(ns, creds, &packet.body()?)),
        Op::Stuck => Known(|ns, _, packet| open::stuck(ns, &packet.body()?)),

        Op::Life => Known(|ns, creds, _| lives::life(ns, creds)),
        Op::Lives => Known(|ns, _, packet| lives::lives(ns, &packet.body()?)),
        // What it asks for is done before any request (settle_the_ending).
        Op::SettleSet => Known(|_, _, _| Ok(Answer::default())),

        Op::MsgSend => Sleepy(msg::proxy::send),
        Op::MsgReceive => Sleepy(msg::proxy::receive),

        Op::SemOp => Sleepy(sem::proxy::semop),
        Op::SemCtl => Proxied(sem::proxy::semctl),
        Op::Unshare => Known(|ns, creds, _| sem::unshare::unshare(ns, creds)),

        Op::Attach => Known(|ns, creds, packet| shm::attach::attach(ns, creds, &packet.body()?)),
        Op::Detach => Note(Server::detach),
        Op::Renew => Holder(|ns, creds, packet| shm::attach::renew(ns, creds, &packet.body()?)),
        Op::Keep => Note(|server, asked, packet| {
            for (_, ns) in server.spaces.knowing_mut(pid(asked)) {
                shm::attach::keep(ns, asked.creds.pid, packet.body);
            }
            Ok(())
        }),
        Op::Split => Holder(|ns, creds, packet| shm::attach::split(ns, creds, &packet.body()?)),
        Op::ShmLock => Anybody(|ns, creds, packet| shm::lock::shm_lock(ns, creds, &packet.body()?)),
    }
}

/// What is done about a request that has waited long enough for a lock: an object is removed, and told of, without; the rest is refused.
pub(super) fn last_resort(ns: &mut Namespace, creds: &Creds, packet: &Packet<'_>) -> Outcome {
    whole(match packet.op {
        Op::Remove => {
            packet.body().map_err(Trouble::from).and_then(|ask| ctl::remove_unlocked(ns, creds, &ask))
        }
        Op::Stat => {
            packet.body().map_err(Trouble::from).and_then(|ask| query::stat(ns, creds, &ask, Look::Unlocked))
        }
        Op::Settle => Ok(Answer::default()),
        _ => Err(Errno::ETIMEDOUT.into()),
    })
}

/// The objects that a request asks about, if the end of a process would show in them.
fn concern(packet: &Packet<'_>) -> Option<(Kind, Which)> {
    let kind_and = |kind: Number<Kind>, which| Some((kind.known()?, which));
    match packet.op {
        Op::SemOp => {
            packet.body_and_rest::<request::SemOp>().ok().map(|(ask, _)| (Kind::Sem, Which::Id(ask.id)))
        }
        Op::SemCtl => {
            packet.body_and_rest::<request::SemCtl>().ok().map(|(ask, _)| (Kind::Sem, Which::Id(ask.id)))
        }
        Op::Attach => packet.body::<request::Attach>().ok().map(|ask| (Kind::Shm, Which::Id(ask.id))),
        Op::SettleSet | Op::Remove => {
            packet.body::<request::Object>().ok().and_then(|ask| kind_and(ask.kind, Which::Id(ask.id)))
        }
        Op::Stat => {
            let ask = packet.body::<request::Stat>().ok()?;
            let by_id = ask.by.is(request::StatBy::Id);
            kind_and(
                ask.kind,
                if by_id { Which::Id(ask.id) } else { Which::Index(usize::try_from(ask.id).ok()?) },
            )
        }
        // Of sets neither shows what an end changes.
        Op::Detail | Op::Info => {
            let (kind, _) = packet.body_and_rest::<Number<Kind>>().ok()?;
            kind_and(kind, Which::All).filter(|&(kind, _)| kind != Kind::Sem)
        }
        Op::Proc => {
            let ask = packet.body::<request::Proc>().ok()?;
            let mut all = mechanism::all();
            let (kind, _) = all.find(|(_, mechanism)| ask.file.is(mechanism.facts().table))?;
            Some((kind, Which::All))
        }
        _ => None,
    }
}

/// The object whose region the sender comes into by a request.
fn entered(packet: &Packet<'_>) -> Option<(Kind, IpcId)> {
    match packet.op {
        Op::Open => {
            let ask = packet.body::<request::Open>().ok()?;
            Some((ask.kind.known()?, ask.id))
        }
        // The identifier comes first in all of them.
        Op::SemOp | Op::SemCtl => Some((Kind::Sem, packet.body_and_rest::<IpcId>().ok()?.0)),
        Op::MsgSend | Op::MsgReceive => Some((Kind::Msg, packet.body_and_rest::<IpcId>().ok()?.0)),
        _ => None,
    }
}

/// Whether a request has to do with regions alone, where nobody does anything unseen.
fn is_of_regions(op: Op) -> bool {
    matches!(op, Op::MsgSend | Op::MsgReceive | Op::SemOp | Op::SemCtl | Op::Grow | Op::Stuck)
}

fn pid(asked: &Request) -> Pid {
    asked.creds.pid
}

/// An answer that is either whole or an error without a value.
fn whole(result: Result<Answer, Trouble>) -> Outcome {
    result.map(Some).map_err(|trouble| (trouble, 0))
}

/// Does a call on somebody's behalf: what it changes in a region has the packet's number beside it.
fn numbered<T>(ns: &mut Namespace, asked: &Request, run: impl FnOnce(&mut Namespace) -> T) -> T {
    let hand = Rc::clone(&ns.host.hand);
    hand.begin(asked.number);
    let done = run(ns);
    hand.begin(0);
    done
}

/// What came of a request that may be a one-way one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It was one, and is done.
    Done,
    /// It was one, and breaks the protocol.
    Broken,
    /// It is none: nothing has happened.
    WantsAnswer,
}

impl Server {
    /// Does a request, if it is a one-way one.
    pub(super) fn note(&mut self, asked: &Request, packet: &Packet<'_>) -> Note {
        let Route::Note(run) = route(packet.op) else { return Note::WantsAnswer };
        let done = run(self, asked, packet);
        self.log.line(|| format!("{:?} of {}", packet.op, pid(asked)).to_lowercase());
        if done.is_ok() { Note::Done } else { Note::Broken }
    }

    /// Does a request that wants an answer.
    pub(super) fn handle(&mut self, asked: &Request, packet: &Packet<'_>) -> Outcome {
        if !is_of_regions(packet.op) {
            self.spaces.all_mut().for_each(|(_, ns)| ns.catch_up());
        }
        if let Some(which) = concern(packet) {
            self.settle_the_ending(pid(asked), which).map_err(|trouble| (trouble, 0))?;
        }
        let ns = self.spaces.of_mut(pid(asked));
        if entered(packet).is_some_and(|(kind, id)| ns.owes_in(pid(asked), kind, id)) {
            return Err((Trouble::Later, 0));
        }
        let known = ns.processes.contains_key(&pid(asked));
        match route(packet.op) {
            Route::Broker(run) => run(self, asked, packet),
            Route::Anybody(run) => whole(run(ns, &asked.creds, packet)),
            Route::Known(run) if known => whole(run(ns, &asked.creds, packet)),
            Route::Holder(run) if known => whole(self.held(run, asked, packet)),
            Route::Proxied(run) if known => whole(numbered(ns, asked, |ns| run(ns, asked, packet))),
            Route::Sleepy(run) if known => {
                let progress = numbered(ns, asked, |ns| run(ns, asked, packet));
                self.sleepy(asked, packet, progress)
            }
            _ => whole(Err(Errno::EPROTO.into())),
        }
    }

    /// Runs a request in the namespaces that know its sender until one has what it names.
    fn held(
        &mut self,
        run: fn(&mut Namespace, &Creds, &Packet<'_>) -> Result<Answer, Trouble>,
        asked: &Request,
        packet: &Packet<'_>,
    ) -> Result<Answer, Trouble> {
        for (_, ns) in self.spaces.knowing_mut(pid(asked)) {
            match run(ns, &asked.creds, packet) {
                Err(Trouble::Errno(Errno::EINVAL)) => {}
                done => return done,
            }
        }
        Err(Errno::EINVAL.into())
    }

    /// Detach: nobody waits for it. Whoever has ended before it, or executed another program, has left its attachments before.
    fn detach(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let ask = packet.body::<request::Detach>()?;
        self.settle_before(Some(pid(asked)));
        self.confirm_execs();
        let run = |ns: &mut Namespace, creds: &Creds, packet: &Packet<'_>| {
            shm::attach::detach(ns, creds, &packet.body()?)
        };
        // What is not attached is not detached.
        let _ = self.held(run, asked, packet);
        self.spaces.of(pid(asked)).note_done(pid(asked), ask.note);
        Ok(())
    }

    /// Answers a call that may sleep, or keeps it until it can be answered.
    fn sleepy(
        &mut self,
        asked: &Request,
        packet: &Packet<'_>,
        progress: Result<Progress, Trouble>,
    ) -> Outcome {
        match progress.map_err(|trouble| (trouble, 0))? {
            Progress::Done(answer) => Ok(Some(answer)),
            Progress::Asleep { id, ticket, call, deadline } => {
                let space = self.spaces.space(pid(asked));
                let range =
                    self.spaces.at(space).names(call.kind()).get(id).and_then(crate::object::Object::range);
                let (conn, tag, creds) = (asked.conn, packet.tag, asked.creds.clone());
                let (number, interrupted, again) = (asked.number, false, false);
                let sleeping = Sleeping {
                    space,
                    conn,
                    tag,
                    creds,
                    id,
                    call,
                    ticket,
                    range,
                    deadline,
                    interrupted,
                    number,
                    again,
                };
                self.sleeping.insert(conn, sleeping);
                Ok(None)
            }
        }
    }

    /// Ends the broker for its owner when nobody needs it.
    fn shutdown(&mut self, asked: &Request, _: &Packet<'_>) -> Outcome {
        let owner = self.spaces.root().owner;
        if asked.creds.uid != owner && asked.creds.uid != 0 {
            return Err((Errno::EPERM.into(), 0));
        }
        let mut others = self.living();
        others.remove(&pid(asked));
        match others.len() {
            0 => {
                *self.over.change() = true;
                Ok(Some(Answer::default()))
            }
            others => Err((Errno::EBUSY.into(), others as i64)),
        }
    }
}
