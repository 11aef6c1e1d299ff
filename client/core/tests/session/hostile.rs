//! What a hostile or broken server can make a client hold.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::session::DrivenClient;
use nucleus_protocol::limits::{MAX_NAME, MAX_ROOM_PEERS};
use nucleus_protocol::session::{
    Audit, Code, Joined, MUTED, PRESENT, Peer, PeerLeft, PeerPresence, RESUMED, RosterUpdate, act,
    encode,
};

use super::support::{Script, answer, peer};

/// The version of the roster in [`answer`].
const VERSION: u32 = 4;

fn joining(version: u32, joined: Vec<Peer>) -> Vec<u8> {
    encode(&RosterUpdate { version, joined, ..RosterUpdate::default() })
}

fn named(number: u32, name: usize) -> Peer {
    Peer { name: vec![b'n'; name], ..peer(number) }
}

#[test]
fn a_roster_does_not_grow_without_end() {
    let mut script = Script::joined(&answer(&[1]));
    let peers = u32::from(MAX_ROOM_PEERS);
    for update in 1..16 {
        let numbers = update * peers..(update + 1) * peers;
        script.send(&joining(VERSION + update, numbers.map(peer).collect()));
        assert_eq!(script.events().len() as u32, peers, "a larger room than today's");
    }
    script.send(&joining(VERSION + 16, (0..peers).map(|n| peer(n + 16 * peers)).collect()));
    script.expect_fault("roster");
    assert_eq!(script.client.roster().iter().count(), 15 * MAX_ROOM_PEERS as usize + 1);
}

#[test]
fn a_peer_does_not_have_a_name_without_end() {
    for (name, is_taken) in [(6_000, true), (7_000, false)] {
        let mut script = Script::joined(&answer(&[1]));
        script.send(&joining(VERSION + 1, vec![named(2, name)]));
        assert_eq!(script.client.roster().iter().count(), 1 + usize::from(is_taken));
    }
    let mut script = Script::new(Duration::from_secs(60));
    script.admit(&Joined { roster: vec![named(1, 7_000)], ..answer(&[]) });
    assert!(!script.client.has_joined());
}

#[test]
fn the_names_of_a_roster_do_not_grow_without_end() {
    let mut script = Script::joined(&answer(&[1]));
    let mut sent = 0;
    while !script.client.session().is_closed() {
        assert!(sent < 64 << 20, "{sent} bytes of names");
        let version = VERSION + 1 + sent / 1_800_000;
        script.send(&joining(version, (0..300).map(|n| named(sent + n, 6_000)).collect()));
        script.events();
        sent += 300 * 6_000;
    }
    assert!(sent > 16 << 20, "sixteen rosters of today");
}

#[test]
fn a_peer_changes_once_in_an_update() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let change = |n| PeerPresence { peer: 2, presence: if n % 2 == 0 { MUTED } else { PRESENT } };
    let changed = (0..101).map(change).collect();
    script.send(&encode(&RosterUpdate {
        version: VERSION + 1,
        changed,
        ..RosterUpdate::default()
    }));
    let events = script.events();
    assert!(matches!(&events[..], [RoomEvent::PeerChanged(peer)] if peer.muted), "{events:?}");
}

/// Sends messages until the client reads no more, and returns how many it has read.
fn until_behind(mut message: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut script = Script::joined(&answer(&[1]));
    let mut read = 0;
    while !script.client.is_behind() {
        assert!(read < 1_000, "the client reads without end");
        read += 1;
        script.send(&message(read));
    }
    read
}

#[test]
fn the_texts_of_waiting_events_count() {
    // 2 MiB of events.
    const MOST: u32 = 414;
    let joins = until_behind(|n| joining(VERSION + n, vec![named(n + 1, 5_000)]));
    assert_eq!(joins, MOST);
    let user = vec![b'u'; 5_000];
    let audit = encode(&Audit { act: act::MUTE, by: 1, peer: 2, user, seconds: 0, time: 0 });
    assert_eq!(until_behind(|_| audit.clone()), MOST + 1, "its text alone");
    let comes_and_goes = |n| {
        let left = if n % 2 == 0 { vec![PeerLeft { peer: n, code: 0 }] } else { vec![] };
        let joined = if n % 2 == 1 { vec![named(n + 1, 5_000)] } else { vec![] };
        encode(&RosterUpdate { version: VERSION + n, joined, left, changed: vec![] })
    };
    assert_eq!(until_behind(comes_and_goes), MOST);
}

#[test]
fn muting_the_largest_room_does_not_fill_the_queue() {
    let text = || vec![b't'; MAX_NAME];
    let longest = |n| Peer { user: text(), name: text(), role: text(), ..peer(n) };
    let roster = (1..=u32::from(MAX_ROOM_PEERS)).map(longest).collect();
    let mut script = Script::joined(&Joined { roster, ..answer(&[1]) });
    let muted = |peer| PeerPresence { peer, presence: MUTED };
    let changed = (1..=u32::from(MAX_ROOM_PEERS)).map(muted).collect();
    let version = VERSION + 1;
    script.send(&encode(&RosterUpdate { version, changed, ..RosterUpdate::default() }));
    assert!(!script.client.is_behind());
    assert_eq!(script.events().len(), usize::from(MAX_ROOM_PEERS));
}

#[test]
fn events_of_many_sessions_do_not_wait_without_end() {
    let mut script = Script::joined(&answer(&[1]));
    let mut sessions = 0;
    while !script.client.session().is_closed() {
        sessions += 1;
        assert!(sessions < 1_000, "the client comes back without end");
        script.close(Code::Internal);
        // All other peers are others each time, and the application takes no events.
        let roster =
            [peer(1)].into_iter().chain((1..300).map(|n| named(sessions * 300 + n, 6_000)));
        while script.connects.is_empty() && !script.client.session().is_closed() {
            script.run(Duration::from_millis(100));
        }
        if !script.connects.is_empty() {
            script.admit(&Joined { resumed: RESUMED, roster: roster.collect(), ..answer(&[]) });
        }
    }
    assert!((5..20).contains(&sessions), "{sessions} sessions of 3.6 MB of names");
    let events = script.events();
    assert!(matches!(events.last(), Some(RoomEvent::Closed { .. })));
}
