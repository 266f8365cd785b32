//! What one user may have of what all share: somebody takes all that there is to be had, and somebody else finds something still. docs/security.md.

mod support;

use ring3_abi::limits::Limits;
use ring3_abi::{Errno, IpcId, Kind};
use support::{Broker, Client, is_root};

/// A namespace in which little is much.
fn small() -> Broker {
    Broker::with(Limits {
        msgmni: 20,
        semmni: 20,
        semmns: 400,
        shmmni: 20,
        shmall: 1000,
        ..Limits::default()
    })
}

/// Makes objects until there are no more to be had, and answers them and why.
fn greedy(client: &Client, kind: Kind, size: i64) -> (Vec<IpcId>, Errno) {
    let mut made = Vec::new();
    loop {
        match client.get(kind, 0, 0o600, size) {
            Ok(id) => made.push(id),
            Err(why) => return (made, why),
        }
    }
}

#[test]
fn who_takes_all_that_there_is_leaves_something() {
    if !is_root() {
        return;
    }
    let broker = small();
    let (_hog, hog) = broker.embodied(1000, 1000);
    let (_honest, honest) = broker.embodied(1001, 1001);
    for (kind, size, most) in [(Kind::Msg, 0, 10), (Kind::Sem, 1, 10), (Kind::Shm, 1, 10)] {
        let (made, why) = greedy(&hog, kind, size);
        assert_eq!((made.len(), why), (most, Errno::ENOSPC), "{kind:?}");
        // Half of the other half.
        let (others, why) = greedy(&honest, kind, size);
        assert_eq!((others.len(), why), (5, Errno::ENOSPC), "{kind:?}");
        // What is given back may be taken again, by whoever is below his share.
        assert_eq!((hog.remove(kind, made[0]), hog.remove(kind, made[1])), (Ok(()), Ok(())));
        let one = honest.get(kind, 0, 0o600, size).expect("there is one more");
        assert_eq!(honest.remove(kind, one), Ok(()));
        // Root and the owner have no quota; the kernel's own limit is theirs.
        let me = broker.own();
        let (rest, why) = greedy(&me, kind, size);
        assert_eq!((rest.len(), why), (7, Errno::ENOSPC), "{kind:?}");
        for (client, ids) in [(&hog, &made[2..]), (&honest, &others), (&me, &rest)] {
            ids.iter().for_each(|&id| assert_eq!(client.remove(kind, id), Ok(())));
        }
    }
}

#[test]
fn what_is_in_objects_counts_too() {
    if !is_root() {
        return;
    }
    let broker = small();
    let (_hog, hog) = broker.embodied(1000, 1000);
    let (_honest, honest) = broker.embodied(1001, 1001);
    for (kind, most, unit) in [(Kind::Sem, 200, 1), (Kind::Shm, 500, 4096)] {
        assert_eq!(hog.get(kind, 0, 0o600, (most + 1) * unit), Err(Errno::ENOSPC));
        let all = hog.get(kind, 0, 0o600, most * unit).expect("half of it");
        assert_eq!(hog.get(kind, 0, 0o600, unit), Err(Errno::ENOSPC));
        let some = honest.get(kind, 0, 0o600, most / 2 * unit).expect("half of the rest");
        assert_eq!(honest.remove(kind, some), Ok(()));
        // Given away it counts still: who made it is who had it.
        assert_eq!(hog.set(kind, all, 1001, 1001, 0o600, 0), Ok(()));
        assert_eq!(hog.get(kind, 0, 0o600, unit), Err(Errno::ENOSPC));
        assert_eq!(hog.remove(kind, all), Ok(()));
        assert!(hog.get(kind, 0, 0o600, unit).is_ok());
    }
}

#[test]
fn another_broker_counts_the_same() {
    if !is_root() {
        return;
    }
    let broker = small();
    let (_hog, hog) = broker.embodied(1000, 1000);
    let (_honest, honest) = broker.embodied(1001, 1001);
    let made = greedy(&hog, Kind::Sem, 20).0;
    assert_eq!(made.len(), 10);
    let (segments, _) = greedy(&hog, Kind::Shm, 4096 * 100);
    assert_eq!(segments.len(), 5);
    broker.replace();
    assert_eq!(hog.get(Kind::Sem, 0, 0o600, 1), Err(Errno::ENOSPC));
    assert_eq!(hog.get(Kind::Shm, 0, 0o600, 1), Err(Errno::ENOSPC));
    let (others, _) = greedy(&honest, Kind::Sem, 20);
    assert_eq!(others.len(), 5);
    for id in made {
        assert_eq!(hog.remove(Kind::Sem, id), Ok(()));
    }
    broker.replace();
    // Fifteen are not others'.
    assert_eq!(greedy(&hog, Kind::Sem, 1).0.len(), 7);
}

/// What a hand-made client says it keeps from its children must be something that it has.
#[test]
fn nobody_keeps_what_he_has_not() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let (_body, me) = broker.embodied(1000, 1000);
    let segment = me.get(Kind::Shm, 0, 0o600, 4096).expect("made");
    let token = me.attach(segment, 0).expect("attached").value;
    let nonsense: Vec<u8> = (0..1000_u64).flat_map(|n| (n + 1_000_000).to_ne_bytes()).collect();
    me.send(ring3_wire::Op::Keep, &(), &nonsense, None);
    me.detach(token);
    assert_eq!(me.segment(segment).nattch, 0);
}
