//! Bytes that are no request, or a short or long one, are refused; what was encoded decodes to itself.

use proptest::prelude::*;
use ring3_abi::{Errno, Kind};
use ring3_wire::{Op, codec, request};
use zerocopy::IntoBytes;

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = codec::decode(&bytes) {
            prop_assert_eq!(packet.body.len(), bytes.len() - 16);
            let _ = packet.body::<request::Get>();
            let _ = packet.body_and_rest::<request::SemOp>();
        }
        let _ = codec::reply(&bytes);
    }

    #[test]
    fn a_request_decodes_to_itself(tid in any::<u32>(), tag in any::<u32>(), key in any::<i32>(), size in any::<u64>()) {
        let get = request::Get { kind: Kind::Sem.into(), key, flags: 0o600, lease: 0, size };
        let mut out = [0; 128];
        let bytes = codec::encode(&mut out, &codec::head(Op::Get, tid, tag), get.as_bytes(), &[]).unwrap();
        let packet = codec::decode(bytes).unwrap();
        prop_assert_eq!((packet.op, packet.tid, packet.tag), (Op::Get, tid, tag));
        prop_assert_eq!(packet.body::<request::Get>(), Ok(get));
        prop_assert_eq!(packet.body::<request::Object>(), Err(Errno::EPROTO));
    }
}

#[test]
fn other_protocols_are_refused() {
    let mut out = [0; 64];
    let mut head = codec::head(Op::Limits, 1, 2);
    head.magic ^= 1;
    let bytes = codec::encode(&mut out, &head, &[], &[]).unwrap();
    assert_eq!(codec::decode(bytes).map(|p| p.op), Err(Errno::EPROTO));
    head.magic ^= 1;
    head.op = 9999;
    let bytes = codec::encode(&mut out, &head, &[], &[]).unwrap();
    assert_eq!(codec::decode(bytes).map(|p| p.op), Err(Errno::EPROTO));
}

#[test]
fn a_packet_that_does_not_fit_is_not_made() {
    let mut out = [0; 20];
    assert!(codec::encode(&mut out, &codec::head(Op::Limits, 1, 2), &[0; 5], &[]).is_none());
}
