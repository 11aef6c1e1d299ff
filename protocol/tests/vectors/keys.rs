//! Vectors of the key schedule, derived here step by step as docs/PROTOCOL.md describes it, and of
//! datagrams that [`Link`] sealed.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use nucleus_protocol::limits::HEADER;
use nucleus_protocol::link::{Link, LinkConfig, LinkSide, Path, PhaseLimits, RootSecret, Suite};
use nucleus_protocol::realtime::control::Ack;
use nucleus_protocol::realtime::report::ClientReport;
use nucleus_protocol::realtime::{ConnectionId, Message, MessageKind};
use nucleus_protocol::session::{EXPORTER_LABEL, GRANT_EXPORTER};
use nucleus_protocol::time::Time;
use serde_json::{Value, json};

use super::{golden, hex, list, unhex};

/// The values from which the keys of one link are derived.
struct Grant {
    name: &'static str,
    secret: [u8; 32],
    exporter: Option<[u8; 32]>,
    link_id: u32,
    suite: Suite,
}

const CONNECTION_ID: ConnectionId = ConnectionId([1, 0x21, 0x22, 0x23, 0xa1, 0xa2, 0xa3, 0xa4]);
const SPARE: ConnectionId = ConnectionId([1, 0x31, 0x32, 0x33, 0xb1, 0xb2, 0xb3, 0xb4]);
/// Phases of two packets each, so that four packets show two phases.
const PHASES: PhaseLimits = PhaseLimits {
    packets: 2,
    time: Duration::from_secs(3_600),
    min_time: Duration::ZERO,
    overlap: Duration::from_secs(5),
    max_packets: 1 << 28,
};

fn grants() -> [Grant; 4] {
    let secret = std::array::from_fn(|i| i as u8);
    let exporter = Some(std::array::from_fn(|i| 0xe0 | i as u8));
    let (aes, chacha) = (Suite::Aes128Gcm, Suite::ChaCha20Poly1305);
    [
        Grant { name: "AES-128-GCM", secret, exporter: None, link_id: 1, suite: aes },
        Grant { name: "AES-128-GCM, exporter", secret, exporter, link_id: 0x0102_0304, suite: aes },
        Grant { name: "ChaCha20-Poly1305", secret, exporter: None, link_id: 1, suite: chacha },
        Grant {
            name: "ChaCha20-Poly1305, exporter",
            secret: [0xff; 32],
            exporter,
            link_id: u32::MAX,
            suite: chacha,
        },
    ]
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().to_vec()
}

/// Computes HKDF-Expand of at most 32 bytes.
fn expand(secret: &[u8], info: &[&[u8]], len: usize) -> Vec<u8> {
    let mut block = hmac_sha256(secret, &[&info.concat(), &[1]]);
    block.truncate(len);
    block
}

/// Writes secret, key and IV of the first two phases.
fn phases(grant: &Grant, root: &[u8], direction: u8) -> Value {
    let link_id = grant.link_id.to_le_bytes();
    let which = [direction, grant.suite as u8];
    let mut secret = expand(root, &[b"nucleus secret", &link_id, &which], 32);
    let phase = |phase: u32| {
        let number = phase.to_le_bytes();
        let key_len = if grant.suite == Suite::Aes128Gcm { 16 } else { 32 };
        let key = expand(&secret, &[b"nucleus key", &number], key_len);
        let iv = expand(&secret, &[b"nucleus iv", &number], 12);
        let next = expand(&secret, &[b"nucleus next", &number], 32);
        let fields = json!({ "phase": phase, "secret": hex(&secret), "key": hex(&key),
                             "iv": hex(&iv) });
        secret = next;
        fields
    };
    [0, 1].map(phase).to_vec().into()
}

fn path() -> Path {
    Path { remote: SocketAddr::from(([192, 0, 2, 7], 5056)), local: None }
}

fn link(grant: &Grant, side: LinkSide) -> Link {
    let config = LinkConfig {
        side,
        link_id: grant.link_id,
        suite: grant.suite,
        root: RootSecret::new(&grant.secret, grant.exporter.as_ref()),
        connection_id: CONNECTION_ID,
        spare: SPARE,
        path: Some(path()),
        planes: nucleus_protocol::link::Planes::PortOnly,
        max_body: nucleus_protocol::limits::MAX_BODY,
        report_interval: nucleus_protocol::limits::REPORT_INTERVAL_MAX,
        clock_epoch: 0xfeed_beef,
        seed: [7; 32],
    };
    Link::with_phase_limits(Time::ZERO, config, PHASES)
}

/// Tells a sender that its peer has received this packet, so that it may begin the next phase.
fn acknowledge(sender: &mut Link, link_id: u32, number: u32) {
    let mut bytes = link_id.to_le_bytes().to_vec();
    // A client takes the first, a server the second.
    Ack { largest: number }.encode(&mut bytes);
    ClientReport { largest: number, received: 1, ..ClientReport::default() }.encode(&mut bytes);
    assert!(sender.handle_session_input(Time::ZERO, &bytes).is_ok());
}

/// Seals four datagrams with a message each.
fn datagrams(grant: &Grant, side: LinkSide) -> Vec<Value> {
    let mut sender = link(grant, side);
    let direction = if side == LinkSide::Client { "up" } else { "down" };
    let seal = |number: u32| {
        let now = Time::from_millis(20 * u64::from(number));
        let mut bytes = Vec::new();
        let start = sender.begin(now, &mut bytes);
        let payload = [number as u8; 20];
        let (kind, sequence) = (MessageKind::Unreliable, number as u16);
        Message {
            kind,
            flags: 0,
            peer: 9,
            channel: 1,
            key: 2,
            sequence,
            time: Some(3),
            payload: &payload,
        }
        .encode(&mut bytes);
        let body = hex(&bytes[start + HEADER..]);
        sender.finish(now, &mut bytes, start).expect("packet numbers are left");
        acknowledge(&mut sender, grant.link_id, number);
        json!({ "direction": direction, "phase": number / 2, "number": number, "body": body,
                "hex": hex(&bytes) })
    };
    (0..4).map(seal).collect()
}

/// Forges datagrams from an authentic one.
fn forged(genuine: &Value) -> Vec<Value> {
    let bytes = unhex(&genuine["hex"]);
    let flipped = |why: &str, at: usize, bits: u8| {
        let mut forged = bytes.clone();
        forged[at] ^= bits;
        json!({ "direction": genuine["direction"], "why": why, "hex": hex(&forged) })
    };
    let cut = hex(&bytes[..bytes.len() - 1]);
    let other = if genuine["direction"] == "up" { "down" } else { "up" };
    vec![
        flipped("last bit of the tag", bytes.len() - 1, 1),
        flipped("a bit of the body", HEADER, 0x80),
        flipped("another packet number", HEADER - 1, 1),
        flipped("the next phase", 0, 1),
        flipped("the phase after the next", 0, 2),
        flipped("the spare's shard", 1, 1),
        json!({ "direction": genuine["direction"], "why": "a byte short", "hex": cut }),
        json!({ "direction": other, "why": "sent back", "hex": hex(&bytes) }),
    ]
}

/// Seals authentic datagrams with malformed bodies.
fn malformed(grant: &Grant) -> Vec<Value> {
    let case = |side: LinkSide, why: &str, frame: &[u8]| {
        let (mut sender, mut bytes) = (link(grant, side), Vec::new());
        let start = sender.begin(Time::ZERO, &mut bytes);
        bytes.extend_from_slice(frame);
        sender.finish(Time::ZERO, &mut bytes, start).expect("packet numbers are left");
        let direction = if side == LinkSide::Client { "up" } else { "down" };
        json!({ "direction": direction, "why": why, "hex": hex(&bytes) })
    };
    vec![
        case(LinkSide::Client, "a frame longer than the body", &[9, 1]),
        case(LinkSide::Client, "a path response of seven bytes", &[11, 7, 1, 2, 3, 4, 5, 6, 7]),
        case(LinkSide::Server, "a path challenge of seven bytes", &[10, 7, 1, 2, 3, 4, 5, 6, 7]),
        case(LinkSide::Server, "a send time of three bytes", &[12, 3, 1, 2, 3]),
        case(
            LinkSide::Server,
            "a clock reply as long as a request",
            &[7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        ),
    ]
}

fn vector(grant: &Grant) -> Value {
    let root = hmac_sha256(
        b"nucleus link v1",
        &[&grant.secret[..], grant.exporter.as_ref().map_or(&[], |e| &e[..])],
    );
    let flags = if grant.exporter.is_some() { GRANT_EXPORTER } else { 0 };
    let datagrams =
        [datagrams(grant, LinkSide::Client), datagrams(grant, LinkSide::Server)].concat();
    let refused = [forged(&datagrams[0]), forged(&datagrams[4]), malformed(grant)].concat();
    json!({ "name": grant.name, "secret": hex(&grant.secret),
            "exporter": grant.exporter.map(|e| hex(&e)), "flags": flags,
            "link_id": grant.link_id, "suite": grant.suite as u8,
            "connection_id": hex(&CONNECTION_ID.0), "root": hex(&root),
            "up": phases(grant, &root, 0), "down": phases(grant, &root, 1),
            "datagrams": datagrams, "refused": refused })
}

/// Returns the end of a link that receives the case's datagram.
fn receiver(grant: &Grant, case: &Value) -> Link {
    link(grant, if case["direction"] == "up" { LinkSide::Server } else { LinkSide::Client })
}

#[test]
fn keys() {
    let links: Value = grants().iter().map(vector).collect();
    let label = String::from_utf8_lossy(EXPORTER_LABEL);
    let file = golden("keys.json", &json!({ "exporter_label": label, "links": links }));
    for (grant, vector) in grants().iter().zip(list(&file, "links")) {
        for direction in ["up", "down"] {
            let all = list(vector, "datagrams").iter();
            let cases: Vec<_> = all.filter(|case| case["direction"] == direction).collect();
            let mut receiver = receiver(grant, cases[0]);
            for case in cases {
                let mut bytes = unhex(&case["hex"]);
                let mut replay = bytes.clone();
                let messages = receiver.handle_input(Time::ZERO, path(), 0, &mut bytes);
                assert_eq!(messages.expect("an authentic datagram").count(), 1, "{case}");
                assert!(receiver.handle_input(Time::ZERO, path(), 0, &mut replay).is_err());
            }
        }
        for case in list(vector, "refused") {
            let mut bytes = unhex(&case["hex"]);
            let mut receiver = receiver(grant, case);
            let messages = receiver.handle_input(Time::ZERO, path(), 0, &mut bytes);
            assert!(messages.is_err(), "{}: {} was taken", grant.name, case["why"]);
        }
    }
}
