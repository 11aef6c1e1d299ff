//! Vectors that every reader must refuse.

use nucleus_protocol::limits;
use nucleus_protocol::realtime::control::{Ack, ClockReply, ClockRequest, KeepAlive};
use nucleus_protocol::realtime::interest::{PresenceMap, Viewpoint};
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::report::{ClientReport, ReportInterval, ServerReport};
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::realtime::{Frames, Header};
use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::{golden, hex, list, unhex};

/// Writes a case: the type that the bytes claim to be, why they are refused, and the bytes.
fn case(what: &str, why: &str, bytes: &[u8]) -> Json {
    json!({ "what": what, "why": why, "hex": hex(bytes) })
}

fn session_headers() -> Vec<Json> {
    let header = |why, bytes: [u8; 8]| case("message_header", why, &bytes);
    vec![
        header("unknown schema", [0, 0, 0, 0, 1, 99, 0, 1]),
        header("schema 0", [0, 0, 0, 0, 0, 0, 0, 1]),
        header("unknown version of Join", [0, 0, 0, 0, 1, 16, 0, 2]),
        header("version 0", [0, 0, 0, 0, 1, 16, 0, 0]),
        header("Hello encoded as an archive", [4, 0, 0, 0, 1, 1, 0, 1]),
        header("Join encoded field by field", [4, 0, 0, 0, 0, 16, 0, 1]),
        header("unknown encoding", [4, 0, 0, 0, 2, 16, 0, 1]),
        header("one byte over the limit of the control stream", [1, 0, 0x20, 0, 1, 17, 0, 1]),
        header("longest length", [255, 255, 255, 255, 1, 17, 0, 1]),
    ]
}

fn handshakes() -> Vec<Json> {
    vec![
        case("hello", "empty", &[]),
        case("hello", "no agent", &[1, 1, 0]),
        case("hello", "half a length", &[1, 1, 0, 4]),
        case("hello", "agent shorter than its length", &[1, 1, 0, 4, 0, b'a', b'b', b'c']),
        case("hello", "no features", &[1, 1, 0, 1, 0, b'a']),
        case("hello", "features shorter than their length", &[1, 1, 0, 0, 0, 2, 0, 7]),
        case("welcome", "no features", &[1, 0, 1, 0, b's', 1, 0, b'a']),
        case("welcome", "no agent", &[1, 0, 1, 0, b's']),
        case("welcome", "server id shorter than its length", &[1, 0, 255, 255, b's']),
        case("refuse", "no versions", &[1, 0, 0, 0, 0, 0, 0, 0]),
        case("refuse", "fewer endpoints than counted", &[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0]),
        case("refuse", "an endpoint too short", &[1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 3, 0, b'a']),
    ]
}

/// Returns `bytes` with `with` written from `at` bytes before the end on.
fn patched(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    let at = bytes.len() - at;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

fn archives() -> Vec<Json> {
    let peers = vec![1, 2, 3];
    let event =
        EventUp { target: TO_LISTED, channel: 0, piece: 0, peers, payload: b"grab".to_vec() };
    // The body has 12 bytes of peers, 4 bytes of payload, and the root. The root has target,
    // channel and piece; then offset and count of the peers, 16 bytes before the end; then offset
    // and length of the payload, 8 bytes before the end.
    let event = encode(&event)[SESSION_HEADER_BYTES..].to_vec();
    let peer = |peer| Peer {
        peer,
        slot: 0,
        presence: PRESENT,
        user: b"u".to_vec(),
        name: b"n".to_vec(),
        role: b"r".to_vec(),
    };
    let roster = RosterUpdate { joined: vec![peer(1), peer(2)], ..RosterUpdate::default() };
    // The body has the texts `unrunr`, two peers of 31 bytes, and the root of 28 bytes. The offset
    // of the first peer's name stands 28 + 31 + 16 bytes before the end.
    let roster = encode(&roster)[SESSION_HEADER_BYTES..].to_vec();
    let value = Value { kind: value::TEXT, bits: 0, bytes: b"red".to_vec() };
    let field = |key: &[u8]| Field { key: key.to_vec(), value: value.clone(), version: 1 };
    let fields = vec![field(b"k"), field(b"l")];
    let entity = Entity { scope: scope::PEER, id: 1, owner: 0, mode: 0, fields };
    let state = StateSnapshot { version: 1, host: 0, entities: vec![entity] };
    // The body has the texts `kredlred`, two fields of 33 bytes, one entity of 22 bytes, and the
    // root of 20 bytes. The offset of the second field's text stands 20 + 22 + 8 + 8 bytes before
    // the end.
    let state = encode(&state)[SESSION_HEADER_BYTES..].to_vec();
    let up = |why, bytes: &[u8]| case("event_up", why, bytes);
    let update = |why, bytes: &[u8]| case("roster_update", why, bytes);
    vec![
        up("empty", &[]),
        up("shorter than its root", &event[event.len() - 18..]),
        up("front cut off", &event[1..]),
        up("payload runs into the root", &patched(event.clone(), 4, &5u32.to_le_bytes())),
        up("length of 4 GiB", &patched(event.clone(), 4, &u32::MAX.to_le_bytes())),
        up("offset before the buffer", &patched(event.clone(), 8, &(-1_000i32).to_le_bytes())),
        up("offset behind the buffer", &patched(event.clone(), 8, &1_000i32.to_le_bytes())),
        up("offset to itself", &patched(event.clone(), 8, &0i32.to_le_bytes())),
        up("payload before the peers", &patched(event.clone(), 8, &(-27i32).to_le_bytes())),
        up("peers and payload overlap", &patched(event, 8, &(-16i32).to_le_bytes())),
        update("a name behind its peer", &patched(roster.clone(), 75, &20i32.to_le_bytes())),
        update("one peer's name is another's", &patched(roster, 75, &(-17i32).to_le_bytes())),
        case("leave", "one byte of two", &[0]),
        case("event_ack", "seven bytes of eight", &[0; 7]),
        case(
            "state_snapshot",
            "a value runs into the fields",
            &patched(state.clone(), 54, &4u32.to_le_bytes()),
        ),
        case(
            "state_snapshot",
            "more entities than there are",
            &patched(state, 4, &2u32.to_le_bytes()),
        ),
        case("state_request", "shorter than its root", &[0; 11]),
        case("joined", "zeros shorter than its root", &[0; 40]),
    ]
}

fn bodies() -> Vec<Json> {
    let body = |why, bytes: &[u8]| case("body", why, bytes);
    let largest = [&[3, 0x8f, 0x07][..], &[0; 10 + 901]].concat();
    vec![
        body("a type and no length", &[9]),
        body("a known frame longer than the body", &[9, 1]),
        body("an unknown frame longer than the body", &[0xee, 5, 1, 2, 3, 4]),
        body("half a two-byte length", &[3, 0x80]),
        body("a length in two bytes that fits one", &[0xee, 0x81, 0, 0]),
        body("length 0 in two bytes", &[9, 0x80, 0]),
        body("a length in three bytes", &[0xee, 0x80, 0x80, 1]),
        body("a pose shorter than its message header", &[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        body("a payload of 901 bytes", &largest),
        body("a good frame, then a bad one", &[9, 0, 9, 1]),
    ]
}

fn datagrams() -> Vec<Json> {
    let datagram = |why, form: u8, len: usize| {
        let bytes = [&[form][..], &vec![0x11; len - 1]].concat();
        case("datagram_header", why, &bytes)
    };
    vec![
        datagram("30 bytes", 0b1000, 30),
        datagram("1,201 bytes", 0b1000, 1_201),
        datagram("the other version", 0b1100, 40),
        datagram("STUN's form", 0b0000, 40),
        datagram("QUIC's form", 0b0100_1000, 40),
        case("datagram_header", "one byte", &[0b1000]),
    ]
}

fn payloads() -> Vec<Json> {
    // An extension behind the head would begin with the bytes 4, 4, 4 ..: four of them, of four
    // bytes each.
    let pose =
        |why, flags: u8, len: usize| case("pose", why, &[&[flags][..], &vec![flags; len]].concat());
    vec![
        case("pose", "empty", &[]),
        pose("half a head", 0, 13),
        pose("half a left hand", 1, 14 + 8),
        pose("one hand of two", 3, 14 + 9),
        case("voice", "empty", &[]),
        case("voice", "no flags", &[30]),
        case("keep_alive", "half a choice", &[1, 0]),
        case("ack", "three bytes", &[1, 0, 0]),
        case("clock_request", "seven bytes", &[0; 7]),
        case("clock_reply", "27 bytes", &[0; 27]),
        case("client_report", "19 bytes", &[0; 19]),
        case("client_report", "half a delay", &[0; 28]),
        case("server_report", "18 bytes", &[0; 18]),
        case(
            "server_report",
            "fewer kinds than counted",
            &[&[0; 17][..], &[4, 4], &[0; 63]].concat(),
        ),
        case("report_interval", "empty", &[]),
        pose("extensions without a count", 4, 14),
        pose("an extension shorter than its length", 4, 14 + 5),
        case("viewpoint", "nine bytes", &[0; 9]),
        case("presence", "fewer peers than counted", &[&[1, 2][..], &[0; 17]].concat()),
    ]
}

fn is_refused(what: &str, bytes: &[u8]) -> bool {
    match what {
        "message_header" => {
            let header = *bytes.first_chunk().expect("eight bytes");
            MessageHeader::parse(header, limits::MAX_CONTROL_MESSAGE).is_err()
        }
        "hello" => Hello::parse(bytes).is_err(),
        "welcome" => Welcome::parse(bytes).is_err(),
        "refuse" => Refuse::parse(bytes).is_err(),
        "event_up" => access::<EventUp>(bytes).is_err(),
        "roster_update" => access::<RosterUpdate>(bytes).is_err(),
        "leave" => access::<Leave>(bytes).is_err(),
        "event_ack" => access::<EventAck>(bytes).is_err(),
        "state_request" => access::<StateRequest>(bytes).is_err(),
        "state_snapshot" => access::<StateSnapshot>(bytes).is_err(),
        "joined" => access::<Joined>(bytes).is_err(),
        "body" => Frames::new(bytes).any(|frame| frame.is_err()),
        "datagram_header" => Header::parse(bytes).is_none(),
        "pose" => Pose::parse(bytes).is_err(),
        "voice" => Voice::parse(bytes).is_none(),
        "keep_alive" => KeepAlive::parse(bytes).is_err(),
        "ack" => Ack::parse(bytes).is_err(),
        "clock_request" => ClockRequest::parse(bytes).is_err(),
        "clock_reply" => ClockReply::parse(bytes).is_err(),
        "client_report" => ClientReport::parse(bytes).is_err(),
        "server_report" => ServerReport::parse(bytes).is_err(),
        "report_interval" => ReportInterval::parse(bytes).is_err(),
        "viewpoint" => Viewpoint::parse(bytes).is_err(),
        "presence" => PresenceMap::parse(bytes).is_err(),
        _ => unreachable!("unknown type: {what}"),
    }
}

#[test]
fn refused() {
    let session = [session_headers(), handshakes(), archives()].concat();
    let made = [session, bodies(), datagrams(), payloads()].concat();
    let file = golden("refused.json", &json!({ "cases": made }));
    for case in list(&file, "cases") {
        let what = case["what"].as_str().expect("the type that the bytes claim to be");
        assert!(is_refused(what, &unhex(&case["hex"])), "{what}: {} was taken", case["why"]);
    }
}
