//! Vectors of the events on the protocol's own channels: RPC and typed events.

use nucleus_protocol::limits::{MAX_EVENT_NAME, MAX_RPC_TEXT, MAX_RPC_TIMEOUT_MS};
use nucleus_protocol::session::{RpcMessage, TypedEvent, rpc_text};
use serde_json::{Value as Json, json};

use super::{golden, hex, list, unhex};

fn bytes_of(message: RpcMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn request(name: &str, request: u32, timeout_ms: u32, method: &str, payload: &[u8]) -> Json {
    let message = RpcMessage::Request { request, timeout_ms, method, payload };
    json!({
        "name": name,
        "request": request,
        "timeout_ms": timeout_ms,
        "method": hex(method.as_bytes()),
        "payload": hex(payload),
        "hex": hex(&bytes_of(message)),
    })
}

fn requests() -> Vec<Json> {
    let longest = "m".repeat(MAX_EVENT_NAME);
    vec![
        request("a request", 7, 5_000, "cup.grab", b"left hand"),
        request("least timeout, shortest method, no payload", 0, 1, "m", &[]),
        request("longest timeout and method", u32::MAX, MAX_RPC_TIMEOUT_MS, &longest, &[0, 255]),
        request("a method in Persian, with ZWNJ", 8, 250, "\u{645}\u{6cc}\u{200c}\u{62e}", b"x"),
        request("a method of white space", 9, 250, " ", &[]),
        request("a method that is not in NFC", 10, 250, "cafe\u{301}", &[]),
    ]
}

fn answer(name: &str, request: u32, code: u16, payload: &[u8]) -> Json {
    let text = (code != 0).then(|| hex(rpc_text(payload).as_bytes()));
    json!({
        "name": name,
        "request": request,
        "code": code,
        "payload": hex(payload),
        "text": text,
        "hex": hex(&bytes_of(RpcMessage::Answer { request, code, payload })),
    })
}

fn answers() -> Vec<Json> {
    let long = "\u{fc}".repeat(MAX_RPC_TEXT);
    let cut = [&b"x"[..], long.as_bytes()].concat();
    vec![
        answer("an answer", 7, 0, b"yours"),
        answer("an empty answer", u32::MAX, 0, &[]),
        answer("an answer that is no text", 8, 0, &[0xff, 0, 0xc3]),
        answer("no such method", 9, 1, &[]),
        answer("busy", 10, 2, &[]),
        answer("a code of a later version", 11, 77, b"later"),
        answer("first code of the application", 12, 256, "kein Gl\u{fc}ck".as_bytes()),
        answer("last code of the application", 13, u16::MAX, b"last"),
        answer("a text that is no UTF-8", 14, 300, b"no \xff cup \xc3"),
        answer("a text that is too long", 15, 300, long.as_bytes()),
        answer("a text that is cut within a character", 16, 300, &cut),
    ]
}

fn typed_event(name: &str, event_type: &str, data: &[u8]) -> Json {
    let mut out = Vec::new();
    TypedEvent { event_type, data }.encode(&mut out);
    json!({
        "name": name,
        "type": hex(event_type.as_bytes()),
        "data": hex(data),
        "hex": hex(&out),
    })
}

fn typed_events() -> Vec<Json> {
    vec![
        typed_event("a typed event", "door.opened", b"left"),
        typed_event("shortest type, no data", "t", &[]),
        typed_event("longest type", &"t".repeat(MAX_EVENT_NAME), &[0; 40]),
        typed_event("a type in Greek", "\u{3c0}\u{3cc}\u{3c1}\u{3c4}\u{3b1}", &[1]),
    ]
}

fn case(what: &str, why: &str, bytes: &[u8]) -> Json {
    json!({ "what": what, "why": why, "hex": hex(bytes) })
}

fn refused() -> Vec<Json> {
    let request = |timeout_ms, method| {
        bytes_of(RpcMessage::Request { request: 7, timeout_ms, method, payload: b"cup" })
    };
    let good = request(5_000, "grab");
    let answer = bytes_of(RpcMessage::Answer { request: 7, code: 0, payload: &[] });
    let too_long = "m".repeat(MAX_EVENT_NAME + 1);
    let rpc = |why, bytes: &[u8]| case("rpc", why, bytes);
    let typed = |why, bytes: &[u8]| case("typed_event", why, bytes);
    let of_kind = |kind: u8, message: &[u8]| [&[kind], &message[1..]].concat();
    let not_utf8 = [&good[..9], &[2, 0xc3, 0x28]].concat();
    vec![
        rpc("empty", &[]),
        rpc("a kind and no more", &good[..1]),
        rpc("kind 0", &of_kind(0, &good)),
        rpc("kind 3", &of_kind(3, &answer)),
        rpc("kind 255", &of_kind(255, &good)),
        rpc("a request without a timeout", &good[..5]),
        rpc("half a timeout", &good[..7]),
        rpc("a request without a method", &good[..9]),
        rpc("a method shorter than its length", &good[..12]),
        rpc("an empty method", &request(5_000, "")),
        rpc("a method of 65 bytes", &request(5_000, &too_long)),
        rpc("a method that is no UTF-8", &not_utf8),
        rpc("a method with a line break", &request(5_000, "a\nb")),
        rpc("a method with U+0085", &request(5_000, "a\u{85}")),
        rpc("a method with U+2028", &request(5_000, "a\u{2028}b")),
        rpc("a method with U+202E", &request(5_000, "a\u{202e}b")),
        rpc("a method with U+200B", &request(5_000, "\u{200b}")),
        rpc("a method with U+E0041", &request(5_000, "a\u{e0041}")),
        rpc("timeout 0", &request(0, "grab")),
        rpc("timeout 60,001", &request(MAX_RPC_TIMEOUT_MS + 1, "grab")),
        rpc("the longest timeout of the field", &request(u32::MAX, "grab")),
        rpc("an answer with half a number", &answer[..3]),
        rpc("an answer without a code", &answer[..5]),
        rpc("half a code", &answer[..6]),
        typed("empty", &[]),
        typed("an empty type", &[0, 1, 2]),
        typed("a type shorter than its length", &[4, b'd', b'o']),
        typed("a type of 65 bytes", &[&[65][..], &[b't'; 65]].concat()),
        typed("a type that is no UTF-8", &[1, 0xff]),
        typed("a type with U+0000", &[1, 0]),
        typed("a type with U+00AD", &[2, 0xc2, 0xad]),
    ]
}

fn is_refused(what: &str, bytes: &[u8]) -> bool {
    match what {
        "rpc" => RpcMessage::parse(bytes).is_none(),
        "typed_event" => TypedEvent::parse(bytes).is_none(),
        _ => unreachable!("unknown type: {what}"),
    }
}

#[test]
fn application() {
    let made = json!({
        "requests": requests(),
        "answers": answers(),
        "typed_events": typed_events(),
        "refused": refused(),
    });
    let file = golden("application.json", &made);
    for case in list(&file, "requests") {
        let (bytes, method) = (unhex(&case["hex"]), unhex(&case["method"]));
        let (method, payload) =
            (std::str::from_utf8(&method).expect("text"), unhex(&case["payload"]));
        let number = |key: &str| case[key].as_u64().and_then(|n| u32::try_from(n).ok()).expect(key);
        let (request, timeout_ms) = (number("request"), number("timeout_ms"));
        let read = RpcMessage::Request { request, timeout_ms, method, payload: &payload };
        assert_eq!(RpcMessage::parse(&bytes), Some(read), "{}", case["name"]);
    }
    for case in list(&file, "answers") {
        let (bytes, sent) = (unhex(&case["hex"]), unhex(&case["payload"]));
        let Some(RpcMessage::Answer { request, code, payload }) = RpcMessage::parse(&bytes) else {
            panic!("{} is no answer", case["name"]);
        };
        assert_eq!((json!(request), json!(code)), (case["request"].clone(), case["code"].clone()));
        assert_eq!(payload, sent);
        if code != 0 {
            assert_eq!(rpc_text(payload).as_bytes(), unhex(&case["text"]), "{}", case["name"]);
        }
    }
    for case in list(&file, "typed_events") {
        let (bytes, event_type, data) =
            (unhex(&case["hex"]), unhex(&case["type"]), unhex(&case["data"]));
        let event_type = std::str::from_utf8(&event_type).expect("text");
        let read = TypedEvent { event_type, data: &data };
        assert_eq!(TypedEvent::parse(&bytes), Some(read), "{}", case["name"]);
    }
    for case in list(&file, "refused") {
        let what = case["what"].as_str().expect("the type that the bytes claim to be");
        assert!(is_refused(what, &unhex(&case["hex"])), "{what}: {} was taken", case["why"]);
    }
}
