//! msgget(2), semget(2), shmget(2): what they have in common. kernel: ipcget(), ipc_addid().

use super::{Geometry, Home, Object, Perm, kind_of, lease};
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::policy::quota::{Means, Part};
use crate::serve::client::Answer;
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use ring3_abi::limits::Range;
use ring3_abi::{Errno, IpcId, Kind, Uid};
use ring3_engine::Error;
use ring3_wire::request::{Get, Limit};
use std::collections::HashSet;

/// What stands for the identifier beside a lease.
const NO_ID: i64 = -1;

/// Finds or makes an object.
pub(crate) fn get(ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let mechanism = mechanism::of(kind);
    mechanism.check_size(ns, ask)?;
    let found = if ask.key == IPC_PRIVATE { None } else { ns.names(kind).by_key(ask.key) };
    let id = match found {
        Some(id) => existing(ns, creds, kind, id, ask)?,
        None if ask.key != IPC_PRIVATE && ask.flags & IPC_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None => {
            lease::take_back(ns, kind);
            if let Some(lease) = (ask.lease != 0).then(|| lease::give(ns, creds, kind)).flatten() {
                // It makes the object itself.
                return Ok(Answer::with(NO_ID, &lease));
            }
            let id = mechanism.create(ns, creds, ask)?;
            ns.publish(kind, id);
            id
        }
    };
    Ok(Answer::value(i64::from(id)))
}

/// kernel: ipcget_public(), ipc_check_perms().
fn existing(ns: &Namespace, creds: &Creds, kind: Kind, id: IpcId, ask: &Get) -> Result<IpcId, Errno> {
    if ask.flags & IPC_CREAT != 0 && ask.flags & IPC_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    let object = ns.object(kind, id)?;
    if ask.size > object.size {
        return Err(Errno::EINVAL);
    }
    if !creds.permits(&object.perm, ask.flags) {
        return Err(Errno::EACCES);
    }
    Ok(id)
}

/// What an object takes of what all have (`policy/quota.rs`).
struct Taken {
    creator: Uid,
    contents: u64,
    /// Files that are its alone.
    own_file: u64,
}

impl Taken {
    fn by(kind: Kind, object: &Object) -> Taken {
        Taken {
            creator: object.perm.cuid,
            contents: mechanism::of(kind).contents(object.size),
            own_file: u64::from(object.home.is_none()),
        }
    }
}

impl Namespace {
    /// Takes an empty region for an object with this permission.
    pub(crate) fn take_home(
        &mut self,
        kind: Kind,
        perm: Perm,
        geometry: Geometry,
        len: usize,
    ) -> Result<Home, Errno> {
        let (len, user) = (len as u64, perm.cuid);
        let quota = self.host.quota;
        // How long a region is the kernel has no word for: whoever has no room for it has no memory.
        if !quota.means(self.arenas.account(), Means::Memory, user, len) {
            return Err(Errno::ENOMEM);
        }
        let may_add = quota.means(self.arenas.account(), Means::Files, user, 1);
        Ok(Home { range: self.arenas.take(perm.class(kind), len, may_add)?, geometry })
    }

    /// Whether somebody may have one more object of this size.
    fn check_share(&self, kind: Kind, creds: &Creds, object: &Object) -> Result<(), Errno> {
        let (quota, account) = (self.host.quota, &self.account);
        let (facts, contents) = (mechanism::of(kind).facts(), mechanism::of(kind).contents(object.size));
        if object.home.is_none() && !quota.means(self.arenas.account(), Means::Files, creds.uid, 1) {
            return Err(Errno::ENOMEM);
        }
        quota.part(account, creds, (Part::Object(kind), 1), self.most(facts.most))?;
        facts.most_contents.map_or(Ok(()), |limit| {
            quota.part(account, creds, (Part::Contents(kind), contents), self.most(limit))
        })
    }

    /// A limit as an amount.
    fn most(&self, limit: Limit) -> u64 {
        let bits = self.limits().get(limit);
        if limit.row().range == Range::Unsigned {
            bits.cast_unsigned()
        } else {
            u64::try_from(bits).unwrap_or(0)
        }
    }

    /// Puts an object on its creator's account.
    fn count(&mut self, kind: Kind, taken: Taken) {
        let Taken { creator, contents, own_file } = taken;
        self.account.take(Part::Object(kind), creator, 1);
        self.account.take(Part::Contents(kind), creator, contents);
        self.arenas.account_mut().take(Means::Files, creator, own_file);
    }

    /// Counts all objects there are.
    pub(crate) fn count_again(&mut self) {
        for kind in Kind::ALL {
            let there: Vec<Taken> =
                self.names(kind).iter().map(|(_, object)| Taken::by(kind, object)).collect();
            there.into_iter().for_each(|taken| self.count(kind, taken));
        }
    }

    /// Takes an object off its creator's account.
    pub(crate) fn uncount(&mut self, kind: Kind, object: &Object) {
        let Taken { creator, contents, own_file } = Taken::by(kind, object);
        self.account.give_back(Part::Object(kind), creator, 1);
        self.account.give_back(Part::Contents(kind), creator, contents);
        self.arenas.account_mut().give_back(Means::Files, creator, own_file);
    }

    /// Gives a new object its identifier. A `next_id` counts once, whether that identifier could be had or not.
    ///
    /// # Errors
    /// `ENOSPC` when the namespace, or the user in it, has as many objects of the kind as it may, or as much in them; the region is given back then.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        creds: &Creds,
        perm: Perm,
        size: u64,
        home: Option<Home>,
    ) -> Result<IpcId, Errno> {
        let creator_name =
            self.processes.derived_mut(&creds.pid).map_or([0; 16], |process| process.name(creds.pid));
        let object = Object {
            perm,
            size,
            home,
            next: None,
            creator: creds.pid,
            creator_name,
            leased: false,
            users: HashSet::new(),
        };
        let (may, taken) = (self.check_share(kind, creds, &object), Taken::by(kind, &object));
        let id = may.and_then(|()| self.name(kind, object).ok_or(Errno::ENOSPC));
        match (&id, home) {
            (Ok(_), _) => self.count(kind, taken),
            (Err(_), Some(home)) => self.arenas.retire(home.range),
            (Err(_), None) => {}
        }
        id
    }

    fn name(&mut self, kind: Kind, object: Object) -> Option<IpcId> {
        let facts = mechanism::of(kind).facts();
        let mut limits = *self.limits();
        let limit = usize::try_from(limits.get(facts.most)).unwrap_or(0);
        let asked_for = i32::try_from(limits.get(facts.next_id)).ok().filter(|&id| id >= 0);
        if self.names(kind).in_use() < limit && asked_for.is_some() {
            limits.put(facts.next_id, -1);
            self.set_limits(limits);
        }
        let id = self.names_mut(kind).add(object.perm.key, asked_for, limit, object)?;
        if let Some(object) = self.names_mut(kind).get_mut(id) {
            object.perm.id = id;
        }
        Some(id)
    }

    /// The end of making an object: an object whose region could not be written empty goes at once.
    pub(crate) fn made(
        &mut self,
        kind: Kind,
        id: IpcId,
        formatted: Result<(), Error>,
    ) -> Result<IpcId, Errno> {
        if formatted.is_err() {
            self.forget(kind, id);
            return Err(Errno::ENOMEM);
        }
        Ok(id)
    }
}
