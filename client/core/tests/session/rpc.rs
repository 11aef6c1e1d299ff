//! Requests of one peer to another, and typed events.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::RoomJoin;
use nucleus_client_core::roster::PeerId;
use nucleus_client_core::rpc::{
    AnswerError, RpcCall, RpcError, RpcFault, RpcId, RpcNumber, RpcResult,
};
use nucleus_client_core::session::{
    ClientOptions, DrivenClient, ReturnTicket, SendError, StreamSource, To,
};
use nucleus_protocol::session::{
    Code, EventAck, EventDown, EventUp, Joined, Lane, NEW_PEER, PIECE_MORE, PeerLeft, RESUMED,
    RPC_CHANNEL, RosterUpdate, RpcMessage, TO_LISTED, TO_OTHERS, TYPED_EVENT_CHANNEL, TypedEvent,
    encode, owned, rpc_code, stream,
};

use super::support::{Script, answer, options};

const SECOND: Duration = Duration::from_secs(1);

fn ask(script: &mut Script, to: u32, timeout: Duration) -> Result<RpcNumber, RpcError> {
    let call = RpcCall { to: PeerId(to), method: "grab", payload: b"cup", timeout };
    let number = script.client.rpc(script.now, &call);
    script.pump();
    number
}

/// A request or an answer as a client wrote it: recipient, and number, timeout or code.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Request { to: u32, number: u32, timeout_ms: u32 },
    Answer { to: u32, number: u32, code: u16, payload: Vec<u8> },
}

fn written(script: &mut Script) -> Vec<Written> {
    let events = script.lane(Lane::Events).into_iter().map(|body| owned::<EventUp>(&body).unwrap());
    let read = |EventUp { target, channel, piece, peers, payload }| {
        assert_eq!((target, channel, piece, peers.len()), (TO_LISTED, RPC_CHANNEL, 0, 1));
        let to = peers[0];
        match RpcMessage::parse(&payload).unwrap() {
            RpcMessage::Request { request: number, timeout_ms, method: "grab", payload } => {
                assert_eq!(payload, b"cup");
                Written::Request { to, number, timeout_ms }
            }
            RpcMessage::Answer { request: number, code, payload } => {
                Written::Answer { to, number, code, payload: payload.to_vec() }
            }
            other => panic!("{other:?}"),
        }
    };
    events.map(read).collect()
}

fn number_of(written: &[Written]) -> u32 {
    match written {
        [Written::Request { number, .. }] => *number,
        other => panic!("{other:?} is not one request"),
    }
}

fn event(peer: u32, sequence: u64, channel: u8, payload: Vec<u8>) -> Vec<u8> {
    encode(&EventDown { peer, roster_version: 4, sequence, channel, piece: 0, payload })
}

fn rpc_event(peer: u32, sequence: u64, message: RpcMessage<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode(&mut payload);
    event(peer, sequence, RPC_CHANNEL, payload)
}

fn answer_event(peer: u32, sequence: u64, request: u32) -> Vec<u8> {
    let code = rpc_code::ANSWERED;
    rpc_event(peer, sequence, RpcMessage::Answer { request, code, payload: b"done" })
}

fn request_event(peer: u32, sequence: u64, request: u32, timeout_ms: u32) -> Vec<u8> {
    let message = RpcMessage::Request { request, timeout_ms, method: "open", payload: b"door" };
    rpc_event(peer, sequence, message)
}

fn result(script: &mut Script, number: RpcNumber) -> Option<RpcResult> {
    script.client.take_rpc_result(number)
}

fn waiting(script: &Script) -> (usize, usize) {
    script.client.waiting_rpcs(script.now)
}

/// Loses the session, and lets the client come back.
fn come_back(script: &mut Script, after: Duration, joined: &Joined) {
    script.close(Code::Internal);
    script.run(after);
    script.admit(joined);
}

fn requests(script: &mut Script) -> Vec<(RpcId, Duration)> {
    let events = script.events().into_iter();
    let read = |event| match event {
        RoomEvent::RpcRequest { id, from: PeerId(2), method, payload, timeout } => {
            assert_eq!((method.as_str(), &payload[..]), ("open", &b"door"[..]));
            Some((id, timeout))
        }
        _ => None,
    };
    events.filter_map(read).collect()
}

#[test]
fn a_request_goes_to_one_peer_and_its_answer_comes_back() {
    let mut script = Script::joined(&answer(&[1, 2, 3]));
    let events = script.open(stream::EVENTS);
    let number = ask(&mut script, 2, 5 * SECOND).unwrap();
    let on_wire = written(&mut script);
    let request = number_of(&on_wire);
    assert_eq!(on_wire, [Written::Request { to: 2, number: request, timeout_ms: 5_000 }]);
    script.push(events, &answer_event(3, 1, request));
    assert_eq!(result(&mut script, number), None, "another peer was asked");
    script.push(events, &answer_event(2, 2, request));
    script.push(events, &answer_event(2, 3, request));
    assert_eq!(result(&mut script, number), Some(Ok(b"done".to_vec())));
    assert_eq!(result(&mut script, number), None);
    assert_eq!((script.client.malformed_events(), script.events()), (1, vec![]));
}

#[test]
fn a_request_that_cannot_be_made_is_an_error() {
    let mut script = Script::new(SECOND);
    assert_eq!(ask(&mut script, 2, SECOND), Err(RpcError::UnknownPeer), "there is no roster");
    let mut script = Script::joined(&answer(&[1, 2]));
    assert_eq!(ask(&mut script, 1, SECOND), Err(RpcError::ToSelf));
    assert_eq!(ask(&mut script, 9, SECOND), Err(RpcError::UnknownPeer));
    assert_eq!(ask(&mut script, 2, Duration::ZERO), Err(RpcError::Timeout));
    let mut call = |method, payload: &[u8]| {
        let call = RpcCall { to: PeerId(2), method, payload, timeout: SECOND };
        script.client.rpc(script.now, &call)
    };
    assert_eq!(call("", b""), Err(RpcError::Method));
    // The session's largest event has 1,000 bytes: 10 of the head, and 4 of the method.
    let too_large = SendError::TooLarge { len: 1_001, limit: 1_000 };
    assert_eq!(call("grab", &[0; 987]), Err(RpcError::Send(too_large)));
    assert!(call("grab", &[0; 986]).is_ok());
    script.client.leave(script.now);
    assert_eq!(ask(&mut script, 2, SECOND), Err(RpcError::Closed));
}

/// A request survives a lost session. It then says how long its caller still waits.
#[test]
fn a_request_is_written_again_after_a_resume() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let number = ask(&mut script, 2, 20 * SECOND).unwrap();
    let forgotten = ask(&mut script, 2, 20 * SECOND).unwrap();
    let short = ask(&mut script, 2, 2 * SECOND).unwrap();
    let request = match written(&mut script)[..] {
        [Written::Request { number, .. }, ..] => number,
        _ => panic!("nothing was written"),
    };
    script.client.forget_rpc(forgotten);
    come_back(&mut script, 5 * SECOND, &Joined { resumed: RESUMED, ..answer(&[1, 2]) });
    let again = written(&mut script);
    let Written::Request { timeout_ms, .. } = again[0] else { panic!("{again:?}") };
    assert_eq!(again, [Written::Request { to: 2, number: request, timeout_ms }]);
    assert!((14_500..=15_000).contains(&timeout_ms), "{timeout_ms}");
    assert_eq!(result(&mut script, short), Some(Err(RpcError::TimedOut)));
    assert_eq!(script.client.unacknowledged(), 1, "the others are left out");
    // The server counts only what is written.
    script.send(&encode(&EventAck { events_taken: 1, bulk_taken: 0 }));
    let events = script.open(stream::EVENTS);
    script.push(events, &answer_event(2, 1, request));
    assert_eq!(result(&mut script, number), Some(Ok(b"done".to_vec())));
    assert_eq!(waiting(&script), (0, 0));
}

#[test]
fn a_new_peer_neither_waits_nor_answers() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let events = script.open(stream::EVENTS);
    script.push(events, &request_event(2, 1, 7, 60_000));
    script.push(events, &request_event(2, 2, 8, 60_000));
    let [(taken, _), _] = requests(&mut script)[..] else { panic!("two requests") };
    script.push(events, &request_event(2, 3, 9, 60_000));
    let number = ask(&mut script, 2, 60 * SECOND).unwrap();
    script.close(Code::Internal);
    let unwritten = ask(&mut script, 2, 60 * SECOND).unwrap();
    script.run(SECOND);
    written(&mut script);
    script.admit(&Joined { peer: 5, resumed: NEW_PEER, ..answer(&[2, 5]) });
    assert_eq!(result(&mut script, number), Some(Err(RpcError::Interrupted)));
    assert_eq!(result(&mut script, unwritten), Some(Err(RpcError::Interrupted)));
    assert_eq!(written(&mut script), []);
    let answered = script.client.answer_rpc(script.now, taken, Ok(b""));
    assert_eq!(answered, Err(AnswerError::NotWaiting));
    assert_eq!(requests(&mut script), [], "the one that was not taken has ended, too");
    assert_eq!((waiting(&script), script.client.unacknowledged()), ((0, 0), 0));
}

#[test]
fn requests_end_when_their_peer_leaves_or_the_room_closes() {
    let mut script = Script::joined(&answer(&[1, 2, 3]));
    let events = script.open(stream::EVENTS);
    let (to_leaver, to_other) = (ask(&mut script, 2, SECOND), ask(&mut script, 3, 9 * SECOND));
    script.push(events, &request_event(2, 1, 7, 60_000));
    let [(id, _)] = requests(&mut script)[..] else { panic!("one request") };
    let left = vec![PeerLeft { peer: 2, code: 0 }];
    script.send(&encode(&RosterUpdate { version: 5, left, ..RosterUpdate::default() }));
    assert_eq!(result(&mut script, to_leaver.unwrap()), Some(Err(RpcError::PeerLeft)));
    let answered = script.client.answer_rpc(script.now, id, Ok(b""));
    assert_eq!(answered, Err(AnswerError::NotWaiting));
    assert_eq!(ask(&mut script, 2, SECOND), Err(RpcError::UnknownPeer));
    // What comes from a peer that has left is ignored.
    script.push(events, &request_event(2, 2, 8, 60_000));
    assert_eq!((requests(&mut script), waiting(&script)), (vec![], (1, 0)));
    script.close(Code::Kicked);
    assert_eq!(result(&mut script, to_other.unwrap()), Some(Err(RpcError::Closed)));
    assert_eq!((waiting(&script), script.client.deadline()), ((0, 0), None));
}

#[test]
fn timeouts_pass_without_a_session() {
    let mut script = Script::joined(&answer(&[1, 2]));
    script.close(Code::Internal);
    let number = ask(&mut script, 2, 3 * SECOND).unwrap();
    script.run(Duration::from_millis(2_900));
    assert_eq!(result(&mut script, number), None);
    script.run(Duration::from_millis(200));
    assert_eq!(result(&mut script, number), Some(Err(RpcError::TimedOut)));
}

#[test]
fn a_request_of_a_peer_is_answered_once() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let events = script.open(stream::EVENTS);
    (1..=4u32).for_each(|n| {
        script.push(events, &request_event(2, n.into(), n, 5_000));
    });
    script.run(SECOND);
    let requests = requests(&mut script);
    assert!(requests.iter().all(|(_, timeout)| *timeout == 4 * SECOND), "{requests:?}");
    let mut give = |n: usize, answer: Result<&[u8], RpcFault>| {
        let answered =
            script.client.answer_rpc(script.now, requests[n].0, answer.as_ref().map(|b| *b));
        script.pump();
        answered
    };
    assert_eq!(give(0, Ok(b"opened")), Ok(()));
    assert_eq!(give(0, Ok(b"opened")), Err(AnswerError::NotWaiting));
    assert_eq!(give(1, Err(RpcFault::new(700, "jammed"))), Ok(()));
    assert_eq!(give(2, Err(RpcFault::new(255, ""))), Err(AnswerError::ReservedCode(255)));
    assert_eq!(give(2, Err(RpcFault::no_such_method())), Ok(()));
    let too_large = SendError::TooLarge { len: 1_007, limit: 1_000 };
    assert_eq!(give(3, Ok(&[0; 1_000])), Err(AnswerError::Send(too_large)));
    let answer = |number, code, payload: &[u8]| Written::Answer {
        to: 2,
        number,
        code,
        payload: payload.to_vec(),
    };
    let answers = [answer(1, 0, b"opened"), answer(2, 700, b"jammed"), answer(3, 1, b"")];
    assert_eq!(written(&mut script), answers);
    script.run(5 * SECOND);
    let late = script.client.answer_rpc(script.now, requests[3].0, Ok(b""));
    assert_eq!(late, Err(AnswerError::NotWaiting));
}

/// A request that the application takes too late is left out.
#[test]
fn a_request_whose_caller_no_longer_waits_is_not_returned() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let events = script.open(stream::EVENTS);
    script.push(events, &request_event(2, 1, 1, 1_000));
    script.push(events, &request_event(2, 2, 2, 9_000));
    script.run(SECOND);
    let left = requests(&mut script);
    assert!(matches!(left[..], [(_, timeout)] if timeout == 8 * SECOND), "{left:?}");
    assert_eq!(positions(&script), ([2, 0], false));
}

/// Resumes with the client's ticket in another process. Returns the positions that it names, and
/// whether it tells of a loss.
fn positions(script: &Script) -> ([u64; 2], bool) {
    let mut next = process(script.client.ticket(), 1);
    let join = next.admit(&Joined { resumed: RESUMED, ..answer(&[1, 2]) });
    let [RoomEvent::Resumed { missed_events }] = next.events()[..] else { panic!("no resume") };
    ([join.last_event, join.last_bulk], missed_events)
}

fn process(ticket: Option<ReturnTicket>, seed: u64) -> Script {
    let options = RoomJoin { ticket, ..options() };
    Script::with(options, ClientOptions::new(60 * SECOND, seed))
}

/// Events that the client handles by itself neither come again nor count as lost.
#[test]
fn answers_are_taken_in_the_ticket() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let events = script.open(stream::EVENTS);
    let number = ask(&mut script, 2, 60 * SECOND).unwrap();
    let request = number_of(&written(&mut script));
    script.push(events, &event(2, 1, 0, b"first".to_vec()));
    script.push(events, &answer_event(2, 2, request));
    assert_eq!(result(&mut script, number), Some(Ok(b"done".to_vec())), "it overtakes the event");
    assert_eq!(positions(&script), ([0, 0], false), "the event comes again");
    assert_eq!(script.events().len(), 1);
    assert_eq!(positions(&script), ([2, 0], false));
    script.push(events, &event(2, 3, TYPED_EVENT_CHANNEL, vec![]));
    script.push(events, &event(2, 4, 255, b"later".to_vec()));
    assert_eq!(positions(&script), ([4, 0], false));
    script.close(Code::Internal);
    script.run(SECOND);
    let join = script.admit(&Joined { resumed: RESUMED, ..answer(&[1, 2]) });
    assert_eq!((join.last_event, positions(&script)), (4, ([4, 0], false)));
    assert_eq!(script.client.malformed_events(), 1, "a typed event without a type");
}

/// The answers to an earlier process are not this one's.
#[test]
fn a_process_does_not_take_the_answers_to_an_earlier_one() {
    let mut numbers = Vec::new();
    for seed in 0..50 {
        let mut script = process(None, seed);
        script.admit(&answer(&[1, 2]));
        let number = ask(&mut script, 2, SECOND).unwrap();
        let events = script.open(stream::EVENTS);
        for (sequence, earlier) in (1..).zip(&numbers) {
            script.push(events, &answer_event(2, sequence, *earlier));
        }
        assert_eq!(result(&mut script, number), None);
        numbers.push(number_of(&written(&mut script)));
        assert_eq!(script.client.malformed_events(), 0, "a late answer is no fault");
    }
}

/// The first join of a process whose participant is gone: the numbers of events begin anew.
#[test]
fn a_new_peer_has_taken_nothing_of_the_earlier_one() {
    let mut earlier = Script::joined(&answer(&[1, 2]));
    let events = earlier.open(stream::EVENTS);
    earlier.push(events, &event(2, 900, 0, vec![]));
    assert_eq!(earlier.events().len(), 1);
    let mut script = process(earlier.client.ticket(), 1);
    let join = script.admit(&answer(&[1, 2]));
    assert_eq!(join.last_event, 900);
    assert_eq!(positions(&script), ([0, 0], false));
    let events = script.open(stream::EVENTS);
    script.push(events, &answer_event(2, 3, 1));
    assert_eq!(positions(&script), ([3, 0], false));
}

fn send_typed(script: &mut Script, event_type: &str, payload: &[u8]) -> Result<(), SendError> {
    let sent = script.client.send_typed_event(script.now, To::Others, event_type, payload);
    script.pump();
    sent
}

#[test]
fn typed_events_carry_their_type() {
    let mut script = Script::joined(&answer(&[1, 2]));
    assert_eq!(send_typed(&mut script, "door.opened", b"left"), Ok(()));
    let EventUp { target, channel, payload, .. } = owned(&script.lane(Lane::Events)[0]).unwrap();
    assert_eq!((target, channel), (TO_OTHERS, TYPED_EVENT_CHANNEL));
    let sent = TypedEvent { event_type: "door.opened", data: b"left" };
    assert_eq!(TypedEvent::parse(&payload), Some(sent));
    for event_type in ["", "a\nb", &"t".repeat(65)] {
        assert_eq!(send_typed(&mut script, event_type, b""), Err(SendError::EventType));
    }
    let too_large = SendError::TooLarge { len: 1_001, limit: 1_000 };
    assert_eq!(send_typed(&mut script, "t", &[0; 999]), Err(too_large));
    let events = script.open(stream::EVENTS);
    script.push(events, &event(2, 7, TYPED_EVENT_CHANNEL, payload));
    let (event_type, payload) = ("door.opened".to_owned(), b"left".to_vec());
    let expected = RoomEvent::TypedEvent { sequence: 7, from: PeerId(2), event_type, payload };
    assert_eq!(script.events(), [expected]);
    assert_eq!(positions(&script), ([7, 0], false));
    assert_eq!(
        script.client.send_event(script.now, To::All, TYPED_EVENT_CHANNEL, b""),
        Err(SendError::ReservedChannel(TYPED_EVENT_CHANNEL))
    );
}

/// On the bulk lane the channels have no meaning yet.
#[test]
fn the_bulk_lane_has_neither() {
    let mut script = Script::joined(&answer(&[1, 2]));
    let bulk = script.open(stream::BULK);
    for (sequence, piece) in [(1, 0), (2, PIECE_MORE)] {
        for channel in [RPC_CHANNEL, TYPED_EVENT_CHANNEL] {
            let mut payload = Vec::new();
            TypedEvent { event_type: "t", data: b"" }.encode(&mut payload);
            let peer = 2;
            let event = EventDown { peer, roster_version: 4, sequence, channel, piece, payload };
            script.push(bulk, &encode(&event));
        }
    }
    assert_eq!((script.events(), script.client.malformed_events()), (vec![], 0));
}

fn push_all(script: &mut Script, source: StreamSource, events: impl Iterator<Item = Vec<u8>>) {
    events.for_each(|event| assert!(script.push(source, &event), "the session is not read"));
}

/// A hostile peer sends garbage, answers that nobody asked for, and more requests than there may
/// be. The others are still answered, and nothing piles up.
#[test]
fn a_hostile_peer_costs_little() {
    let mut script = Script::joined(&answer(&[1, 2, 3]));
    let events = script.open(stream::EVENTS);
    let number = ask(&mut script, 3, 60 * SECOND).unwrap();
    let request = number_of(&written(&mut script));
    let garbage = |n: u64| {
        let payload = vec![n as u8; (n % 40) as usize];
        event(2, n, if n.is_multiple_of(2) { RPC_CHANNEL } else { TYPED_EVENT_CHANNEL }, payload)
    };
    // The type of a typed event may be any plain text, so choose lengths that are none.
    push_all(&mut script, events, (100..200).map(garbage));
    assert_eq!((script.events(), script.client.malformed_events()), (vec![], 100));
    push_all(&mut script, events, (0..1_000).map(|n| answer_event(2, 200 + n, n as u32)));
    push_all(&mut script, events, [answer_event(2, 1_200, request)].into_iter());
    assert_eq!(result(&mut script, number), None);
    // The session is not behind, whatever one peer asks.
    push_all(
        &mut script,
        events,
        (0..10_000).map(|n| request_event(2, 2_000 + n, n as u32, 60_000)),
    );
    assert_eq!(waiting(&script), (1, 32));
    let busy = written(&mut script);
    assert_eq!(busy.len(), 32, "busy answers are bounded");
    assert!(
        busy.iter()
            .all(|answer| matches!(answer, Written::Answer { to: 2, code: rpc_code::BUSY, .. }))
    );
    push_all(&mut script, events, [request_event(3, 20_000, 1, 60_000)].into_iter());
    assert_eq!(waiting(&script), (1, 33), "another peer is heard");
    script.push(events, &answer_event(3, 20_001, request));
    assert_eq!(result(&mut script, number), Some(Ok(b"done".to_vec())));
    assert_eq!(script.events().len(), 33);
}
