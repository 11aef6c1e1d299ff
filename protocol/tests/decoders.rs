//! Feeds random and mutated bytes to every decoder, and checks that encoded values decode again.

use nucleus_protocol::realtime::control::{ClockReply, ClockRequest};
use nucleus_protocol::realtime::interest::{PresenceMap, Viewpoint};
use nucleus_protocol::realtime::pose::{HAND_RANGE, Pose, Transform};
use nucleus_protocol::realtime::report::{ClientReport, ReportInterval, ServerReport};
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::realtime::{Frame, Frames, Header, Message, MessageKind};
use nucleus_protocol::session::{
    self, CallRequest, CallUpdate, Enter, Entered, EventAck, EventDown, EventUp, Hello, Join,
    Leave, MessageHeader, Moderate, RoomList, RosterUpdate, StateReply, StateRequest,
    StateSnapshot, StateUpdate, UserList, WatchRooms, WatchUsers,
};
use proptest::prelude::*;

macro_rules! decode_by_schema {
    (plain { $($plain:ident = $_p:literal,)* } archive { $($archive:ident = $_a:literal,)* }) => {
        /// Reads `bytes` as the body of every session message.
        fn decode_session_messages(bytes: &[u8]) {
            $(let _plain = session::$plain::parse(bytes);)*
            $(let _archive = session::owned::<session::$archive>(bytes);)*
        }
    };
}
nucleus_protocol::session_messages!(decode_by_schema);

/// Feeds `bytes` to every decoder. Any result is right as long as the decoder returns.
fn decode_everything(bytes: &[u8]) {
    let _header = Header::parse(bytes);
    assert!(Frames::new(bytes).count() <= bytes.len() + 1);
    let _pose = (Pose::parse(bytes), Pose::position_mm(bytes));
    let _voice = Voice::parse(bytes);
    let _clock = (ClockRequest::parse(bytes), ClockReply::parse(bytes));
    let _reports = (ClientReport::parse(bytes), ServerReport::parse(bytes));
    let _later = (ReportInterval::parse(bytes), Viewpoint::parse(bytes), PresenceMap::parse(bytes));
    decode_session_messages(bytes);
    let _rpc = session::RpcMessage::parse(bytes);
    let _typed = session::TypedEvent::parse(bytes);
    if let Some(head) = bytes.first_chunk() {
        let _message = MessageHeader::parse(*head, 1 << 20);
    }
}

fn peer(n: u32) -> session::Peer {
    let (user, name) = (vec![b'u'; n as usize % 40], vec![b'n'; n as usize % 9]);
    session::Peer { peer: n, slot: n as u16, presence: 0, user, name, role: b"host".to_vec() }
}

fn field(n: u8) -> session::Field {
    let value = session::Value { kind: session::value::BYTES, bits: 0, bytes: vec![n; n.into()] };
    session::Field { key: vec![b'k'; 1 + usize::from(n)], value, version: n.into() }
}

fn state_messages() -> [Vec<u8>; 5] {
    let session::Field { key, value, .. } = field(9);
    let set = session::Operation {
        kind: session::operation::SET,
        scope: session::scope::OBJECT,
        id: 7,
        mode: 0,
        peer: 0,
        key: key.clone(),
        value: value.clone(),
        expected: 3,
    };
    let (kind, scope) = (session::change::SET, session::scope::OBJECT);
    let change = session::Change { kind, scope, id: 7, peer: 1, mode: 2, key, value };
    let fields = (0..4).map(field).collect();
    let entity = session::Entity { scope, id: 7, owner: 1, mode: 2, fields };
    [
        session::encode(&StateRequest { request: 1, operations: vec![set; 3] }),
        session::encode(&Moderate { request: 2, act: 1, peer: 7, seconds: 60 }),
        session::encode(&StateReply { request: 1, code: 62, failed: 2, version: 9 }),
        session::encode(&StateSnapshot { version: 9, host: 1, entities: vec![entity; 3] }),
        session::encode(&StateUpdate { version: 10, peer: 1, changes: vec![change; 3] }),
    ]
}

fn room_field() -> session::RoomField {
    let session::Field { key, value, .. } = field(5);
    session::RoomField { key, value }
}

fn room_options() -> session::RoomOptions {
    let (listed, fields) = (vec![b"map".to_vec(); 3], vec![room_field(); 2]);
    session::RoomOptions { capacity: 9, flags: 1, empty_ttl_ms: 7, listed, fields }
}

fn room_filter() -> session::Filter {
    let session::RoomField { key, value } = room_field();
    session::Filter { key, kind: session::filter::ONE_OF, values: vec![value; 2] }
}

fn lobby_messages() -> [Vec<u8>; 2] {
    let info = session::RoomInfo {
        room: b"lobby".to_vec(),
        peers: 2,
        capacity: 9,
        flags: 3,
        fields: vec![room_field(); 2],
    };
    let gone = vec![b"other".to_vec(); 2];
    let list = RoomList { request: 1, total: 9, whole: 0, rooms: vec![info; 2], gone };
    let filters = vec![room_filter()];
    let watch = WatchRooms { request: 1, version: b"1".to_vec(), filters };
    [session::encode(&watch), session::encode(&list)]
}

fn social_messages() -> [Vec<u8>; 6] {
    let names = |n: usize| (0..n).map(|n| vec![b'u'; n * 7]).collect::<Vec<_>>();
    let (user, name, role) = (b"ada".to_vec(), b"Ada".to_vec(), b"expert".to_vec());
    let user_info = session::UserInfo { user: user.clone(), name: name.clone(), role, status: 1 };
    let entered = Entered {
        user: user.clone(),
        name: name.clone(),
        role: b"expert".to_vec(),
        server_time: 1,
        clock_epoch: 2,
        server_instance: [3; 8],
        ring_ms: 30_000,
        call: 7,
        entries: vec![b"a:1".to_vec(); 2],
        settings: session::SessionSettings::default().list_of(session::SessionSettings::SOCIAL),
    };
    let users =
        UserList { total: 3, users: vec![user_info; 3], gone: names(3), ..UserList::default() };
    let update =
        CallUpdate { call: 7, kind: 4, user, name, members: names(3), ..CallUpdate::default() };
    let request =
        CallRequest { request: 1, act: 1, call: 0, users: names(3), text: b"pump 3".to_vec() };
    [
        session::encode(&Enter { token: vec![b't'; 300], name: b"Ada".to_vec(), status: 1 }),
        session::encode(&entered),
        session::encode(&WatchUsers { request: 1, roles: names(2), users: names(4) }),
        session::encode(&users),
        session::encode(&request),
        session::encode(&update),
    ]
}

/// Returns the bodies of valid messages of many types.
fn valid_messages() -> Vec<Vec<u8>> {
    let join = Join {
        token: vec![b't'; 300],
        ticket: vec![],
        last_event: 9,
        last_bulk: 8,
        room: b"lobby".to_vec(),
        name: b"Ada".to_vec(),
        suites: vec![1, 2],
        largest_body: 1_150,
        mode: session::join_mode::MATCH,
        version: b"1".to_vec(),
        password: b"sesame".to_vec(),
        expected: vec![b"grace".to_vec(); 3],
        options: room_options(),
        filters: vec![room_filter(); 2],
    };
    let update = RosterUpdate {
        version: 3,
        joined: (0..5).map(peer).collect(),
        left: vec![session::PeerLeft { peer: 9, code: 42 }],
        changed: vec![session::PeerPresence { peer: 1, presence: 1 }],
    };
    let up =
        EventUp { target: 2, channel: 1, piece: 0, peers: vec![1, 2, 3], payload: vec![7; 90] };
    let down = EventDown {
        peer: 1,
        roster_version: 2,
        sequence: 3,
        channel: 4,
        piece: 3,
        payload: vec![5; 60],
    };
    let hello =
        Hello { oldest: 1, newest: 1, flags: 1, agent: b"test".to_vec(), features: vec![7] };
    let encoded = [
        session::encode(&join),
        session::encode(&update),
        session::encode(&up),
        session::encode(&down),
        session::encode(&EventAck { events_taken: 3, bulk_taken: u32::MAX }),
        session::encode(&Leave { code: 0 }),
        hello.encode(),
    ];
    encoded
        .into_iter()
        .chain(state_messages())
        .chain(lobby_messages())
        .chain(social_messages())
        .map(|m| m[session::SESSION_HEADER_BYTES..].to_vec())
        .chain(application_payloads())
        .collect()
}

/// Returns a request to a peer, an answer, and a typed event.
fn application_payloads() -> [Vec<u8>; 3] {
    let mut out = [const { Vec::new() }; 3];
    let (method, payload) = ("cup.grab", &[7; 40][..]);
    session::RpcMessage::Request { request: 1, timeout_ms: 5_000, method, payload }
        .encode(&mut out[0]);
    session::RpcMessage::Answer { request: 1, code: 300, payload: b"no cup" }.encode(&mut out[1]);
    session::TypedEvent { event_type: "door.opened", data: payload }.encode(&mut out[2]);
    out
}

fn transform(reach: f32) -> impl Strategy<Value = Transform> {
    let axis = -reach..reach;
    (prop::array::uniform3(axis), prop::array::uniform4(-1.0f32..1.0))
        .prop_filter("not a rotation", |(_, q)| q.iter().map(|c| c * c).sum::<f32>() > 0.01)
        .prop_map(|(position, rotation)| Transform { position, rotation })
}

/// Returns the angle between two rotations in radians.
fn angle(a: [f32; 4], b: [f32; 4]) -> f64 {
    let norm = |q: [f32; 4]| q.iter().map(|c| f64::from(*c).powi(2)).sum::<f64>().sqrt();
    let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(y)).sum();
    2.0 * (dot.abs() / (norm(a) * norm(b))).min(1.0).acos()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_500)) {
        decode_everything(&bytes);
    }

    #[test]
    fn mutated_messages_never_panic(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let messages = valid_messages();
        let mut bytes = which.get(&messages).clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        decode_everything(&bytes);
        decode_everything(&bytes[..cut.index(bytes.len())]);
    }

    /// A position keeps half a millimetre, plus the rounding of f32. A rotation has steps of e = 1
    /// / (1023 sqrt 2): three components have an error of e/2 each. If all four are equal, the
    /// restored component has an error of 3e/2. Together this is at most 2 sqrt(3 + 9) e/2 = 0.0024
    /// rad = 0.137 degree.
    #[test]
    fn a_pose_keeps_its_precision(
        head in transform(500.0),
        left in prop::option::of(transform(HAND_RANGE * 0.9)),
        right in prop::option::of(transform(HAND_RANGE * 0.9)),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let placed = |hand: Transform| {
            let mut position = hand.position;
            position.iter_mut().zip(head.position).for_each(|(h, at)| *h += at);
            Transform { position, ..hand }
        };
        let pose = Pose { head, left: left.map(placed), right: right.map(placed) };
        let mut bytes = Vec::new();
        pose.encode(&mut bytes);
        let hands = usize::from(left.is_some()) + usize::from(right.is_some());
        prop_assert_eq!(bytes.len(), 15 + 9 * hands);
        bytes.extend_from_slice(&tail);
        let (read, rest) = Pose::parse(&bytes).unwrap();
        prop_assert_eq!(rest, &tail[..]);
        let pairs = [(Some(pose.head), Some(read.head)), (pose.left, read.left), (pose.right, read.right)];
        for (was, is) in pairs {
            prop_assert_eq!(was.is_some(), is.is_some());
            let (Some(was), Some(is)) = (was, is) else { continue };
            for (a, b) in was.position.into_iter().zip(is.position) {
                prop_assert!((a - b).abs() < 0.000_6, "{a} became {b}");
            }
            prop_assert!(angle(was.rotation, is.rotation).to_degrees() < 0.14);
        }
    }

    /// Encoding clamps NaN and values out of range.
    #[test]
    fn a_hostile_pose_is_clamped(bits in prop::array::uniform7(any::<u32>())) {
        let f = bits.map(f32::from_bits);
        let hand = Transform { position: [f[0], f[1], f[2]], rotation: [f[3], f[4], f[5], f[6]] };
        let mut bytes = Vec::new();
        Pose { head: hand, left: Some(hand), right: None }.encode(&mut bytes);
        let (read, _) = Pose::parse(&bytes).unwrap();
        let all = [read.head, read.left.unwrap()];
        prop_assert!(all.iter().all(|t| t.position.iter().chain(&t.rotation).all(|c| c.is_finite())));
    }

    #[test]
    fn messages_survive_the_wire(
        kind in prop::sample::select(MessageKind::ALL.to_vec()),
        fields in any::<(u8, u16, u8, u16, u16, Option<u16>)>(),
        payload in prop::collection::vec(any::<u8>(), 0..=900),
        unknown in 32u8..,
    ) {
        let (flags, peer, channel, key, sequence, time) = fields;
        let flags = flags & 0xf;
        let payload = &payload[..];
        let message = Message { kind, flags, peer, channel, key, sequence, time, payload };
        let mut body = Vec::new();
        message.encode(&mut body);
        prop_assert_eq!(body.len(), message.encoded_len());
        nucleus_protocol::realtime::frame::put(&mut body, unknown, b"later");
        body.extend_from_slice(&[0, 1, 2, 3]);
        let frames: Vec<_> = Frames::new(&body).collect();
        prop_assert_eq!(frames, [Ok(Frame::Message(message)), Ok(Frame::Other(unknown, b"later"))]);
    }

    #[test]
    fn archives_survive_the_wire(payload in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let event =
            EventUp { target: 2, channel: 1, piece: 0, peers: vec![1, u32::MAX], payload };
        let bytes = session::encode(&event);
        let body = &bytes[session::SESSION_HEADER_BYTES..];
        prop_assert_eq!(session::owned::<EventUp>(body), Ok(event));
    }
}
