//! Vectors of the handshake, and of joins, rosters and events; reads the vectors of all messages.

use nucleus_protocol::limits;
use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::fields::{Fields, all, archive, case, strings, text};
use super::{golden, hex, list, messaging, rooms, social, state, unhex};

impl Fields for Hello {
    fn fields(&self) -> Json {
        json!({ "oldest": self.oldest, "newest": self.newest, "flags": self.flags,
                "agent": hex(&self.agent), "features": hex(&self.features) })
    }
}

impl Fields for Welcome {
    fn fields(&self) -> Json {
        json!({ "version": self.version, "flags": self.flags, "server_id": hex(&self.server_id),
                "agent": hex(&self.agent), "features": hex(&self.features) })
    }
}

impl Fields for Ping {
    fn fields(&self) -> Json {
        json!({})
    }
}

impl Fields for Refuse {
    fn fields(&self) -> Json {
        let endpoints: Json = self.endpoints.iter().map(|endpoint| hex(endpoint)).collect();
        json!({ "code": self.code, "text": hex(&self.text), "retry_after_ms": self.retry_after_ms,
                "oldest": self.oldest, "newest": self.newest, "endpoints": endpoints })
    }
}

impl Fields for Join {
    fn fields(&self) -> Json {
        json!({ "token": hex(&self.token), "ticket": hex(&self.ticket),
                "last_event": self.last_event, "last_bulk": self.last_bulk, "room": hex(&self.room),
                "name": hex(&self.name), "suites": hex(&self.suites),
                "largest_body": self.largest_body, "mode": self.mode,
                "version": hex(&self.version), "password": hex(&self.password),
                "expected": strings(&self.expected), "options": self.options.fields(),
                "filters": all(&self.filters) })
    }
}

impl Fields for Joined {
    fn fields(&self) -> Json {
        json!({ "peer": self.peer, "slot": self.slot, "room_instance": hex(&self.room_instance),
                "server_instance": hex(&self.server_instance), "roster_version": self.roster_version,
                "roster": all(&self.roster), "link_id": self.link_id, "grant": all(&self.grant),
                "server_time": self.server_time, "clock_epoch": self.clock_epoch,
                "settings": all(&self.settings), "ticket": hex(&self.ticket),
                "resumed": self.resumed,
                "events_taken": self.events_taken, "bulk_taken": self.bulk_taken,
                "room": hex(&self.room), "entries": strings(&self.entries) })
    }
}

impl Fields for SessionSetting {
    fn fields(&self) -> Json {
        json!({ "key": self.key, "value": self.value })
    }
}

impl Fields for Peer {
    fn fields(&self) -> Json {
        json!({ "peer": self.peer, "slot": self.slot, "presence": self.presence,
                "user": hex(&self.user), "name": hex(&self.name), "role": hex(&self.role) })
    }
}

impl Fields for LinkGrant {
    fn fields(&self) -> Json {
        json!({ "connection_id": hex(&self.connection_id), "spare": hex(&self.spare), "secret": hex(&self.secret), "suite": self.suite,
                "flags": self.flags, "endpoints": all(&self.endpoints) })
    }
}

impl Fields for RealtimeEndpoint {
    fn fields(&self) -> Json {
        json!({ "ip": hex(&self.ip), "port": self.port })
    }
}

impl Fields for Renew {
    fn fields(&self) -> Json {
        json!({ "token": hex(&self.token) })
    }
}

impl Fields for Renewed {
    fn fields(&self) -> Json {
        json!({ "code": self.code, "ticket_ttl_s": self.ticket_ttl_s,
                "ticket": hex(&self.ticket) })
    }
}

impl Fields for TokenWanted {
    fn fields(&self) -> Json {
        json!({ "within_s": self.within_s })
    }
}

impl Fields for Moved {
    fn fields(&self) -> Json {
        json!({ "code": self.code, "after_ms": self.after_ms,
                "endpoints": strings(&self.endpoints) })
    }
}

impl Fields for Probe {
    fn fields(&self) -> Json {
        json!({ "token": hex(&self.token), "suites": hex(&self.suites),
                "largest_body": self.largest_body })
    }
}

impl Fields for ProbeGrant {
    fn fields(&self) -> Json {
        json!({ "link_id": self.link_id, "grant": all(&self.grant) })
    }
}

impl Fields for SettingsUpdate {
    fn fields(&self) -> Json {
        json!({ "settings": all(&self.settings) })
    }
}

impl Fields for Leave {
    fn fields(&self) -> Json {
        json!({ "code": self.code })
    }
}

impl Fields for RosterUpdate {
    fn fields(&self) -> Json {
        json!({ "version": self.version, "joined": all(&self.joined), "left": all(&self.left),
                "changed": all(&self.changed) })
    }
}

impl Fields for PeerLeft {
    fn fields(&self) -> Json {
        json!({ "peer": self.peer, "code": self.code })
    }
}

impl Fields for PeerPresence {
    fn fields(&self) -> Json {
        json!({ "peer": self.peer, "presence": self.presence })
    }
}

impl Fields for EventUp {
    fn fields(&self) -> Json {
        json!({ "target": self.target, "channel": self.channel, "piece": self.piece,
                "peers": self.peers, "payload": hex(&self.payload) })
    }
}

impl Fields for EventDown {
    fn fields(&self) -> Json {
        json!({ "peer": self.peer, "roster_version": self.roster_version,
                "sequence": self.sequence, "channel": self.channel, "piece": self.piece,
                "payload": hex(&self.payload) })
    }
}

fn handshakes() -> Vec<Json> {
    let all = Features::SUPPORTED.to_bytes();
    let hello = |flags, agent, features| Hello { oldest: 1, newest: 1, flags, agent, features };
    let later = Hello { newest: 9, ..hello(3, text("later/9"), vec![0xff; 32]) };
    let welcome =
        |server_id, agent, features| Welcome { version: 1, flags: 0, server_id, agent, features };
    let full = Refuse {
        code: Code::ServerFull as u16,
        text: text("the server takes no more sessions"),
        retry_after_ms: 30_000,
        oldest: 1,
        newest: 1,
        endpoints: vec![text("relay-2.example.com:5055"), text("[2001:db8::2]:5055")],
    };
    let bare = Refuse {
        code: 0xfffe,
        text: Vec::new(),
        retry_after_ms: 0,
        oldest: 2,
        newest: 9,
        endpoints: Vec::new(),
    };
    let hello = [
        ("hello", hello(HAS_EXPORTER, text("nucleus-client/0.1.0"), all.clone())),
        ("hello without exporter, agent and features", hello(0, Vec::new(), Vec::new())),
        ("hello without a realtime port", hello(NO_REALTIME_PORT, text("web/1"), vec![1])),
        ("hello with later versions and features", later),
    ];
    let welcome = [
        ("welcome", welcome(text("nucleus-7f3a"), text("nucleus/0.1.0"), all)),
        ("welcome with empty strings", welcome(Vec::new(), Vec::new(), Vec::new())),
    ];
    let moved = Refuse { code: Code::Moved as u16, retry_after_ms: 0, ..full.clone() };
    let refuse = [
        ("refuse with endpoints", full),
        ("refuse, moved", moved),
        ("refuse, bare, unknown code", bare),
    ];
    let hello = hello.map(|(name, m)| case(name, Schema::Hello, &m, &m.encode()));
    let welcome = welcome.map(|(name, m)| case(name, Schema::Welcome, &m, &m.encode()));
    let refuse = refuse.map(|(name, m)| case(name, Schema::Refuse, &m, &m.encode()));
    let ping = vec![case("ping", Schema::Ping, &Ping, &Ping.encode())];
    [hello.to_vec(), welcome.to_vec(), refuse.to_vec(), ping].concat()
}

fn peer(peer: u32, slot: u16, presence: u8, names: [&str; 3]) -> Peer {
    let [user, name, role] = names.map(text);
    Peer { peer, slot, presence, user, name, role }
}

fn roster() -> Vec<Peer> {
    vec![
        peer(1, 0, PRESENT, ["u-17", "Zoë Müller", "trainer"]),
        peer(70_000, 3, AWAY, ["u-18", "", ""]),
        peer(0xffff_fffe, 0xfeff, PRESENT, ["u-19", "会議", "guest"]),
    ]
}

fn grant(suite: u8, flags: u8, endpoints: Vec<RealtimeEndpoint>) -> LinkGrant {
    LinkGrant {
        connection_id: [1, 0x21, 0x22, 0x23, 0xa1, 0xa2, 0xa3, 0xa4],
        spare: [1, 0x31, 0x32, 0x33, 0xb1, 0xb2, 0xb3, 0xb4],
        secret: std::array::from_fn(|i| i as u8),
        suite,
        flags,
        endpoints,
    }
}

fn settings() -> Vec<SessionSetting> {
    let settings = SessionSettings { capacity: 400, max_body: 1_000, ..SessionSettings::default() };
    let later = SessionSetting { key: 0xfffe, value: u64::MAX };
    [settings.to_list(), vec![later]].concat()
}

fn joined(roster: Vec<Peer>, grant: Vec<LinkGrant>, ticket: Vec<u8>) -> Joined {
    Joined {
        peer: 70_000,
        slot: 3,
        room_instance: [0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67],
        server_instance: [0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10],
        roster_version: 12,
        roster,
        link_id: 0x0102_0304,
        grant,
        server_time: 0x0123_4567_89ab_cdef,
        clock_epoch: 0xfeed_beef,
        settings: settings(),
        ticket,
        resumed: RESUMED_WITH_LOSS,
        events_taken: 0x0102_0304,
        bulk_taken: 0x0506_0708,
        room: text("Schulung Brandschutz"),
        entries: vec![text("nucleus.example.com:5055"), text("[2001:db8::2]:5055")],
    }
}

fn joins() -> Vec<Json> {
    let endpoints = vec![
        RealtimeEndpoint { ip: vec![192, 0, 2, 7], port: 5056 },
        RealtimeEndpoint {
            ip: vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
            port: 5056,
        },
    ];
    let here = vec![RealtimeEndpoint { ip: Vec::new(), port: 5056 }];
    let join = Join {
        token: text("eyJhbGciOiJFZERTQSJ9.e30.c2ln"),
        ticket: Vec::new(),
        last_event: 0,
        last_bulk: 0,
        room: text("Schulung Brandschutz"),
        name: text("Zoë"),
        suites: vec![2, 1],
        largest_body: 1_150,
        options: RoomOptions { capacity: 40, ..RoomOptions::default() },
        ..Join::default()
    };
    let ticket = vec![0xde, 0xad, 0xbe, 0xef];
    let without_port = Joined {
        settings: Vec::new(),
        entries: Vec::new(),
        ..joined(Vec::new(), Vec::new(), Vec::new())
    };
    vec![
        archive!("join", join.clone()),
        archive!(
            "join with a ticket",
            Join {
                ticket: ticket.clone(),
                last_event: 1 << 40,
                last_bulk: 1 << 41,
                ..join.clone()
            }
        ),
        archive!("join that matches or makes a room", rooms::searching(join.clone())),
        archive!("join without a realtime port", Join { suites: Vec::new(), ..join.clone() }),
        archive!("join, everything empty", Join::default()),
        archive!("joined", joined(roster(), vec![grant(1, GRANT_EXPORTER, here)], ticket)),
        archive!(
            "joined, two endpoints",
            joined(roster(), vec![grant(2, 0, endpoints)], Vec::new())
        ),
        archive!("joined without a realtime port, empty lists", without_port),
        archive!("leave", Leave { code: 0 }),
        archive!("leave with a code", Leave { code: Code::Internal as u16 }),
    ]
}

fn renewals() -> Vec<Json> {
    let token = text("eyJhbGciOiJFZERTQSJ9.e30.c2ln");
    vec![
        archive!("renew", Renew { token }),
        archive!(
            "renewed",
            Renewed { code: 0, ticket_ttl_s: 43_200, ticket: vec![0xde, 0xad, 0xbe, 0xef] }
        ),
        archive!(
            "renewed, refused",
            Renewed { code: Code::TokenExpired as u16, ticket_ttl_s: 0, ticket: Vec::new() }
        ),
        archive!("token wanted", TokenWanted { within_s: 3_600 }),
    ]
}

/// Messages that no end sends yet.
fn reserved() -> Vec<Json> {
    let endpoints = vec![text("relay-2.example.com:5055")];
    let here = vec![RealtimeEndpoint { ip: Vec::new(), port: 5056 }];
    vec![
        archive!(
            "moved (reserved)",
            Moved { code: Code::ShuttingDown as u16, after_ms: 30_000, endpoints }
        ),
        archive!(
            "probe (reserved)",
            Probe { token: text("e30.e30.c2ln"), suites: vec![1, 2], largest_body: 1_150 }
        ),
        archive!(
            "probe grant (reserved)",
            ProbeGrant { link_id: 1, grant: vec![grant(1, GRANT_EXPORTER, here)] }
        ),
        archive!("settings update (reserved)", SettingsUpdate { settings: settings() }),
    ]
}

fn roster_updates() -> Vec<Json> {
    let left = vec![PeerLeft { peer: 4, code: 0 }, PeerLeft { peer: 5, code: 42 }];
    let changed = vec![PeerPresence { peer: 6, presence: AWAY }];
    let only_left = RosterUpdate { version: 2, left: left.clone(), ..RosterUpdate::default() };
    vec![
        archive!("roster update", RosterUpdate { version: 13, joined: roster(), left, changed }),
        archive!("roster update, only left", only_left),
        archive!("roster update, empty lists", RosterUpdate::default()),
    ]
}

fn events() -> Vec<Json> {
    let up = |target, peers, payload| EventUp { target, channel: 7, piece: 0, peers, payload };
    let down = |payload| EventDown {
        peer: 70_000,
        roster_version: 13,
        sequence: 0x1_0000_0001,
        channel: 255,
        piece: 0,
        payload,
    };
    let more = PIECE_MORE | PIECE_CONTINUES;
    vec![
        archive!("event up to listed", up(TO_LISTED, vec![1, 70_000, u32::MAX], text("grab"))),
        archive!("event up to others", up(TO_OTHERS, Vec::new(), vec![0; 300])),
        archive!("event up, empty lists", up(TO_ALL, Vec::new(), Vec::new())),
        archive!("event up to the host", up(TO_HOST, Vec::new(), text("ask"))),
        archive!("event up to a group", up(TO_GROUP, vec![239], text("hush"))),
        archive!(
            "event up, a piece",
            EventUp { piece: more, ..up(TO_OTHERS, Vec::new(), vec![7; 9]) }
        ),
        archive!("event down", down(text("grab"))),
        archive!(
            "event down, the last piece",
            EventDown { piece: PIECE_CONTINUES, ..down(vec![7; 9]) }
        ),
        archive!("event down, empty payload", down(Vec::new())),
    ]
}

macro_rules! read_by_schema {
    (plain { $($plain:ident = $_p:literal,)* } archive { $($archive:ident = $_a:literal,)* }) => {
        /// Reads a body with this crate and returns its fields.
        fn read(schema: Schema, body: &[u8]) -> Json {
            match schema {
                $(Schema::$plain => $plain::parse(body).expect(stringify!($plain)).fields(),)*
                $(Schema::$archive => {
                    owned::<$archive>(body).expect(stringify!($archive)).fields()
                })*
            }
        }
    };
}
nucleus_protocol::session_messages!(read_by_schema);

#[test]
fn session_messages() {
    let inside =
        [joins(), roster_updates(), events(), messaging::messages(), state::messages()].concat();
    let later = [renewals(), reserved()].concat();
    let made = [handshakes(), inside, rooms::messages(), social::messages(), later].concat();
    let file = golden("session.json", &json!({ "messages": made }));
    let messages = list(&file, "messages");
    for schema in Schema::ALL {
        let has_vector = messages.iter().any(|case| case["schema"] == *schema as u16);
        assert!(has_vector, "{schema:?} has no test vector");
    }
    for case in messages {
        let bytes = unhex(&case["hex"]);
        let (header, body) = bytes.split_first_chunk().expect("a header");
        let header = MessageHeader::parse(*header, limits::MAX_CONTROL_MESSAGE).expect("a header");
        assert_eq!(header.len as usize, body.len(), "{}", case["name"]);
        assert_eq!(case["schema"], header.schema as u16, "{}", case["name"]);
        assert_eq!(case["fields"], read(header.schema, body), "{}", case["name"]);
    }
}

/// Trailing bytes of a handshake message belong to later versions.
#[test]
fn handshakes_may_grow() {
    for case in handshakes() {
        let bytes = unhex(&case["hex"]);
        let (header, body) = bytes.split_first_chunk().expect("a header");
        let header =
            MessageHeader::parse(*header, limits::MAX_HANDSHAKE_MESSAGE).expect("a header");
        let longer = [body, &[1, 2, 3]].concat();
        assert_eq!(case["fields"], read(header.schema, &longer), "{}", case["name"]);
    }
}
