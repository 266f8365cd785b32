//! A broker that may have few descriptors: the limit is this whole process's, and stays.

mod support;

use ring3_abi::{Errno, Kind};
use ring3_wire::{Op, request};
use support::{Body, Broker, Client, is_root};

/// A class of objects costs a descriptor of the broker's: by IPC_SET there could be one for each object.
#[test]
fn descriptors_are_not_used_up_by_one_user() {
    if !is_root() {
        return;
    }
    let few = rustix::process::Rlimit { current: Some(600), maximum: Some(600) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).expect("lowered");
    let broker = Broker::new();
    let (_hog, hog) = broker.embodied(1000, 1000);
    let (_honest, honest) = broker.embodied(1001, 1001);
    let mut classes = 0;
    let refused = loop {
        let made = hog.get(Kind::Sem, 0, 0o600, 1).and_then(|id| {
            classes += 1;
            hog.set(Kind::Sem, id, 5000 + classes, 5000, 0o600, 0)
        });
        if let Err(why) = made {
            break why;
        }
    };
    assert_eq!(refused, Errno::ENOMEM);
    assert!((100..=150).contains(&classes), "{classes}");
    assert_eq!(hog.get(Kind::Shm, 0, 0o600, 1), Err(Errno::ENOMEM));
    for kind in [Kind::Msg, Kind::Sem, Kind::Shm] {
        assert!(honest.get(kind, 0, 0o600, 1).is_ok(), "{kind:?}");
    }
    // A process that is known costs one, too, with or without a connection.
    let mut bodies = Vec::new();
    let refused = loop {
        let body = Body::new(1000, 1000);
        let client = Client { fd: broker.connect(), pid: body.pid(), uid: 1000, gid: 1000, image: 1 };
        bodies.push(body);
        if let Err(why) = client.call(Op::Hello, &request::Hello { image: 1 }) {
            break why;
        }
    };
    assert_eq!(refused, Errno::ENOMEM);
    assert!((100..=150).contains(&bodies.len()), "{}", bodies.len());
    let (_another, another) = broker.embodied(1001, 1001);
    assert!(another.get(Kind::Msg, 0, 0o600, 0).is_ok());
}
