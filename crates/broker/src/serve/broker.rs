//! The broker as whoever starts it sees it: the first of a namespace, or one that goes on.

use super::Server;
use crate::config::{Config, Report};
use crate::failure::Failure;
use crate::host::BrokerHost;
use crate::policy::quota::Quota;
use crate::spaces::Spaces;
use crate::state::Unpacked;
use crate::state::vault::{self, Vault};
use crate::state::{Hand, Inbox, Memory};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// A running broker.
#[derive(Debug)]
pub struct Broker(Server);

/// Runs a namespace until its keeper calls and no client is left, or until it is told to end.
///
/// # Errors
/// What the machine refuses: memory files, epoll.
pub fn serve(config: Config) -> Result<Report, Failure> {
    Broker::new(config)?.serve()
}

/// Takes what a store gave back: sockets, in no order. For a process that has them, its standard streams and `own`, and nothing else; `own` has other numbers
/// then. The store keeps what it has.
///
/// # Errors
/// `EIO` for what does not fit together; the machine's.
pub fn unpack(sockets: Vec<OwnedFd>, own: Vec<OwnedFd>) -> Result<Unpacked, Failure> {
    // The numbers are those of a process that had raised them.
    raise_limits();
    let failed = Failure::when("unpack what was kept");
    vault::unpack(sockets, own).map_err(|errno| failed(Errno::from_raw_os_error(i32::from(errno.0))))
}

impl Broker {
    /// A namespace's first broker.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn new(mut config: Config) -> Result<Broker, Failure> {
        raise_limits();
        let made = |errno: ring3_abi::Errno| Errno::from_raw_os_error(i32::from(errno.0));
        let memory = Memory::create().map_err(made).map_err(Failure::when("make the state's memory"))?;
        let listener = config.listener.as_raw_fd();
        let vault = config.keeping.take().map(|keeping| Vault::new(keeping, &memory, listener));
        let hand = Hand::new(Rc::new(memory), vault);
        let host = BrokerHost::new(Rc::clone(&hand), Quota::new(config.share));
        let spaces =
            Spaces::new(config.limits, host).map_err(made).map_err(Failure::when("make the directory"))?;
        let mut server = Server::new(config, spaces, Inbox::new(&hand.memory).0)?;
        server.begin(&hand)?;
        Ok(Broker(server))
    }

    /// The broker that goes on where another one was killed, or was left, in a process that has the same descriptors and mappings.
    ///
    /// # Errors
    /// What the machine refuses; `EUCLEAN` for a state that is damaged.
    pub fn resume(config: Config, memory: &Memory) -> Result<Broker, Failure> {
        raise_limits();
        Server::resume(config, memory).map(Broker)
    }

    /// Where its state is.
    pub fn memory(&mut self) -> Memory {
        self.0.spaces.root().host.hand.memory.again()
    }

    /// Serves until its keeper calls and no client is left, or until it is told to end.
    ///
    /// # Errors
    /// The machine's.
    pub fn serve(mut self) -> Result<Report, Failure> {
        while self.turn()? {}
        Ok(self.0.report())
    }

    /// One turn of the loop, which may sleep. Answers whether there will be more to do.
    ///
    /// # Errors
    /// The machine's.
    pub fn turn(&mut self) -> Result<bool, Failure> {
        if self.0.is_over() {
            return Ok(false);
        }
        self.0.turn()?;
        Ok(true)
    }
}

/// Raises what the command's limits should not lower: descriptors (one a class and one a process), the size of files (memory files are meant
/// to be sparse), locked memory (SHM_LOCK is counted by client).
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Memlock] {
        let maximum = getrlimit(resource).maximum;
        // Refused, the old limit stays: objects then fail with ENOMEM earlier.
        let _ = setrlimit(resource, Rlimit { current: maximum, maximum });
    }
}
