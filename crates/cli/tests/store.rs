//! `ring3 serve` under a service manager that keeps its descriptors: broker, lookout and keeper may all be killed at once.

mod support;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use support::Place;

/// A manager with a store, for one service.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
    store: Vec<OwnedFd>,
}

impl Manager {
    fn new(place: &Place) -> Manager {
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        Manager { path, socket, store: Vec::new() }
    }

    /// Does what one message says.
    fn hear(&mut self) -> String {
        let mut buffer = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
                .expect("a message in time");
        let text = String::from_utf8_lossy(&buffer[..got.bytes]).into_owned();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                assert_eq!(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=kept");
                self.store.extend(fds);
            }
        }
        if text.starts_with("FDSTOREREMOVE=1\nFDNAME=kept") {
            self.store.clear();
        }
        text
    }

    /// Hears until something is said.
    fn hear_until(&mut self, wanted: &str) {
        while !self.hear().starts_with(wanted) {}
    }

    /// Hears what is said meanwhile.
    fn hear_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).expect("a time limit");
            if rustix::net::recv(&self.socket, &mut [0; 1][..], RecvFlags::PEEK).is_ok() {
                self.hear();
            }
        }
        self.socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    }

    /// Hears what was said already.
    fn hear_the_rest(&mut self) {
        self.socket.set_nonblocking(true).expect("set");
        let mut byte = [0];
        while rustix::net::recv(&self.socket, &mut byte[..], RecvFlags::PEEK).is_ok() {
            self.hear();
        }
        self.socket.set_nonblocking(false).expect("set");
    }

    /// Starts the service, with what is in the store from 3 on.
    fn start(&mut self, place: &Place) -> Child {
        let mut command = Command::new("sh");
        // The number of the process that the descriptors are for.
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" serve kept", env!("CARGO_BIN_EXE_ring3")]);
        command.env("RING3_DIR", place.path()).env("NOTIFY_SOCKET", &self.path).env("FDSTORE", "1024");
        for name in ["LD_PRELOAD", "RING3_SOCKET", "RING3_LIB", "RING3_NS", "RING3_LOG"] {
            command.env_remove(name);
        }
        command.env("LISTEN_FDS", self.store.len().to_string());
        command.env("LISTEN_FDNAMES", vec!["kept"; self.store.len()].join(":"));
        let stored: Vec<RawFd> = self.store.iter().map(AsRawFd::as_raw_fd).collect();
        let place_them = move || {
            // SAFETY: dup2, fcntl and close have no memory arguments.
            unsafe {
                let far: Vec<i32> = stored.iter().map(|&fd| libc::fcntl(fd, libc::F_DUPFD, 500)).collect();
                for (at, fd) in (3..).zip(far) {
                    libc::dup2(fd, at);
                    libc::close(fd);
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls and takes some memory, in a child of a process whose other threads hold no lock for long.
        unsafe { command.pre_exec(place_them) };
        let child = command.spawn().expect("ring3 starts");
        self.hear_until("READY=1");
        child
    }
}

/// A program of the namespace that does what it is told, line by line, in perl.
struct Program {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Program {
    fn new(place: &Place) -> Program {
        let script =
            "$| = 1; while (<STDIN>) { my $r = eval $_; print defined $r ? $r : \"undef $!\", \"\\n\" }";
        let mut command = place.ring3(&["run", "--in", "kept", "--", "perl", "-e", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ring3 starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Program { child, to, from: BufReader::new(from) }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("it reads");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        line.trim().to_string()
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("not 0"), signal);
}

/// Kills keeper, broker and lookout at once: none sees another's death.
fn kill_all(mut keeper: Child) {
    let broker = children(keeper.id());
    let lookout: Vec<u32> = broker.iter().flat_map(|&broker| children(broker)).collect();
    assert_eq!((broker.len(), lookout.len()), (1, 1));
    let all = [vec![keeper.id()], broker, lookout].concat();
    all.iter().for_each(|&pid| signal(pid, Signal::STOP));
    all.iter().for_each(|&pid| signal(pid, Signal::KILL));
    keeper.wait().expect("ours");
}

/// What asks the broker for something all the time has it done, once each, over any number of such deaths.
#[test]
fn whoever_asks_meanwhile_is_answered_once() {
    let place = Place::new();
    let mut manager = Manager::new(&place);
    let mut keeper = manager.start(&place);
    let made = "my $id = shmget(0, 4096, 01600); defined $id or die; shmwrite($id, $_, 0, 9) or die;
        shmread($id, my $text, 0, 9) or die; index($text, $_) and die; shmctl($id, 0, 0) or die;"
        .replace('\n', " ");
    let mut makers: Vec<Program> = (0..2).map(|_| Program::new(&place)).collect();
    makers.iter_mut().for_each(|maker| {
        maker.tell(&format!("for (100000..108000) {{ {made} }} 'done'"));
    });
    for round in 0..20 {
        manager.hear_for(Duration::from_micros(20_000 + round * 3_137));
        kill_all(keeper);
        manager.hear_the_rest();
        keeper = manager.start(&place);
    }
    assert!(makers.iter_mut().all(|maker| maker.answer() == "done"));
    assert_eq!(makers[0].ask("my $id = msgget(5, 01600)"), "0");
    drop(makers);
    assert_eq!(place.run(&["ls", "shm", "--in", "kept"]).status(0).out.lines().count(), 1);
    signal(keeper.id(), Signal::TERM);
    manager.hear_until("FDSTOREREMOVE");
    assert_eq!(keeper.wait().expect("ours").code(), Some(0));
}

#[test]
fn a_namespace_goes_on_when_all_its_processes_are_killed_at_once() {
    let place = Place::new();
    let mut manager = Manager::new(&place);
    let keeper = manager.start(&place);
    let mut one = Program::new(&place);
    let mut other = Program::new(&place);
    let queue = one.ask("msgget(7, 01600)");
    assert_eq!(one.ask(&format!("msgsnd({queue}, pack('l! a*', 3, 'before'), 0)")), "1");
    let set = one.ask("semget(8, 2, 01600)");
    assert_eq!(one.ask(&format!("semctl({set}, 0, 16, 5)")), "0 but true");
    // One token is lent, to be given back when the program ends.
    assert_eq!(one.ask(&format!("semop({set}, pack('s!3', 0, -2, 010000))")), "1");
    let segment = one.ask("shmget(9, 100000, 01600)");
    assert_eq!(one.ask(&format!("shmwrite({segment}, 'some text', 0, 9)")), "1");
    // More than a drawer takes.
    let many: Vec<String> = (0..100).map(|_| one.ask("shmget(0, 4096, 01600)")).collect();
    // Waits.
    assert_eq!(other.ask("semget(8, 0, 0)"), set);
    other.tell(&format!("semop({set}, pack('s!3', 1, -1, 0))"));
    // Who may alter and not read waits in the broker.
    let mut proxied = Program::new(&place);
    let blind = one.ask("semget(10, 1, 01622)");
    assert_eq!(proxied.ask("semget(10, 1, 0)"), blind);
    let is_root = proxied.ask("$> = 1000; $>") == "1000";
    if is_root {
        proxied.tell(&format!("semop({blind}, pack('s!3', 0, -1, 0))"));
    }

    let mut keeper = Some(keeper);
    for (round, one_of_many) in many.iter().take(3).enumerate() {
        kill_all(keeper.take().expect("started"));
        manager.hear_the_rest();
        assert!(place.run(&["serve", "kept"]).status(1).err.contains("being served already"));
        // Whoever calls meanwhile waits.
        one.tell("msgget(7, 0)");
        keeper = Some(manager.start(&place));
        assert_eq!(one.answer(), queue, "round {round}");
        assert_eq!(one.ask("semget(8, 0, 0)"), set);
        assert_eq!(one.ask(&format!("semctl({set}, 0, 12, 0)")), "3");
        assert_eq!(one.ask(&format!("my $text; shmread({segment}, $text, 0, 9); $text")), "some text");
        assert_eq!(one.ask(&format!("shmctl({one_of_many}, 0, 0)")), "0 but true");
        let rows = place.run(&["ls", "shm", "--in", "kept"]).status(0).out.lines().count();
        assert_eq!(rows, 101 - round);
        // What is made now is there next time.
        assert_eq!(place.run(&["run", "--in", "kept", "--", "ipcmk", "-Q"]).status(0).status, Some(0));
    }
    assert_eq!(one.ask(&format!("my $m; msgrcv({queue}, $m, 100, 3, 0); substr($m, 8)")), "before");
    assert_eq!(one.ask(&format!("semop({set}, pack('s!3', 1, 1, 0))")), "1");
    assert_eq!(other.answer(), "1");
    if is_root {
        assert_eq!(one.ask(&format!("semop({blind}, pack('s!3', 0, 1, 0))")), "1");
        assert_eq!(proxied.answer(), "1");
    }
    drop((one, proxied));
    // It was reaped by its starter, and so settled before.
    assert_eq!(other.ask(&format!("semctl({set}, 0, 12, 0)")), "5");
    drop(other);

    // An end in order leaves nothing to keep.
    let keeper = keeper.expect("started");
    place.run(&["rm", "--in", "kept", "--all"]).status(0);
    place.run(&["stop", "kept"]).status(0);
    manager.hear_until("FDSTOREREMOVE");
    assert!(manager.store.is_empty());
    let mut keeper = keeper;
    assert_eq!(keeper.wait().expect("ours").code(), Some(0));
    assert!(!place.path().join("kept").exists());
}
