//! Any bytes as a packet: decoded or refused, never believed; what was decoded encodes to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring3_wire::{codec, request};

fuzz_target!(|bytes: &[u8]| {
    let _ = codec::reply(bytes);
    let Ok(packet) = codec::decode(bytes) else { return };
    if let Ok(get) = packet.body::<request::Get>() {
        let _ = (get.kind.known(), get.size);
    }
    if let Ok(object) = packet.body::<request::Object>() {
        let _ = object.kind.known();
    }
    if let Ok(stat) = packet.body::<request::Stat>() {
        let _ = (stat.kind.known(), stat.by.known());
    }
    let _ = packet.body::<request::Fork>();
    let _ = packet.body::<request::Settle>();
    if let Ok((_, rest)) = packet.body_and_rest::<request::SemOp>() {
        assert!(rest.len() <= packet.body.len());
    }
    let head = codec::head(packet.op, packet.tid, packet.tag);
    let mut out = vec![0; bytes.len()];
    let again = codec::encode(&mut out, &head, packet.body, &[]);
    assert_eq!(again, Some(bytes), "what was decoded is what was sent");
});
