//! `ring3 run`: exit status, signals, descendants, what is left and what is not.

mod support;

use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use support::{Place, Said, until};

#[test]
fn the_exit_status_is_cmds() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).status(0);
    place.run(&["run", "--", "sh", "-c", "exit 7"]).status(7);
    place.run(&["run", "--", "sh", "-c", "kill -TERM $$"]).status(128 + 15);
    place.run(&["run", "--", "sh", "-c", "kill -KILL $$"]).status(128 + 9);
    assert!(place.run(&["run", "--", "/nonexistent"]).status(127).err.contains("not found"));
    place.run(&["run", "--", "/etc/passwd"]).status(126);
    place.run(&["run", "--", "/"]).status(126);
    assert_eq!(place.entries(), [""; 0]);
}

#[test]
fn output_and_input_are_cmds() {
    let place = Place::new();
    let said = place.run(&["run", "--", "sh", "-c", "echo out; echo err >&2"]).status(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
}

#[test]
fn cmd_finds_the_agent_in_its_environment() {
    let place = Place::new();
    let script = "test -S $RING3_SOCKET && test -x $RING3_LIB && echo $LD_PRELOAD";
    let said = place.ring3(&["run", "--", "sh", "-c", script]).env("LD_PRELOAD", "libnothing.so").output();
    let said = Said::from(said.expect("ring3 starts")).status(0);
    assert!(said.out.starts_with(place.path().to_str().expect("UTF-8")), "{said:#?}");
    assert!(said.out.ends_with("libring3.so:libnothing.so\n"), "{said:#?}");
}

#[test]
fn an_environment_for_somewhere_else_is_left_alone() {
    let place = Place::new();
    let command = ["run", "--", "env", "-u", "LD_PRELOAD", "RING3_SOCKET=/elsewhere"];
    let said = place.run(&[&command[..], &["sh", "-c", "echo \"[$LD_PRELOAD]\""]].concat()).status(0);
    assert_eq!(said.out, "[]\n");
}

#[test]
fn it_lasts_as_long_as_the_last_descendant() {
    let place = Place::new();
    let script = "mkfifo $RING3_DIR/go; (read x <$RING3_DIR/go; echo late) & exit 3";
    let child =
        place.ring3(&["run", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("ring3 starts");
    let go = place.path().join("go");
    until(|| go.exists());
    std::fs::write(&go, "x\n").expect("the descendant reads");
    let said = Said::from(child.wait_with_output().expect("ring3 ends")).status(3);
    assert_eq!(said.out, "late\n");
}

/// The signals that these tests send.
const SENT: [Signal; 7] =
    [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM];

/// Starts CMD in a group of its own and waits for its first line. None of the signals is ignored, whatever this test has inherited: a shell's
/// background processes ignore SIGINT, and bash cannot trap what it was started with ignored.
fn start(place: &Place, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = place.ring3(&["run", "-q", "--", "bash", "-c", script]);
    command.process_group(0).stdout(Stdio::piped());
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            SENT.iter().for_each(|signal| {
                libc::signal(signal.as_raw(), libc::SIG_DFL);
            });
            Ok(())
        });
    }
    let mut child = command.spawn().expect("ring3 starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    (child, lines)
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[test]
fn signals_reach_cmd() {
    for signal in SENT {
        let place = Place::new();
        let number = signal.as_raw();
        let script = format!("trap 'exit 50' {number}; echo ready; while :; do sleep 0.01; done");
        let (mut child, _lines) = start(&place, &script);
        rustix::process::kill_process(pid(&child), signal).expect("it is there");
        assert_eq!(child.wait().expect("it ends").code(), Some(50), "signal {number}");
    }
}

#[test]
fn a_terminals_signal_to_the_group_ends_cmd_but_not_its_keeper() {
    let place = Place::new();
    let (mut child, _lines) = start(&place, "echo ready; exec sleep 100");
    rustix::process::kill_process_group(pid(&child), Signal::INT).expect("it is there");
    let status = child.wait().expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(128 + 2), None));
    assert_eq!(place.entries(), [""; 0]);
}

#[test]
fn after_cmds_end_a_signal_ends_the_rest() {
    let place = Place::new();
    let script = "sleep 100 >/dev/null & echo ready; exit 4";
    let (mut child, _lines) = start(&place, script);
    let me = pid(&child);
    until(|| {
        // An early signal is passed to CMD, which may be about to end: it may take two.
        let _ = rustix::process::kill_process(me, Signal::TERM);
        child_ended(me)
    });
    let code = child.wait().expect("it ends").code();
    assert!(code == Some(4) || code == Some(128 + 15), "{code:?}");
}

/// Whether a child has ended, leaving it to be waited for.
fn child_ended(pid: Pid) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

#[test]
fn what_was_left_behind_is_named_line_by_line() {
    let place = Place::new();
    let said = place.run(&["run", "--", "sh", "-c", "ipcmk -Q; ipcmk -S 3; ipcmk -M 4096"]).status(0);
    let lines: Vec<&str> = said.err.lines().collect();
    let starts = [
        "ring3: left behind: msg 0, key 0x",
        "ring3: left behind: sem 0, key 0x",
        "ring3: left behind: shm 0, key 0x",
    ];
    let contents = ["0 messages", "3 semaphores", "4096 bytes"];
    assert_eq!(lines.len(), 3, "{said:#?}");
    for ((line, start), content) in lines.iter().zip(starts).zip(contents) {
        assert!(line.starts_with(start) && line.contains(content) && line.contains("(ipcmk)"), "{line}");
    }
    assert_eq!(place.entries(), [""; 0]);
}

#[test]
fn quiet_says_nothing_and_a_tidy_program_leaves_nothing() {
    let place = Place::new();
    assert_eq!(place.run(&["run", "--quiet", "--", "ipcmk", "-Q"]).status(0).err, "");
    assert_eq!(place.run(&["run", "--", "sh", "-c", "ipcmk -Q; ipcrm -q 0"]).status(0).err, "");
}

#[test]
fn inside_each_other_namespaces_are_apart() {
    let place = Place::new();
    let inner = concat!(env!("CARGO_BIN_EXE_ring3"), " run -q -- sh -c 'ipcmk -S 2; ipcs -q'");
    let said = place.run(&["run", "--", "sh", "-c", &format!("ipcmk -Q >/dev/null; {inner}")]).status(0);
    assert!(said.out.contains("Semaphore id: 0"), "{said:#?}");
    assert!(!said.out.contains("0x"), "the outer queue is seen inside: {said:#?}");
    assert_eq!(said.err.lines().count(), 1, "{said:#?}");
    assert!(said.err.contains("msg 0"), "{said:#?}");
}

#[test]
fn limits_are_the_namespaces_own() {
    let place = Place::new();
    let said =
        place.run(&["run", "--limit", "msgmax=4K", "--limit", "sem=1,2,3,4", "--", "ipcs", "-l"]).status(0);
    assert!(said.out.contains("4096"), "{said:#?}");
    assert!(said.out.contains("max number of arrays = 4"), "{said:#?}");
}

#[test]
fn nothing_is_left_after_sigkill_once_something_new_starts() {
    let place = Place::new();
    let (mut child, _lines) = start(&place, "echo ready; exec sleep 100");
    let family =
        std::process::Command::new("pgrep").args(["-P", &child.id().to_string()]).output().expect("pgrep");
    // The keeper first, so that nobody tidies up.
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    for pid in String::from_utf8_lossy(&family.stdout).split_whitespace() {
        let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a number");
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    until(|| {
        place.run(&["run", "--", "true"]).status(0);
        place.entries().is_empty()
    });
}

#[test]
fn a_keepers_death_leaves_cmd_its_namespace_and_later_nothing() {
    let place = Place::new();
    let script = "echo ready; read x <$RING3_DIR/go; test -S $RING3_SOCKET && ipcmk -Q >$RING3_DIR/made";
    let go = place.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().expect("mkfifo").success());
    let (mut child, _lines) = start(&place, script);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    std::fs::write(&go, "x\n").expect("CMD reads");
    let made = place.path().join("made");
    until(|| std::fs::read_to_string(&made).is_ok_and(|text| text.starts_with("Message queue id: 0")));
    until(|| place.entries().iter().all(|name| !name.starts_with("run-")));
}

#[test]
fn a_kept_namespace_goes_on_until_it_is_stopped() {
    let place = Place::new();
    let said = place.run(&["run", "--keep", "--", "ipcmk", "-S", "2"]).status(0);
    let names: Vec<String> = place.entries().into_iter().filter(|name| name.starts_with("run-")).collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    assert!(said.err.contains(&format!("ring3 stop {name}")), "{said:#?}");
    let listed = place.run(&["ls", "--in", name]).status(0);
    assert!(listed.out.contains("2 semaphores"), "{listed:#?}");
    place.run(&["stop", name]).status(0);
    assert!(place.entries().iter().all(|entry| entry == ".lock"), "{:?}", place.entries());
}
