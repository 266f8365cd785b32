//! Files of limits that somebody has open for writing: what is written there is in force before the next request.

use super::{Server, Source};
use crate::procfs::Written;
use crate::spaces::Space;
use rustix::event::epoll::{self, EventFlags};

impl Server {
    /// Puts in force what was written to files of limits. `heard`: some file says so, perhaps one that was opened without us.
    pub(super) fn drain_written(&mut self, heard: bool) {
        let files = self.spaces.all().filter_map(|(_, ns)| ns.opened_limits());
        let writers = files.map(|files| files.writers()).sum::<usize>();
        if self.written.is_empty() && writers == 0 && !heard {
            return;
        }
        for (_, ns) in self.spaces.all_mut() {
            ns.take_up_limits();
        }
        let all: Vec<u64> = self.written.keys().copied().collect();
        for number in all {
            let Some(written) = self.written.derived_mut(&number) else { continue };
            let used = written.used;
            let open = written.drain(self.spaces.at_mut(written.space));
            if !open {
                self.written.remove(&number);
            } else if used != self.written.get(&number).is_some_and(|written| written.used) {
                let _ = self.written.get_mut(&number);
            }
        }
        self.publish_writers();
    }

    /// Tells everybody whether limits may be changing without a request.
    pub(crate) fn publish_writers(&mut self) {
        for (space, ns) in self.spaces.all() {
            let files = ns.opened_limits().map_or(0, |files| files.writers());
            let pipes = self.written.values().filter(|written| written.space == space).count();
            if let Some(directory) = ns.directory() {
                directory.set_limit_writers(files + pipes);
            }
        }
    }

    /// Watches a file of limits that is open for writing.
    pub(crate) fn watch_written(&mut self, written: Written) {
        // Not watched, it is still drained before each request.
        let _ = self.watch(&written.fd, Source::Pipe);
        let next = self.written.last_key_value().map_or(0, |(last, _)| last + 1);
        self.written.insert(next, written);
        self.publish_writers();
    }

    /// Watches the kernel's files of limits, if they were opened.
    pub(crate) fn watch_limits(&self, space: Space) {
        let Some(files) = self.spaces.at(space).opened_limits() else { return };
        // Not watched, they are still looked at before each request.
        let _ = epoll::add(&self.events, files.events(), Source::Pipe.encode(), EventFlags::IN);
    }
}
