//! The join, the server's streams, and the leave.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::RoomOutput;
use nucleus_client_core::session::{
    ConnectionEnd, DrivenClient, JoinError, ProtocolError, SendError, SessionInput, StreamSource,
    StreamTarget, To,
};
use nucleus_protocol::ids::PeerId;
use nucleus_protocol::session::{
    Code, EventDown, EventUp, Joined, Lane, Leave, NEW_PEER, RosterUpdate, Schema, TO_LISTED,
    encode, join_mode, owned, stream,
};

use super::support::{Script, answer, options, peer};

fn event(roster_version: u32, sequence: u64) -> Vec<u8> {
    let (peer, channel, piece, payload) = (2, 0, 0, vec![]);
    encode(&EventDown { peer, roster_version, sequence, channel, piece, payload })
}

#[test]
fn joins_sends_and_leaves() {
    let mut script = Script::new(Duration::from_secs(60));
    let join = script.admit(&answer(&[1, 9]));
    assert_eq!(
        (&join.room[..], &join.ticket[..], join.largest_body),
        (&b"lobby"[..], &[][..], 1_150)
    );
    let link = script.outputs.iter().find_map(|output| match output {
        RoomOutput::Link { link, same_room: true } => Some(link.clone()),
        _ => None,
    });
    let config = link.unwrap().config(super::support::SERVER.into(), [1; 32], Some(&[2; 32]));
    assert_eq!(config.unwrap().path.unwrap().remote.to_string(), "192.0.2.1:5056");

    let (now, client) = (script.now, &mut script.client);
    for n in 0..3 {
        client.send_event(now, To::Peer(PeerId(9)), 0, &[n]).unwrap();
    }
    let too_large = client.send_event(now, To::All, 0, &[0; 1_001]);
    assert_eq!(too_large, Err(SendError::TooLarge { len: 1_001, limit: 1_000 }));
    let many = client.send_event(now, To::Peers(vec![PeerId(9); 1_025]), 0, &[]);
    assert_eq!(many, Err(SendError::TooManyPeers { count: 1_025, limit: 1_024 }));
    client.leave(now);
    script.pump();
    for (n, body) in script.lane(Lane::Events).into_iter().enumerate() {
        let event: EventUp = owned(&body).unwrap();
        assert_eq!((event.target, event.peers, event.payload), (TO_LISTED, vec![9], vec![n as u8]));
    }
    let (schema, body) = script.control();
    assert_eq!((schema, owned::<Leave>(&body).unwrap().code), (Schema::Leave, 0));
    script.close(Code::Left);
    let closed = RoomEvent::Closed { code: Some(Code::Left), text: "on purpose".to_owned() };
    assert_eq!(script.events(), [closed]);
    let sent = script.client.send_event(script.now, To::All, 0, &[]);
    assert_eq!(sent, Err(SendError::Closed));
}

/// A leave whose server does not answer takes 2 s at most.
#[test]
fn a_leave_waits_for_nobody() {
    let mut script = Script::joined(&answer(&[1]));
    script.takes_events = false;
    script.client.send_event(script.now, To::All, 0, &[7]).unwrap();
    script.client.leave(script.now);
    script.run(Duration::from_millis(2_001));
    assert!(script.client.session().is_closed());
    assert_eq!(script.closes, [(Code::Leaving, String::new())]);
}

/// This includes the messages of the bulk lane, which are read last.
#[test]
fn what_had_arrived_before_the_end_is_given_out() {
    let mut script = Script::joined(&answer(&[1, 2]));
    for kind in [stream::BULK, stream::EVENTS] {
        let lane = script.open(kind);
        let messages: Vec<u8> = (1..=3).flat_map(|sequence| event(4, sequence)).collect();
        script.push(lane, &messages);
        script.end_stream(lane);
    }
    script.close(Code::Left);
    let events = script.events();
    let count = |is: fn(&RoomEvent) -> bool| events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, RoomEvent::Event { .. })), 3);
    assert_eq!(count(|event| matches!(event, RoomEvent::Bulk { .. })), 3);
    assert!(matches!(events.last(), Some(RoomEvent::Closed { code: Some(Code::Left), .. })));
}

#[test]
fn events_wait_for_their_roster() {
    let mut script = Script::joined(&answer(&[1, 2]));
    script.open(77);
    assert_eq!(script.refused, [0], "an unknown stream is refused");
    let events = script.open(stream::EVENTS);
    script.push(events, &[event(4, 1), event(5, 2)].concat());
    assert!(!script.client.session().wants(events), "the lane waits");
    assert!(matches!(script.events()[..], [RoomEvent::Event { sequence: 1, .. }]));
    script.open(stream::EVENTS);
    assert_eq!(script.refused, [0, 2], "a second stream of a lane is refused");
    let next = RosterUpdate { version: 5, joined: vec![peer(3)], ..Default::default() };
    script.send(&encode(&next));
    let events = script.events();
    assert!(
        matches!(events[..], [RoomEvent::PeerJoined(_), RoomEvent::Event { sequence: 2, .. }]),
        "{events:?}"
    );
    // The version leaves a gap.
    script.send(&encode(&RosterUpdate { version: 7, ..Default::default() }));
    script.expect_fault("expected 6");
}

#[test]
fn a_refusal_says_what_to_do() {
    let mut script = Script::new(Duration::from_secs(60));
    script.accept();
    script.refuse(Code::TokenExpired, 0);
    let error = script.client.take_failure().unwrap();
    assert!(matches!(error, JoinError::Refused { code: Some(Code::TokenExpired), .. }));
    assert!(error.to_string().contains("new token"), "{error}");
    assert!(script.client.session().is_closed() && script.connects.is_empty());
}

/// The server's time for a join was over, whether it says so before or after the QUIC handshake.
#[test]
fn a_join_that_ran_out_of_the_servers_time_is_tried_again() {
    let number = Code::JoinTimeout as u64;
    for end in [
        ConnectionEnd::ByServer { number, text: String::new() },
        ConnectionEnd::BeforeHandshake { text: String::new() },
    ] {
        let mut script = Script::new(Duration::from_secs(60));
        script.accept();
        script.handle(SessionInput::Closed(end));
        assert!(script.connects.is_empty(), "after a pause");
        script.run(Duration::from_millis(500));
        script.admit(&answer(&[1]));
        assert!(script.client.has_joined());
    }
}

/// A join takes 10 s at most, with an attempt every 4 s.
#[test]
fn a_silent_server_is_given_up() {
    let mut script = Script::new(Duration::from_secs(60));
    script.accept();
    let begun = script.now;
    script.run(Duration::from_millis(9_990));
    let attempts: Vec<Duration> = script.connects.iter().map(|(at, _)| at.since(begun)).collect();
    assert_eq!(attempts, [Duration::from_secs(4), Duration::from_secs(8)]);
    assert!(script.client.take_failure().is_none());
    script.run(Duration::from_millis(10));
    assert!(matches!(script.client.take_failure(), Some(JoinError::TimedOut { .. })));
}

/// The abandoned attempt may have created the room, or still takes the last seat.
#[test]
fn an_abandoned_attempt_keeps_nobody_out() {
    let mut options = options();
    options.selection.mode = join_mode::CREATE;
    let config = nucleus_client_core::session::ClientOptions::new(Duration::from_secs(60), 1);
    let mut script = Script::with(options, config);
    assert_eq!(script.accept().mode, join_mode::CREATE);
    script.run(Duration::from_secs(4));
    script.accept();
    script.refuse(Code::RoomExists, 0);
    assert_eq!(script.accept().mode, join_mode::JOIN_OR_CREATE);
    script.refuse(Code::AlreadyJoined, 0);
    assert!(script.connects.is_empty());
    script.run(Duration::from_millis(500));
    script.admit(&answer(&[1]));
    assert!(script.client.has_joined());
}

/// Without an abandoned attempt, a room that exists is a refusal.
#[test]
fn a_room_that_exists_is_not_joined_by_a_create() {
    let mut script = Script::new(Duration::from_secs(60));
    script.accept();
    script.refuse(Code::RoomExists, 0);
    assert!(script.client.take_failure().is_some());
}

/// A server that ends a stream and forgets the close: the session counts as lost after 2 s.
#[test]
fn an_ended_stream_without_a_close_is_a_lost_session() {
    for kind in [None, Some(stream::EVENTS), Some(stream::BULK), Some(stream::STATE)] {
        let mut script = Script::joined(&answer(&[1]));
        let source = kind.map_or(StreamSource::Control, |kind| script.open(kind));
        script.end_stream(source);
        script.run(Duration::from_millis(1_990));
        assert!(script.client.session().is_running());
        script.run(Duration::from_millis(10));
        assert!(matches!(script.events()[..], [RoomEvent::Interrupted { code: None, .. }]));
        assert_eq!(script.closes[0].0, Code::Left, "to the server, a lost session");
        script.run(Duration::from_secs(1));
        script.admit(&Joined { resumed: NEW_PEER, ..answer(&[1]) });
        assert!(script.client.session().is_running());
    }
}

/// A server that stops a stream closes the connection at the same time: the code of the close counts.
#[test]
fn a_stopped_stream_waits_for_the_close() {
    for closes in [true, false] {
        let mut script = Script::joined(&answer(&[1]));
        script.handle(SessionInput::Stopped(StreamTarget::Lane(Lane::Events)));
        script.run(Duration::from_millis(1_990));
        assert!(script.client.session().is_running());
        if closes {
            script.close(Code::Kicked);
            let events = script.events();
            assert!(matches!(events[..], [RoomEvent::Closed { code: Some(Code::Kicked), .. }]));
        } else {
            script.run(Duration::from_millis(10));
            assert!(matches!(script.events()[..], [RoomEvent::Interrupted { code: None, .. }]));
        }
    }
}

/// What does not belong into the answer ends the join.
#[test]
fn a_join_is_answered_by_welcome_and_joined_only() {
    type Send = fn(&mut Script);
    let faults: [(Send, &str); 4] = [
        (|script| script.send(&encode(&answer(&[1]))), "does not belong"),
        (|script| script.send(&[0xff; 64]), "unknown schema"),
        (|script| script.end_stream(StreamSource::Control), "ended"),
        (
            |script| {
                script.send(&encode(&answer(&[1]))[..20]);
                script.end_stream(StreamSource::Control);
            },
            "ended",
        ),
    ];
    for (send, why) in faults {
        let mut script = Script::new(Duration::from_secs(60));
        script.accept();
        send(&mut script);
        let error = script.client.take_failure().unwrap();
        assert!(matches!(error, JoinError::Protocol(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(ProtocolError::Ended.to_string(), "the stream ended in the middle of a message");
}
