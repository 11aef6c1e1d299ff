//! Events, their acknowledgements, and an application that does not take them.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::StateError;
use nucleus_client_core::session::{DrivenClient, SendError, SessionInput, StreamSource, To};
use nucleus_protocol::session::{
    Code, EventAck, EventDown, EventUp, Joined, Lane, RESUMED, RosterUpdate, Schema, StateReply,
    encode, owned, stream,
};

use super::support::{Script, answer, peer};

fn ack(events_taken: u32) -> Vec<u8> {
    encode(&EventAck { events_taken, bulk_taken: 0 })
}

fn payloads(script: &mut Script) -> Vec<Vec<u8>> {
    let bodies = script.lane(Lane::Events).into_iter();
    bodies.map(|body| owned::<EventUp>(&body).unwrap().payload).collect()
}

fn send(script: &mut Script, payload: &[u8]) -> Result<(), SendError> {
    let sent = script.client.send_event(script.now, To::All, 0, payload);
    script.pump();
    sent
}

/// A server that acknowledges what was never sent, or goes backwards, ends the session with a
/// reason.
#[test]
fn impossible_acknowledgements_end_the_session() {
    for impossible in [2, 0] {
        let mut script = Script::joined(&answer(&[1]));
        send(&mut script, b"one").unwrap();
        for events_taken in [1, 1] {
            script.send(&ack(events_taken));
            assert_eq!(script.client.unacknowledged(), 0);
        }
        script.send(&ack(impossible));
        script.expect_fault("possible are 1 to 1");
    }
}

/// An acknowledgement that comes after the leave is no fault.
#[test]
fn acknowledgements_may_come_after_the_leave() {
    let mut script = Script::joined(&answer(&[1]));
    (0..3).for_each(|n| send(&mut script, &[n]).unwrap());
    script.client.leave(script.now);
    script.pump();
    script.send(&ack(2));
    script.close(Code::Left);
    assert!(matches!(script.events()[..], [RoomEvent::Closed { code: Some(Code::Left), .. }]));
    assert_eq!(script.closes, []);
}

/// A client forgets what is acknowledged, and writes the rest again after a resume.
#[test]
fn what_is_not_acknowledged_is_written_again() {
    let mut script = Script::joined(&answer(&[1]));
    for n in 0..4 {
        send(&mut script, &[n]).unwrap();
    }
    assert_eq!(payloads(&mut script), [[0], [1], [2], [3]]);
    script.send(&ack(2));
    script.close(Code::Internal);
    send(&mut script, &[4]).unwrap();
    script.run(Duration::from_secs(1));
    let join = script.admit(&Joined { resumed: RESUMED, events_taken: 3, ..answer(&[1]) });
    assert_eq!(join.ticket, b"ticket");
    assert_eq!(payloads(&mut script), [[3], [4]]);
    script.send(&ack(5));
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    // Less than was acknowledged: event 4 would be lost.
    script.admit(&Joined { resumed: RESUMED, events_taken: 4, ..answer(&[1]) });
    script.expect_fault("took 4");
}

/// A server that acknowledges nothing makes the sender wait, and gets no more than the client
/// keeps. With the acknowledgement the sender goes on.
#[test]
fn a_sender_waits_for_acknowledgements() {
    let mut script = Script::joined(&answer(&[1]));
    let mut sent = 0;
    let fill = |script: &mut Script, sent: &mut u32| {
        while send(script, &[0; 1_000]).is_ok() {
            *sent += 1;
        }
        assert_eq!(send(script, &[0; 1_000]), Err(SendError::WouldBlock));
    };
    fill(&mut script, &mut sent);
    let written = payloads(&mut script).len();
    assert!((400 << 10..600 << 10).contains(&(written * 1_000)), "{written}");
    script.send(&ack(written as u32));
    fill(&mut script, &mut sent);
    assert!(sent as usize > written + 400);
}

/// The application waits before it takes the next event: replies that are behind events still
/// arrive, up to a bound. No event is lost.
#[test]
fn an_application_that_is_behind_hears_answers_up_to_a_bound() {
    // The first 2 MiB fill the queue.
    const LAST: u64 = 2_500;
    let mut script = Script::joined(&answer(&[1]));
    let event = |sequence| {
        let payload = vec![0; 1_000];
        encode(&EventDown { peer: 1, roster_version: 4, sequence, channel: 0, piece: 0, payload })
    };
    let events = script.open(stream::EVENTS);
    let set = || {
        let batch = nucleus_client_core::state::Batch::new();
        let room = nucleus_client_core::state::EntityId::Room;
        batch.set(room, "topic", "x").into_operations().unwrap()
    };
    let first = script.client.change(script.now, set()).unwrap();
    (1..=200).for_each(|sequence| assert!(script.push(events, &event(sequence))));
    let (schema, _) = {
        script.pump();
        script.control()
    };
    assert_eq!(schema, Schema::StateRequest);
    script.send(&encode(&StateReply { request: 1, code: 0, failed: 0, version: 0 }));
    assert_eq!(script.client.take_result(first), Some(Ok(0)));

    let second = script.client.change(script.now, set()).unwrap();
    let taken = (201..=LAST).take_while(|sequence| script.push(events, &event(*sequence))).count();
    assert!((1_700..1_900).contains(&taken), "{taken}");
    assert_eq!(script.client.take_result(second), Some(Err(StateError::Interrupted)));
    assert_eq!(script.client.change(script.now, set()), Err(StateError::Behind));
    // The event of the read that filled the queue is not lost.
    let mut received = 0;
    let mut next = 201 + taken as u64;
    let last = RosterUpdate { version: 5, joined: vec![peer(2)], ..Default::default() };
    let mut has_joined = false;
    while received < LAST || !has_joined {
        for event in script.events() {
            received += u64::from(matches!(event, RoomEvent::Event { .. }));
            has_joined |= matches!(event, RoomEvent::PeerJoined(_));
        }
        if next <= LAST {
            next += u64::from(script.push(events, &event(next)));
        } else if !has_joined {
            script.send(&encode(&last));
        }
    }
    assert_eq!(received, LAST);
}

fn event(sequence: u64) -> Vec<u8> {
    let (peer, channel, piece, payload) = (1, 0, 0, vec![0; 1_000]);
    encode(&EventDown { peer, roster_version: 4, sequence, channel, piece, payload })
}

/// Sends events until the client reads no more. Returns their stream, and the next sequence.
fn fill(script: &mut Script, first: u64) -> (StreamSource, u64) {
    let events = script.open(stream::EVENTS);
    let next = (first..).find(|sequence| !script.push(events, &event(*sequence)));
    (events, next.unwrap_or(first))
}

/// A loss is noticed although the application takes no events: it may be waiting for something that
/// needs a session.
#[test]
fn a_client_that_is_behind_comes_back() {
    let mut script = Script::joined(&answer(&[1]));
    fill(&mut script, 1);
    assert!(script.client.is_behind());
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    let join = script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    assert!(join.last_event > 200, "{}", join.last_event);
    assert!(script.client.session().is_running() && script.client.is_behind());
    assert!(send(&mut script, b"goes on").is_ok());
    assert_eq!(payloads(&mut script), [b"goes on"]);
}

/// A final end stays final for an application that is behind, ends what waits, and comes after all
/// events.
#[test]
fn a_final_end_is_no_loss_for_an_application_that_is_behind() {
    for code in [Code::Kicked, Code::Replaced, Code::RoomEnded] {
        let mut script = Script::joined(&answer(&[1]));
        // The connection's end shows first on the control stream.
        let (lane, next) = fill(&mut script, 1);
        let ended = SessionInput::StreamEnded { source: StreamSource::Control, is_broken: true };
        script.handle(ended);
        script.handle(SessionInput::Ending { is_final: true });
        assert!(script.push(lane, &event(next)), "what has arrived is read");
        script.close(code);
        assert_eq!(send(&mut script, b"late"), Err(SendError::Closed));
        script.run(Duration::from_secs(10));
        assert!(script.connects.is_empty(), "{code}");
        let events = script.events();
        assert_eq!(events.len() as u64, next + 1);
        let last = events.last();
        assert!(
            matches!(last, Some(RoomEvent::Closed { code: Some(found), .. }) if *found == code),
            "{last:?}"
        );
    }
}

/// An application that takes nothing over many sessions gets no further one.
#[test]
fn an_application_that_takes_nothing_is_given_up() {
    let mut script = Script::joined(&answer(&[1]));
    fill(&mut script, 1);
    for _ in 0..20_000 {
        script.close(Code::Internal);
        if script.client.session().is_closed() {
            return;
        }
        while script.connects.is_empty() {
            script.run(Duration::from_millis(100));
        }
        script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    }
    panic!("the events of the sessions pile up without end");
}
