//! Random scripts: what proptest makes of a seed, and how it is cut down when the worlds differ.
//!
//! A script first makes an object or two, so that most calls have something to work on; then come calls of up to four workers,
//! biased towards what is difficult: small queues, several operations with undo, deaths, signals, removal while others sleep.
//! Values stand in their lists from simple to strange, because proptest shrinks towards the first.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

type Line = BoxedStrategy<String>;
type Script = BoxedStrategy<Vec<String>>;

fn runner(seed: u64, index: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&index.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

thread_local! {
    static SCRIPTS: Script = scripts();
}

/// Script number `index` of `seed`, which can be shrunk.
pub fn tree(seed: u64, index: u64) -> Box<dyn ValueTree<Value = Vec<String>>> {
    match SCRIPTS.with(|all| all.new_tree(&mut runner(seed, index))) {
        Ok(tree) => tree,
        Err(_) => Box::new(
            proptest::strategy::Just(Vec::new()).new_tree(&mut runner(0, 0)).unwrap_or(Just(Vec::new())),
        ),
    }
}

/// Script number `index` of `seed`, without the lines that have one of these words.
pub fn script(seed: u64, index: u64, without: &[String]) -> Vec<String> {
    strip(tree(seed, index).current(), without)
}

/// Leaves out the lines that have one of these words.
pub fn strip(mut lines: Vec<String>, without: &[String]) -> Vec<String> {
    lines.retain(|line| !without.iter().any(|word| line.contains(word)));
    lines
}

fn scripts() -> Script {
    let theme = |setup: Script, step: Line| {
        (setup, vec(step, 1..28)).prop_map(|(setup, body)| [setup, body].concat()).boxed()
    };
    prop_oneof![
        5 => theme(queue_setup(), prop_oneof![14 => queue_step(), 2 => person_step(), 1 => life_step()].boxed()),
        5 => theme(set_setup(), prop_oneof![14 => set_step(), 2 => person_step(), 1 => life_step()].boxed()),
        3 => theme(segment_setup(), prop_oneof![12 => segment_step(), 1 => person_step(), 3 => life_step()].boxed()),
        2 => theme(
            (queue_setup(), set_setup(), segment_setup()).prop_map(|(a, b, c)| [a, b, c].concat()).boxed(),
            prop_oneof![4 => queue_step(), 4 => set_step(), 3 => segment_step(), 2 => person_step(), 2 => life_step()]
                .boxed(),
        ),
    ]
    .boxed()
}

/// One of these, the earlier the simpler.
fn one(of: &'static [&'static str]) -> BoxedStrategy<&'static str> {
    select(of).boxed()
}

/// Mostly these, seldom those.
fn often(these: &'static [&'static str], those: &'static [&'static str]) -> BoxedStrategy<&'static str> {
    prop_oneof![14 => select(these), 1 => select(those)].boxed()
}

/// A worker, or the next one that is free.
fn who() -> BoxedStrategy<&'static str> {
    one(&["0?", "1?", "2?", "0?", "1?", "2?", "0?", "1?", "3?"])
}

/// A worker, whatever it does.
fn victim() -> BoxedStrategy<usize> {
    prop_oneof![4 => Just(0usize), 4 => Just(1), 3 => Just(2), 1 => Just(3)].boxed()
}

fn key() -> BoxedStrategy<&'static str> {
    one(&["1", "1", "2", "IPC_PRIVATE", "3", "-1"])
}

fn get_flags() -> BoxedStrategy<&'static str> {
    one(&[
        "IPC_CREAT|0666",
        "IPC_CREAT|0600",
        "0",
        "IPC_CREAT|IPC_EXCL|0666",
        "IPC_CREAT|0400",
        "IPC_CREAT|0240",
        "IPC_EXCL|0222",
        "IPC_CREAT",
        "0777",
    ])
}

/// Fields of IPC_SET, but for qbytes.
fn owner() -> BoxedStrategy<&'static str> {
    one(&[
        "uid=0 gid=0 mode=0666",
        "uid=0 gid=0 mode=0600",
        "uid=1000 gid=1000 mode=0640",
        "uid=65534 gid=0 mode=0200",
        "uid=0 gid=1000 mode=0004",
        "uid=0 gid=0 mode=0000",
        "uid=0 gid=0 mode=07777",
    ])
}

fn queue() -> BoxedStrategy<&'static str> {
    often(&["q", "q", "q", "r"], &["q+32768", "r-32768", "-1"])
}

fn queue_setup() -> Script {
    let bytes = one(&["16384", "10", "100", "2000", "0", "3"]);
    let second =
        prop_oneof![1 => Just(vec![]), 4 => Just(vec!["0: r = msgget(2, IPC_CREAT|0666)".to_string()])];
    (bytes, second)
        .prop_map(|(bytes, second)| {
            let mut all = vec!["0: q = msgget(1, IPC_CREAT|0666)".to_string()];
            if bytes != "16384" {
                all.push(format!("0: msgctl(q, IPC_SET, {{uid=0 gid=0 mode=0666 qbytes={bytes}}})"));
            }
            all.extend(second);
            all
        })
        .boxed()
}

fn text() -> BoxedStrategy<&'static str> {
    one(&[
        "a", "b", "cd", "", "efg", "x*9", "y*50", "z*90", "k*700", "l*1024", "m*1025", "n*1990", "o*2100",
        "p*5000", "h*8192", "t*8193",
    ])
}

fn queue_step() -> Line {
    let send = (who(), queue(), one(&["1", "2", "3", "4", "5", "9", "LONG_MAX", "0", "-2"]), text())
        .prop_flat_map(|(w, q, t, text)| {
            one(&["0", "IPC_NOWAIT"]).prop_map(move |f| format!("{w}: msgsnd({q}, {{{t} {text}}}, _, {f})"))
        });
    let wish = one(&["0", "1", "2", "3", "-1", "-2", "-3", "-9", "5", "9", "LONG_MIN", "-LONG_MAX", "7"]);
    let room = one(&["8192", "8192", "100", "3", "1", "0", "1024", "-1", "100000"]);
    let flags = one(&[
        "0",
        "0",
        "0",
        "IPC_NOWAIT",
        "IPC_NOWAIT",
        "MSG_NOERROR",
        "MSG_EXCEPT",
        "MSG_EXCEPT|IPC_NOWAIT",
        "MSG_NOERROR|IPC_NOWAIT",
        "MSG_COPY|IPC_NOWAIT",
        "MSG_COPY|IPC_NOWAIT|MSG_NOERROR",
        "MSG_COPY",
        "MSG_COPY|MSG_EXCEPT|IPC_NOWAIT",
        "MSG_EXCEPT|MSG_NOERROR",
    ]);
    let receive = (who(), queue(), room, wish, flags)
        .prop_map(|(w, q, room, wish, f)| format!("{w}: msgrcv({q}, OUT, {room}, {wish}, {f})"));
    let get = (who(), one(&["q", "r"]), key(), get_flags())
        .prop_map(|(w, q, key, f)| format!("{w}: {q} = msgget({key}, {f})"));
    let set = (who(), queue(), owner(), one(&["16384", "100", "10", "0", "2000", "16385", "8000"]))
        .prop_map(|(w, q, owner, b)| format!("{w}: msgctl({q}, IPC_SET, {{{owner} qbytes={b}}})"));
    let stat = (who(), queue(), one(&["IPC_STAT", "MSG_STAT", "MSG_STAT_ANY", "MSG_INFO", "IPC_INFO", "99"]))
        .prop_map(|(w, q, cmd)| {
            let index = if cmd.contains("_STAT") && cmd.starts_with("MSG") { "&32767" } else { "" };
            format!("{w}: msgctl({q}{index}, {cmd}, OUT)")
        });
    let remove = (who(), queue()).prop_map(|(w, q)| format!("{w}: msgctl({q}, IPC_RMID, NULL)"));
    let bad = (who(), queue(), one(&["NULL", "BAD", "EDGE-4", "EDGE-8", "RO", "KERNEL"])).prop_flat_map(
        |(w, q, p)| {
            one(&["send", "receive"]).prop_map(move |what| match what {
                "send" => format!("{w}: msgsnd({q}, {p}, 4, IPC_NOWAIT)"),
                _ => format!("{w}: msgrcv({q}, {p}, 8192, 0, IPC_NOWAIT)"),
            })
        },
    );
    prop_oneof![24 => send, 24 => receive, 2 => get, 5 => set, 4 => stat, 2 => remove, 1 => bad].boxed()
}

fn set() -> BoxedStrategy<&'static str> {
    often(&["s", "s", "s", "t"], &["s+32768", "-1"])
}

fn set_setup() -> Script {
    let values = one(&["<0 0 0 0>", "<1 1 1 1>", "<2 0 1 3>", "<32767 0 0 1>"]);
    let second =
        prop_oneof![1 => Just(vec![]), 4 => Just(vec!["0: t = semget(2, 3, IPC_CREAT|0666)".to_string()])];
    (one(&["4", "2", "3", "4", "1"]), values, second)
        .prop_map(|(nsems, values, second)| {
            let mut all = vec![format!("0: s = semget(1, {nsems}, IPC_CREAT|0666)")];
            if values != "<0 0 0 0>" {
                all.push(format!("0: semctl(s, 0, SETALL, {values})"));
            }
            all.extend(second);
            all
        })
        .boxed()
}

fn operations() -> BoxedStrategy<String> {
    let what = often(
        &["-1", "+1", "=0", "-2", "+2", "-1", "+1", "=0", "-3", "+3"],
        &["-32767", "+32767", "-32768", "+7", "-30000", "+30000"],
    );
    let flags = one(&["", "", "u", "u", "n", "un"]);
    let num = prop_oneof![60 => one(&["0", "0", "1", "1", "2"]), 6 => Just("3"), 1 => Just("9")];
    let op = (num, what, flags).prop_map(|(n, o, f)| format!("{n}{o}{f}"));
    prop_oneof![5 => vec(op.clone(), 1..2), 3 => vec(op.clone(), 2..3), 1 => vec(op, 3..6)]
        .prop_map(|all| all.join(" "))
        .boxed()
}

fn set_step() -> Line {
    let operate = (who(), set(), operations()).prop_map(|(w, s, ops)| format!("{w}: semop({s}, [{ops}], _)"));
    let timed = (who(), set(), operations(), one(&["1ms", "0s", "1h", "time(-1 0)", "time(0 1000000000)"]))
        .prop_map(|(w, s, ops, t)| format!("{w}: semtimedop({s}, [{ops}], _, {t})"));
    let get = (who(), one(&["s", "t"]), key(), one(&["1", "3", "0", "2", "4", "-1", "32001"]), get_flags())
        .prop_map(|(w, s, key, n, f)| format!("{w}: {s} = semget({key}, {n}, {f})"));
    let number = often(&["0", "1", "2", "0", "1"], &["3", "-1", "4"]);
    let read = (who(), set(), number.clone(), one(&["GETVAL", "GETPID", "GETNCNT", "GETZCNT", "99"]))
        .prop_map(|(w, s, n, cmd)| format!("{w}: semctl({s}, {n}, {cmd}, 0)"));
    let setval = (who(), set(), number, one(&["0", "1", "2", "3", "32767", "32768", "-1"]))
        .prop_map(|(w, s, n, v)| format!("{w}: semctl({s}, {n}, SETVAL, {v})"));
    let setall = (who(), set(), one(&["<0 0 0 0>", "<1 1 1 1>", "<3 2 1 0>", "<32767 0 0 32768>"]))
        .prop_map(|(w, s, v)| format!("{w}: semctl({s}, 0, SETALL, {v})"));
    let stat =
        (who(), set(), one(&["IPC_STAT", "GETALL", "SEM_STAT", "SEM_STAT_ANY", "SEM_INFO", "IPC_INFO"]))
            .prop_map(|(w, s, cmd)| {
                let index = if cmd.starts_with("SEM_STAT") { "&32767" } else { "" };
                format!("{w}: semctl({s}{index}, 0, {cmd}, OUT)")
            });
    let owner =
        (who(), set(), owner()).prop_map(|(w, s, o)| format!("{w}: semctl({s}, 0, IPC_SET, {{{o}}})"));
    let remove = (who(), set()).prop_map(|(w, s)| format!("{w}: semctl({s}, 0, IPC_RMID)"));
    let bad = (who(), set(), one(&["NULL", "BAD", "EDGE-6", "EDGE-4", "RO"]), one(&["1", "0", "501", "500"]))
        .prop_map(|(w, s, p, n)| format!("{w}: semop({s}, {p}, {n})"));
    prop_oneof![
        40 => operate, 4 => timed, 2 => get, 6 => read, 5 => setval, 2 => setall, 4 => stat, 1 => owner, 2 => remove,
        1 => bad
    ]
    .boxed()
}

fn segment() -> BoxedStrategy<&'static str> {
    often(&["m", "m", "m", "n", "n"], &["m+32768", "-1"])
}

fn segment_setup() -> Script {
    let size = one(&["4096", "5000", "1", "16384"]);
    let more: Script = prop_oneof![
        1 => Just(vec![]),
        2 => Just(vec!["0: n = shmget(2, 9000, IPC_CREAT|0666)".to_string()]),
        3 => Just(vec!["0: n = shmget(2, 9000, IPC_CREAT|0666)".to_string(), "0: a = shmat(m, AT, 0)".to_string()]),
        3 => Just(vec![
            "0: n = shmget(2, 9000, IPC_CREAT|0666)".to_string(),
            "0: a = shmat(n, AT, 0)".to_string(),
            "1: b = shmat(n, AT+0x1000, 0)".to_string(),
        ]),
    ]
    .boxed();
    (size, more)
        .prop_map(|(size, more)| [vec![format!("0: m = shmget(1, {size}, IPC_CREAT|0666)")], more].concat())
        .boxed()
}

fn segment_step() -> Line {
    let name = || one(&["a", "b", "c"]);
    let place = often(&["AT", "AT+0x1000", "AT+0x2000", "NULL"], &["AT+0x1234", "BAD+1"]);
    let flags = one(&[
        "0",
        "0",
        "SHM_RDONLY",
        "SHM_RND",
        "SHM_REMAP",
        "SHM_RND|SHM_RDONLY",
        "SHM_REMAP|SHM_RND",
        "SHM_EXEC",
    ]);
    // What is attached where the kernel likes has no name: another worker's call would find it elsewhere in each world.
    let attach = (who(), name(), segment(), place, flags).prop_map(|(w, a, m, at, f)| match at {
        "NULL" => format!("{w}: shmat({m}, NULL, {f})"),
        _ => format!("{w}: {a} = shmat({m}, {at}, {f})"),
    });
    let detach = (who(), often(&["AT", "AT+0x1000", "AT+0x2000", "a", "b"], &["a+4096", "NULL", "a+1"]))
        .prop_map(|(w, a)| format!("{w}: shmdt({a})"));
    let spot = || one(&["AT", "AT+0x1000", "AT+0x2000", "AT+0x2001", "AT+0x3ff0"]);
    let peek =
        (who(), spot(), one(&["4", "4096", "9000"])).prop_map(|(w, a, n)| format!("{w}: peek({a}, {n})"));
    let poke = (who(), spot(), one(&["4", "1", "4096"]), one(&["65", "66", "0"]))
        .prop_map(|(w, a, n, b)| format!("{w}: poke({a}, {n}, {b})"));
    let unmap = (who(), spot(), one(&["4096", "8192"])).prop_map(|(w, a, n)| {
        let page = a.replace("0x2001", "0x2000").replace("0x3ff0", "0x3000");
        format!("{w}: munmap({page}, {n})")
    });
    let get = (who(), one(&["m", "n"]), key(), one(&["4096", "1", "0", "5000", "9000", "-1"]), get_flags())
        .prop_map(|(w, m, key, size, f)| format!("{w}: {m} = shmget({key}, {size}, {f})"));
    let stat =
        (who(), segment(), one(&["IPC_STAT", "SHM_STAT", "SHM_STAT_ANY", "SHM_INFO", "IPC_INFO", "99"]))
            .prop_map(|(w, m, cmd)| {
                let index = if cmd.starts_with("SHM_STAT") { "&32767" } else { "" };
                format!("{w}: shmctl({m}{index}, {cmd}, OUT)")
            });
    let change = (who(), segment(), one(&["SHM_LOCK", "SHM_UNLOCK", "IPC_RMID", "IPC_RMID"]))
        .prop_map(|(w, m, cmd)| format!("{w}: shmctl({m}, {cmd}, NULL)"));
    let owner =
        (who(), segment(), owner()).prop_map(|(w, m, o)| format!("{w}: shmctl({m}, IPC_SET, {{{o}}})"));
    prop_oneof![
        10 => attach, 6 => detach, 4 => peek, 4 => poke, 2 => unmap, 3 => get, 4 => stat, 4 => change, 1 => owner
    ]
    .boxed()
}

/// What happens to a worker from outside, and who it is.
fn person_step() -> Line {
    let outside = (one(&["signal", "signal", "signal", "kill", "kill"]), victim())
        .prop_map(|(v, w)| format!("{v} {w}"));
    let change = one(&[
        "become(65534, 65534)",
        "become(1000, 1000, 0)",
        "become(0, 0)",
        "seteuid(1000)",
        "setegid(1000)",
        "seteuid(0)",
        "capdrop(CAP_IPC_OWNER)",
        "handler(SA_RESTART)",
    ]);
    let change = (who(), change).prop_map(|(w, c)| format!("{w}: {c}"));
    prop_oneof![4 => outside, 1 => change].boxed()
}

/// Birth and death inside.
fn life_step() -> Line {
    let call = one(&["fork(4)", "fork(5)", "exec()", "exit(0)", "thread(6)", "wait(4)", "vfork()"]);
    let person = one(&["0?", "1?", "2?", "0?", "1?", "4", "5"]);
    (person, call).prop_map(|(w, c)| format!("{w}: {c}")).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::script::Step;

    #[test]
    fn every_line_can_be_read_and_comes_again() {
        for index in 0..500 {
            let lines = script(7, index, &[]);
            assert_eq!(lines, script(7, index, &[]), "a seed makes one script");
            for line in lines {
                Step::parse(&line).expect("a generated line is a step");
            }
        }
    }
}
