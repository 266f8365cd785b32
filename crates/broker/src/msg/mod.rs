//! Message queues in the broker, which keeps nothing of them beside their regions. msgget(2), msgctl(2); kernel: newque(), msgctl_down(), msgctl_stat(), msgctl_info(), ipc/msg.c.

pub(crate) mod proxy;
mod sleep;
mod tell;

use crate::abroad::View;
use crate::life::End;
use crate::mechanism::{Facts, Mechanism, Row};
use crate::namespace::{Namespace, Trouble};
use crate::object::lease::Room;
use crate::object::open::migrate;
use crate::object::{self, Home, Perm};
use crate::policy::creds::{Capability, Creds};
use crate::serve::sleepers::Call;
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::msg::{Geometry, Queue};
use ring3_engine::{Error, Result as Outcome};
use ring3_wire::request::{Get, Limit, ProcFile, Set};

const KIND: Kind = Kind::Msg;

/// A queue's region.
fn queue(ns: &Namespace, id: IpcId) -> Outcome<Queue<'_>> {
    let (region, geometry) = ns.region(KIND, id)?;
    Queue::new(region, Geometry::decode(geometry).ok_or(Error::Spoiled)?)
}

/// The mechanism.
pub(crate) struct Msg;

impl Mechanism for Msg {
    fn facts(&self) -> &'static Facts {
        &Facts {
            most: Limit::Msgmni,
            most_contents: None,
            next_id: Limit::MsgNextId,
            table: ProcFile::SysvipcMsg,
            head: tell::HEAD,
        }
    }

    fn room(&self, _: &Namespace) -> Option<Room> {
        Some(Room { all: u64::MAX, one: 0 })
    }

    fn create(&self, ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<IpcId, Errno> {
        let perm = Perm::new(creds, ask);
        let (msgmnb, msgmax) = (ns.limits().msgmnb.cast_unsigned(), ns.limits().msgmax.cast_unsigned());
        let geometry = Geometry::for_queue(msgmnb, msgmax);
        let home = ns.take_home(KIND, perm, geometry.encode(), geometry.len())?;
        let id = ns.add(KIND, creds, perm, 0, Some(home))?;
        let formatted = queue(ns, id).and_then(|queue| queue.format(id, msgmnb, ns.now()));
        ns.made(KIND, id, formatted)
    }

    fn set(&self, ns: &mut Namespace, creds: &Creds, perm: Perm, ask: &Set) -> Result<(), Trouble> {
        if ask.qbytes > ns.limits().msgmnb.cast_unsigned() && !creds.capable(Capability::SysResource) {
            return Err(Errno::EPERM.into());
        }
        change(ns, ask.id, perm.changed(ask)?, ask.qbytes)
    }

    fn remove(&self, ns: &mut Namespace, id: IpcId) -> Result<(), Trouble> {
        ns.remove_region(KIND, id, |ns| queue(ns, id)?.remove(&ns.host, ns.host.me))
    }

    fn stat(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
        tell::stat(ns, id, view)
    }

    fn stat_unlocked(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
        tell::stat_unlocked(ns, id, view)
    }

    fn info(&self, ns: &mut Namespace, usage: bool) -> Result<Vec<u8>, Trouble> {
        tell::info(ns, usage)
    }

    fn row(&self, ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble> {
        tell::row(ns, id)
    }

    fn line(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble> {
        tell::line(ns, id, view)
    }

    fn region_len(&self, geometry: object::Geometry) -> Option<usize> {
        Geometry::decode(geometry).map(Geometry::len)
    }

    fn grown(&self, _: &Namespace, geometry: object::Geometry) -> Option<object::Geometry> {
        Geometry::decode(geometry)?.grown().map(Geometry::encode)
    }

    fn move_to(&self, ns: &Namespace, id: IpcId, home: Home) -> Outcome<()> {
        let region = ns.arenas.region(home.range).ok_or(Error::Spoiled)?;
        let new = Queue::new(region, Geometry::decode(home.geometry).ok_or(Error::Spoiled)?)?;
        queue(ns, id)?.move_to(&ns.host, ns.host.me, new)
    }

    fn end_unlocked(&self, ns: &Namespace, home: Home) {
        let geometry = Geometry::decode(home.geometry).zip(ns.arenas.region(home.range));
        if let Some(Ok(queue)) = geometry.map(|(geometry, region)| Queue::new(region, geometry)) {
            queue.end_unlocked(&ns.host);
        }
    }

    fn call(&self, from: &mut &[u8]) -> Option<Box<dyn Call>> {
        sleep::kept(from)
    }

    fn settle(&self, ns: &Namespace, id: IpcId, pid: Pid, _: End) -> Outcome<()> {
        queue(ns, id)?.settle(&ns.host, pid, ns.host.me)
    }
}

/// IPC_SET. A queue whose permission changes moves, and is published then. Otherwise the directory has nothing new to tell, and a new version
/// would make every client let go of a region that its other threads are at work in.
fn change(ns: &mut Namespace, id: IpcId, perm: Perm, qbytes: u64) -> Result<(), Trouble> {
    let needed = Geometry::for_queue(qbytes, ns.limits().msgmax.cast_unsigned());
    let object = ns.object(KIND, id)?;
    if let Some(now) = object.home.and_then(|home| Geometry::decode(home.geometry)) {
        let moves = object.perm.class(KIND) != perm.class(KIND);
        if moves || !now.covers(needed) {
            let larger = Geometry {
                tickets: now.tickets.max(needed.tickets),
                slots: now.slots.max(needed.slots),
                blocks: now.blocks.max(needed.blocks),
            };
            migrate(ns, KIND, id, perm, larger.encode())?;
        }
    }
    ns.attempt(KIND, id, |ns| {
        let may =
            |thread, bits: u32| Creds::of_thread(thread, &ns.authority).permits(&perm, bits.cast_signed());
        queue(ns, id)?.judge(&ns.host, ns.host.me, |thread| may(thread, READ), |thread| may(thread, WRITE))
    })?;
    ns.attempt(KIND, id, |ns| queue(ns, id)?.set_qbytes(&ns.host, ns.host.me, qbytes))
}
