//! Vectors of headers, frames, poses and voice on the realtime plane.

use nucleus_protocol::link::Plane;
use nucleus_protocol::realtime::control::{self, *};
use nucleus_protocol::realtime::frame::{self, NEWEST_WINS};
use nucleus_protocol::realtime::interest::{PeerPlace, PresenceMap, Viewpoint};
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::report::*;
use nucleus_protocol::realtime::voice::{self, Voice};
use nucleus_protocol::realtime::*;
use nucleus_protocol::time::Time;
use serde_json::{Value, json};

use super::{golden, hex, list, unhex};

/// The end that sent a body. A clock request and its reply have the same frame type, and so do the
/// reports of both ends.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Client,
    Server,
}

/// Writes the frames of a body in JSON.
fn frames(from: From, body: &[u8]) -> Value {
    Frames::new(body).map(|frame| describe(from, frame.expect("a well-formed frame"))).collect()
}

fn describe(from: From, frame: Frame<'_>) -> Value {
    match (from, frame) {
        (_, Frame::Message(message)) => json!({
            "type": message.kind as u8, "flags": raw_flags(&message), "peer": message.peer,
            "channel": message.channel, "key": message.key, "sequence": message.sequence,
            "time": message.time, "payload": hex(message.payload) }),
        (From::Client, Frame::Other(control::CLOCK, body)) => {
            let request = ClockRequest::parse(body).expect("a clock request");
            json!({ "type": control::CLOCK, "client_sent": request.client_sent })
        }
        (From::Server, Frame::Other(control::CLOCK, body)) => clock_reply(body),
        (From::Client, Frame::Other(control::REPORT, body)) => client_report(body),
        (From::Server, Frame::Other(control::REPORT, body)) => server_report(body),
        (From::Server, Frame::Other(control::REPORT_INTERVAL, body)) => {
            let interval = ReportInterval::parse(body).expect("an interval").interval;
            json!({ "type": control::REPORT_INTERVAL, "interval": interval })
        }
        (From::Client, Frame::Other(control::VIEWPOINT, body)) => viewpoint(body),
        (From::Server, Frame::Other(control::PRESENCE, body)) => presence(body),
        (_, Frame::Other(kind, body)) => json!({ "type": kind, "body": hex(body) }),
    }
}

/// Returns the flags as they stand on the wire.
fn raw_flags(message: &Message<'_>) -> u8 {
    message.flags | if message.time.is_some() { frame::TIMED } else { 0 }
}

fn clock_reply(body: &[u8]) -> Value {
    let reply = ClockReply::parse(body).expect("a clock reply");
    json!({ "type": control::CLOCK, "client_sent": reply.client_sent,
            "server_received": reply.server_received, "server_sent": reply.server_sent,
            "epoch": reply.epoch })
}

fn client_report(body: &[u8]) -> Value {
    let report = ClientReport::parse(body).expect("a client's report");
    json!({ "type": control::REPORT, "largest": report.largest, "received": report.received,
            "bytes": report.bytes, "ce": report.ce, "ect": report.ect,
            "delay": report.delay.map(delay_report) })
}

fn delay_report(delay: DelayReport) -> Value {
    json!({ "arrival": delay.arrival, "send_time": delay.send_time,
            "delay_min": delay.delay_min, "spread": delay.spread, "hold": delay.hold })
}

fn viewpoint(body: &[u8]) -> Value {
    let Viewpoint { position: [x, y, z], flags } = Viewpoint::parse(body).expect("a viewpoint");
    json!({ "type": control::VIEWPOINT, "x": x, "y": y, "z": z, "flags": flags })
}

fn presence(body: &[u8]) -> Value {
    let map = PresenceMap::parse(body).expect("a presence map");
    let place = |PeerPlace { slot, position: [x, y, z], yaw }: &PeerPlace| json!({ "slot": slot, "x": x, "y": y, "z": z, "yaw": yaw });
    let peers: Value = map.peers.iter().map(place).collect();
    json!({ "type": control::PRESENCE, "scale": map.scale, "peers": peers })
}

fn server_report(body: &[u8]) -> Value {
    let report = ServerReport::parse(body).expect("a server's report");
    let kinds: Value = report
        .kinds
        .iter()
        .map(|kind| {
            json!({ "superseded": kind.superseded, "suppressed": kind.suppressed,
                    "dropped": kind.dropped, "distant": kind.distant })
        })
        .collect();
    json!({ "type": control::REPORT, "largest": report.largest, "received": report.received,
            "rate": report.rate, "speakers": report.speakers, "quality": report.quality,
            "cause": report.cause, "uplink_delay": report.uplink_delay, "kinds": kinds })
}

fn body(name: &str, from: From, write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut body = Vec::new();
    write(&mut body);
    let sender = if from == From::Client { "client" } else { "server" };
    json!({ "name": name, "from": sender, "frames": frames(from, &body), "hex": hex(&body) })
}

fn message(kind: MessageKind, peer: u16, payload: &[u8]) -> Message<'_> {
    Message {
        kind,
        flags: NEWEST_WINS,
        peer,
        channel: 9,
        key: 0x1234,
        sequence: 0xfffe,
        time: Some(0x8001),
        payload,
    }
}

fn message_bodies() -> Vec<Value> {
    let others = TARGET_OTHERS;
    vec![
        body("pose to the others", From::Client, |out| {
            message(MessageKind::Pose, others, &[7; 15]).encode(out)
        }),
        body("voice from slot 3", From::Server, |out| {
            message(MessageKind::Voice, 3, &[0x9e, 1, 0xaa]).encode(out)
        }),
        body("unreliable to a slot, no flags and no time", From::Client, |out| {
            let untimed = message(MessageKind::Unreliable, 17, b"hi");
            Message { flags: 0, time: None, ..untimed }.encode(out)
        }),
        body("pointer, empty payload", From::Client, |out| {
            message(MessageKind::Pointer, others, &[]).encode(out)
        }),
        body("one-byte length at its largest", From::Client, |out| {
            message(MessageKind::Unreliable, others, &[0x55; 117]).encode(out)
        }),
        body("two-byte length at its smallest", From::Client, |out| {
            message(MessageKind::Unreliable, others, &[0x55; 118]).encode(out)
        }),
        body("largest payload", From::Server, |out| {
            control::put_send_time(out, Time::from_micros(0x1_0000_0001));
            message(MessageKind::Unreliable, 0, &[0xee; 900]).encode(out)
        }),
        body("several frames, then padding", From::Server, |out| {
            control::put_send_time(out, Time::from_micros(0xdead_beef));
            message(MessageKind::Pose, 1, &[1; 33]).encode(out);
            message(MessageKind::Pose, 2, &[2; 24]).encode(out);
            out.extend_from_slice(&[0; 9]);
        }),
        body("what follows padding is nothing", From::Server, |out| {
            out.extend_from_slice(&[frame::PADDING, 0xff, 1, 2, 3])
        }),
        body("empty", From::Server, |_| ()),
    ]
}

fn control_bodies() -> Vec<Value> {
    let reply = ClockReply {
        client_sent: 0x0011_2233_4455_6677,
        server_received: 0x0123_4567_89ab_cdef,
        server_sent: 0x0123_4567_89ab_ce01,
        epoch: 0xfeed_beef,
    };
    let client = ClientReport {
        largest: 1_000_000,
        received: 999_000,
        bytes: 0xffff_fff0,
        ce: 3,
        ect: 700,
        delay: Some(DelayReport {
            arrival: 0x0102_0304,
            send_time: 0xfffe_fdfc,
            delay_min: 0xffff_ff00,
            spread: 1_234,
            hold: 95,
        }),
    };
    let count = |n| KindCounts { superseded: n, suppressed: n + 1, dropped: n + 2, distant: n + 3 };
    let server = ServerReport {
        largest: 9,
        received: 8,
        rate: 500_000,
        speakers: 8,
        quality: quality::SPEAKERS_LIMITED,
        cause: cause::NETWORK,
        uplink_delay: 215,
        kinds: [count(10), count(20), count(30), count(40)],
    };
    vec![
        body("clock request", From::Client, |out| {
            ClockRequest { client_sent: 0x0011_2233_4455_6677 }.encode(out)
        }),
        body("clock reply", From::Server, |out| reply.encode(out)),
        body("client's report", From::Client, |out| client.encode(out)),
        body("client's report without a delay", From::Client, |out| {
            ClientReport { delay: None, ..client }.encode(out)
        }),
        body("server's report", From::Server, |out| server.encode(out)),
        body("server's report, nothing known", From::Server, |out| {
            ServerReport::default().encode(out)
        }),
        body("report interval", From::Server, |out| ReportInterval { interval: 10 }.encode(out)),
        body("message in ring 2 (reserved)", From::Server, |out| {
            let far = message(MessageKind::Pose, 3, &[7; 15]);
            Message { flags: NEWEST_WINS | 2 << 1, ..far }.encode(out)
        }),
        body("viewpoint (reserved)", From::Client, |out| {
            Viewpoint { position: [-1, 1_700, 8_388_607], flags: 0 }.encode(out)
        }),
        body("presence (reserved)", From::Server, |out| {
            let place = |slot, yaw| PeerPlace { slot, position: [-3, 0, 32_767], yaw };
            PresenceMap { scale: 8, peers: vec![place(3, 64), place(0xfeff, 255)] }.encode(out)
        }),
        body("presence of nobody (reserved)", From::Server, |out| {
            PresenceMap { scale: 0, peers: Vec::new() }.encode(out)
        }),
        body("keep-alive", From::Client, |out| frame::put(out, control::KEEP_ALIVE, &[])),
        body("keep-alive with the session's plane chosen", From::Client, |out| {
            KeepAlive { choice: Some(PlaneChoice { change: 0x0102, plane: Plane::Session }) }
                .encode(out)
        }),
        body("answer to it, and an acknowledgement", From::Server, |out| {
            KeepAlive { choice: Some(PlaneChoice { change: 0x0102, plane: Plane::Realtime }) }
                .encode(out);
            Ack { largest: 0x0102_0304 }.encode(out);
        }),
        body("path challenge", From::Server, |out| {
            frame::put(out, control::PATH_CHALLENGE, &[1, 2, 3, 4, 5, 6, 7, 8])
        }),
        body("path response", From::Client, |out| {
            frame::put(out, control::PATH_RESPONSE, &[1, 2, 3, 4, 5, 6, 7, 8])
        }),
        body("unknown type between two known", From::Client, |out| {
            message(MessageKind::Voice, 1, &[2; 4]).encode(out);
            frame::put(out, 0xee, &[9; 200]);
            frame::put(out, control::KEEP_ALIVE, &[]);
        }),
        body("reserved types", From::Server, |out| {
            frame::put(out, frame::FRAGMENT, &[1]);
            frame::put(out, frame::GROUP, &[]);
        }),
    ]
}

fn headers() -> Vec<Value> {
    let header = |phase, connection_id: ConnectionId, number| {
        let bytes = Header { phase, connection_id, number }.to_bytes();
        json!({ "phase": phase, "connection_id": hex(&connection_id.0), "number": number,
                "hex": hex(&bytes) })
    };
    vec![
        header(0, ConnectionId::new(1, 0x00ab_cdef, 0x1122_3344), 0),
        header(3, ConnectionId([0xff; 8]), u32::MAX),
        header(2, ConnectionId([1, 2, 3, 4, 5, 6, 7, 8]), 0x0102_0304),
    ]
}

/// A [`Transform`] in 64 bits, as the vectors write it.
#[derive(Clone, Copy)]
struct Transform64 {
    /// Metres.
    position: [f64; 3],
    /// x, y, z, w.
    rotation: [f64; 4],
}

impl Transform64 {
    fn to_transform(self) -> Transform {
        let (position, rotation) = (self.position, self.rotation);
        Transform { position: position.map(|m| m as f32), rotation: rotation.map(|c| c as f32) }
    }

    fn to_json(self) -> Value {
        json!({ "position": self.position, "rotation": self.rotation })
    }
}

fn at(position: [f64; 3], rotation: [f64; 4]) -> Transform64 {
    Transform64 { position, rotation }
}

fn pose(
    name: &str,
    head: Transform64,
    left: Option<Transform64>,
    right: Option<Transform64>,
    rest: &[u8],
) -> Value {
    let mut bytes = Vec::new();
    let hands = [left, right].map(|hand| hand.map(Transform64::to_transform));
    Pose { head: head.to_transform(), left: hands[0], right: hands[1] }.encode(&mut bytes);
    bytes.extend_from_slice(rest);
    let [left, right] = [left, right].map(|hand| hand.map(Transform64::to_json));
    json!({ "name": name, "head": head.to_json(), "left": left, "right": right, "rest": hex(rest),
            "quantised": quantised(&bytes), "decoded": decoded(&bytes), "hex": hex(&bytes) })
}

/// A pose with two extensions of types that no version defines, in front of the application's
/// bytes.
fn extended_pose() -> Value {
    let head = at([0.0, 1.7, 0.0], [0.0, 0.0, 0.0, 1.0]);
    let mut bytes = Vec::new();
    Pose { head: head.to_transform(), left: None, right: None }.encode(&mut bytes);
    bytes[0] |= 4;
    bytes.extend_from_slice(&[2, 0xf0, 3, 1, 2, 3, 0xf1, 0, 0xb0, 0x07]);
    json!({ "name": "extensions, then buttons (reserved)", "head": head.to_json(), "left": null,
            "right": null, "extensions": [{ "type": 0xf0, "body": "010203" },
            { "type": 0xf1, "body": "" }], "rest": "b007", "quantised": quantised(&bytes),
            "decoded": decoded(&bytes), "hex": hex(&bytes) })
}

/// Writes the integers in a pose's bytes.
fn quantised(payload: &[u8]) -> Value {
    let mut wide = [[0u8; 16]; 3];
    let mut at = 15;
    wide[0][..5].copy_from_slice(&payload[10..15]);
    for (hand, bit) in [(1, 1), (2, 2)] {
        if payload[0] & bit != 0 {
            wide[hand][..9].copy_from_slice(&payload[at..at + 9]);
            at += 9;
        }
    }
    let [head, left, right] = wide.map(u128::from_le_bytes);
    let hand = |packed: u128, bit: u8| {
        let axis = |i: usize| ((packed >> (12 * i)) as i32) << 20 >> 20;
        let mm = [axis(0), axis(1), axis(2)];
        (payload[0] & bit != 0).then(|| json!({ "mm": mm, "rotation": rotation(packed >> 36) }))
    };
    let mm = Pose::position_mm(payload).expect("a pose");
    json!({ "flags": payload[0], "head": { "mm": mm, "rotation": rotation(head) },
            "left": hand(left, 1), "right": hand(right, 2) })
}

fn rotation(packed: u128) -> Value {
    let step = |index: usize| (packed >> (2 + 11 * index)) & 0x7ff;
    let steps = [0, 1, 2].map(|index| step(index) as u16);
    json!({ "largest": (packed & 3) as u8, "steps": steps })
}

/// Writes the decoded pose, rounded to a millionth.
fn decoded(payload: &[u8]) -> Value {
    let (pose, _) = Pose::parse(payload).expect("a pose");
    let round = |number: f32| (f64::from(number) * 1e6).round() / 1e6;
    let rounded = |t: Transform| at(t.position.map(round), t.rotation.map(round)).to_json();
    let (left, right) = (pose.left.map(rounded), pose.right.map(rounded));
    json!({ "head": rounded(pose.head), "left": left, "right": right })
}

fn poses() -> Vec<Value> {
    let identity = [0.0, 0.0, 0.0, 1.0];
    let origin = at([0.0; 3], identity);
    let standing = at([1.25, 1.7, -3.4], [0.1, 0.7, -0.1, 0.7]);
    let left = at([1.0, 1.2, -3.1], [0.5, -0.5, 0.5, 0.5]);
    let right = at([1.5, 1.2, -3.1], [-0.8, 0.1, 0.3, 0.2]);
    let far = at([-500.0, 4_000.0, -4_000.0], [0.0, 0.0, 0.0, -1.0]);
    vec![
        pose("origin", origin, None, None, &[]),
        pose("head and both hands", standing, Some(left), Some(right), &[]),
        pose("left hand only, with buttons behind", standing, Some(left), None, &[0xb0, 0x07]),
        pose("right hand only", standing, None, Some(right), &[]),
        pose("far out, opposite quaternion", far, None, None, &[]),
        pose("beyond the range", at([9e3, -9e3, 0.0], identity), None, None, &[]),
        pose("hand beyond an arm", origin, Some(at([5.0, -5.0, 0.002], identity)), None, &[]),
        pose("no rotation at all", at([0.0; 3], [0.0; 4]), None, None, &[]),
        extended_pose(),
    ]
}

fn voice_packets() -> Vec<Value> {
    let voice = |level, speaking, flags, opus: &[u8]| {
        let mut bytes = Vec::new();
        Voice { level, speaking, flags, opus }.encode(&mut bytes);
        json!({ "level": level, "speaking": speaking, "flags": flags, "opus": hex(opus),
                "hex": hex(&bytes) })
    };
    vec![
        voice(30, true, voice::SPURT_START, &[0x78, 1, 2, 3]),
        voice(127, false, 0, &[]),
        voice(0, true, voice::END_TO_END | voice::SPURT_START, &[0xff; 75]),
    ]
}

#[test]
fn realtime() {
    let bodies = [message_bodies(), control_bodies()].concat();
    let made = json!({ "bodies": bodies, "headers": headers(), "poses": poses(), "voice": voice_packets() });
    let file = golden("realtime.json", &made);
    for case in list(&file, "bodies") {
        let from = if case["from"] == "client" { From::Client } else { From::Server };
        assert_eq!(frames(from, &unhex(&case["hex"])), case["frames"], "{}", case["name"]);
    }
    for case in list(&file, "headers") {
        let datagram = [unhex(&case["hex"]), vec![0; 18]].concat();
        let header = Header::parse(&datagram).expect("a header");
        assert_eq!(case["phase"], header.phase);
        assert_eq!(case["connection_id"], hex(&header.connection_id.0));
        assert_eq!(case["number"], header.number);
    }
    for case in list(&file, "poses") {
        let bytes = unhex(&case["hex"]);
        let (_, rest) = Pose::parse(&bytes).expect("a pose");
        assert_eq!(case["rest"], hex(rest), "{}", case["name"]);
        assert_eq!(case["quantised"], quantised(&bytes), "{}", case["name"]);
    }
    for case in list(&file, "voice") {
        let bytes = unhex(&case["hex"]);
        let voice = Voice::parse(&bytes).expect("a voice packet");
        assert_eq!(case["opus"], hex(voice.opus));
        assert_eq!(case["level"], voice.level);
    }
}
