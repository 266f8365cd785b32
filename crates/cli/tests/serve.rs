//! `ring3 serve`, `run --in`, `ls`, `rm`, `stop`; and what they say when there is no such namespace.

mod support;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use support::{Place, until};

#[test]
fn a_daemon_can_be_joined_looked_at_and_stopped() {
    let place = Place::new();
    place.run(&["serve", "ci", "--daemon"]).status(0);
    assert!(place.run(&["serve", "ci"]).status(1).err.contains("being served already"));

    place
        .run(&["run", "--in", "ci", "--", "sh", "-c", "ipcmk -Q; ipcmk -S 3; ipcmk -M 4096; exit 5"])
        .status(5);
    let table = place.run(&["ls", "--in", "ci"]).status(0).out;
    assert_eq!(table.lines().count(), 4, "{table}");
    let json = place.run(&["ls", "sem", "--in", "ci", "--json"]).status(0).out;
    let sets: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(sets[0]["kind"], "sem");
    assert_eq!(sets[0]["size"], 3);
    assert_eq!(sets[0]["creator_name"], "ipcmk");
    // Without a name: the one the command runs in.
    let inside =
        place.run(&["run", "--in", "ci", "--", env!("CARGO_BIN_EXE_ring3"), "ls", "msg"]).status(0).out;
    assert_eq!(inside.lines().count(), 2, "{inside}");

    place.run(&["rm", "--in", "ci", "msg", "0"]).status(0);
    assert!(place.run(&["rm", "--in", "ci", "msg", "0"]).status(1).err.contains("cannot remove msg 0"));
    let key = format!("{:#x}", sets[0]["key"].as_u64().expect("a number"));
    place.run(&["rm", "--in", "ci", "--key", &key]).status(0);
    place.run(&["rm", "--in", "ci", "--owner", "nobody"]).status(1);
    place.run(&["rm", "--in", "ci", "--all"]).status(0);
    assert_eq!(place.run(&["ls", "--in", "ci"]).status(0).out.lines().count(), 1);

    place.run(&["stop", "ci"]).status(0);
    until(|| !place.path().join("ci").exists());
    let said = place.run(&["run", "--in", "ci", "--", "true"]).status(1);
    assert!(said.err.contains(r#"no namespace "ci" (looked in "#), "{said:#?}");
    assert!(said.err.contains("start it with: ring3 serve ci"), "{said:#?}");
}

#[test]
fn it_speaks_systemds_protocol() {
    let place = Place::new();
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let mut child =
        place.ring3(&["serve", "unit"]).env("NOTIFY_SOCKET", &path).spawn().expect("ring3 starts");
    let mut buffer = [0; 256];
    let len = manager.recv(&mut buffer).expect("a message");
    assert!(buffer[..len].starts_with(b"READY=1"), "{:?}", &buffer[..len]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("there");
    let len = manager.recv(&mut buffer).expect("a message");
    assert_eq!(&buffer[..len], b"STOPPING=1");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(!place.path().join("unit").exists());
}

#[test]
fn a_namespace_in_use_is_not_stopped() {
    let place = Place::new();
    place.run(&["serve", "busy", "-d"]).status(0);
    // perl is part of every Debian; the numbers are a key and IPC_CREAT | 0600.
    let mut inside = place.ring3(&["run", "--in", "busy", "--", "perl", "-e", "msgget(7, 01600); <STDIN>"]);
    let mut child = inside.stdin(std::process::Stdio::piped()).spawn().expect("ring3 starts");
    until(|| place.run(&["ls", "msg", "--in", "busy"]).status(0).out.lines().count() == 2);
    assert!(place.run(&["stop", "busy"]).status(1).err.contains("still has programs in it"));
    drop(child.stdin.take());
    child.wait().expect("it ends");
    place.run(&["stop", "busy"]).status(0);
}

#[test]
fn errors_say_what_and_what_to_do() {
    let place = Place::new();
    for args in [&["stop", "nope"][..], &["ls", "--in", "nope"], &["rm", "--in", "nope", "--all"]] {
        let said = place.run(args).status(1);
        assert!(said.err.contains("ring3 serve nope"), "{said:#?}");
    }
    assert!(place.run(&["ls"]).status(1).err.contains("--in NAME"));
    assert!(place.run(&["rm", "--in", "nope"]).status(2).err.contains("--all"));
}
