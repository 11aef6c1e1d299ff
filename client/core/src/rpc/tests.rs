use super::*;
use crate::session::SendError;

const PEER: PeerId = PeerId(2);
const OTHER: PeerId = PeerId(3);
const SECOND: Duration = Duration::from_secs(1);

fn at(second: u64) -> Time {
    Time::from_millis(second * 1_000)
}

fn call(method: &str, timeout: Duration) -> RpcCall<'_> {
    RpcCall { to: PEER, method, payload: b"cup", timeout }
}

/// Starts a request, and returns its number as it is on the wire, too.
fn start(rpcs: &mut Rpcs, now: Time, timeout: Duration) -> (RpcNumber, Vec<u8>) {
    let call = call("grab", timeout);
    assert_eq!(rpcs.check(&call), Ok(()));
    rpcs.start(now, &call)
}

fn answer_to(number: RpcNumber, code: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    RpcMessage::Answer { request: number.0, code, payload }.encode(&mut out);
    out
}

fn request_of(number: u32, timeout_ms: u32) -> Vec<u8> {
    let mut out = Vec::new();
    RpcMessage::Request { request: number, timeout_ms, method: "grab", payload: b"cup" }
        .encode(&mut out);
    out
}

/// Handles an event of a peer. Each peer is one of a user of its own.
fn receive(rpcs: &mut Rpcs, now: Time, from: PeerId, payload: &[u8]) -> RpcArrival {
    rpcs.receive(now, (from, &from.to_string()), payload)
}

fn admitted(arrival: RpcArrival) -> RpcId {
    let RpcArrival::Request { id, method, payload } = arrival else {
        panic!("{arrival:?} is no request for the application");
    };
    assert_eq!((method.as_str(), &payload[..]), ("grab", &b"cup"[..]));
    id
}

#[test]
fn an_answer_ends_its_request_once() {
    let mut rpcs = Rpcs::new(1);
    let cases: [(u16, &[u8], RpcResult); 5] = [
        (0, b"yes", Ok(b"yes".to_vec())),
        (1, b"", Err(RpcError::NoSuchMethod)),
        (2, b"", Err(RpcError::Busy)),
        (77, b"later", Err(RpcError::Fault(RpcFault::new(77, "later")))),
        (256, b"no \xff", Err(RpcError::Fault(RpcFault::new(256, "no \u{fffd}")))),
    ];
    for (code, payload, result) in cases {
        let (number, _) = start(&mut rpcs, at(0), SECOND);
        let answer = answer_to(number, code, payload);
        assert_eq!(receive(&mut rpcs, at(0), PEER, &answer), RpcArrival::Nothing);
        assert_eq!(receive(&mut rpcs, at(0), PEER, &answer), RpcArrival::Nothing, "again");
        assert_eq!(rpcs.take(number), Some(result));
        assert_eq!(rpcs.take(number), None);
    }
    assert_eq!((rpcs.malformed(), rpcs.deadline()), (0, None));
}

#[test]
fn an_answer_of_another_peer_is_malformed() {
    let mut rpcs = Rpcs::new(1);
    let (number, _) = start(&mut rpcs, at(0), SECOND);
    let answer = answer_to(number, 0, b"mine");
    assert_eq!(receive(&mut rpcs, at(0), OTHER, &answer), RpcArrival::Nothing);
    assert_eq!((rpcs.take(number), rpcs.malformed()), (None, 1));
    receive(&mut rpcs, at(0), PEER, &answer);
    assert_eq!(rpcs.take(number), Some(Ok(b"mine".to_vec())));
}

#[test]
fn requests_end_by_time_departure_and_a_new_peer() {
    let mut rpcs = Rpcs::new(1);
    let (short, _) = start(&mut rpcs, at(0), SECOND);
    let (long, _) = start(&mut rpcs, at(0), 9 * SECOND);
    assert_eq!(rpcs.deadline(), Some(at(1)));
    rpcs.handle_timeout(at(1));
    assert_eq!((rpcs.take(short), rpcs.take(long)), (Some(Err(RpcError::TimedOut)), None));
    assert_eq!(rpcs.deadline(), Some(at(9)));
    rpcs.peer_left(OTHER);
    assert_eq!(rpcs.take(long), None);
    rpcs.peer_left(PEER);
    assert_eq!(rpcs.take(long), Some(Err(RpcError::PeerLeft)));
    let (last, _) = start(&mut rpcs, at(9), SECOND);
    let id = admitted(receive(&mut rpcs, at(9), PEER, &request_of(1, 5_000)));
    rpcs.end_all(&RpcError::Interrupted);
    assert_eq!(rpcs.take(last), Some(Err(RpcError::Interrupted)));
    assert_eq!(rpcs.answer(at(9), id, Ok(b"late")), Err(AnswerError::NotWaiting));
    assert_eq!((rpcs.waiting(at(9)), rpcs.deadline()), ((0, 0), None));
}

#[test]
fn a_forgotten_request_leaves_nothing_and_frees_its_place() {
    let mut rpcs = Rpcs::new(1);
    let numbers: Vec<_> = (0..64).map(|_| start(&mut rpcs, at(0), SECOND).0).collect();
    assert_eq!(rpcs.check(&call("grab", SECOND)), Err(RpcError::TooMany));
    receive(&mut rpcs, at(0), PEER, &answer_to(numbers[1], 0, b""));
    assert_eq!(rpcs.check(&call("grab", SECOND)), Err(RpcError::TooMany), "a result waits, too");
    rpcs.forget(numbers[0]);
    rpcs.forget(numbers[1]);
    assert_eq!(rpcs.check(&call("grab", SECOND)), Ok(()));
    assert_eq!(rpcs.waiting(at(0)), (62, 0));
    receive(&mut rpcs, at(0), PEER, &answer_to(numbers[0], 0, b"late"));
    assert_eq!((rpcs.take(numbers[0]), rpcs.take(numbers[1])), (None, None));
}

#[test]
fn a_request_that_cannot_be_made_is_refused() {
    let rpcs = Rpcs::new(1);
    let too_long = "m".repeat(65);
    for method in ["", "a\n", &too_long] {
        assert_eq!(rpcs.check(&call(method, SECOND)), Err(RpcError::Method), "{method:?}");
    }
    let least = Duration::from_nanos(1_000);
    for (timeout, checked) in [
        (Duration::ZERO, Err(RpcError::Timeout)),
        (least, Ok(())),
        (60 * SECOND, Ok(())),
        (60 * SECOND + least, Err(RpcError::Timeout)),
        (Duration::MAX, Err(RpcError::Timeout)),
    ] {
        assert_eq!(rpcs.check(&call("grab", timeout)), checked, "{timeout:?}");
    }
}

#[test]
fn a_request_says_how_long_its_caller_still_waits() {
    let mut rpcs = Rpcs::new(1);
    let (number, payload) = start(&mut rpcs, at(0), 5 * SECOND);
    let timeout = |payload: &[u8]| match RpcMessage::parse(payload) {
        Some(RpcMessage::Request { request, timeout_ms, method: "grab", payload: b"cup" }) => {
            assert_eq!(request, number.0);
            timeout_ms
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(timeout(&payload), 5_000);
    let late = at(4) + Duration::from_micros(999_999);
    assert_eq!(rpcs.refresh(at(3), &payload).map(|payload| timeout(&payload)), Some(2_000));
    assert_eq!(rpcs.refresh(late, &payload).map(|payload| timeout(&payload)), Some(1));
    assert_eq!(rpcs.refresh(at(5), &payload), None);
    let answer = answer_to(number, 0, b"");
    assert_eq!(rpcs.refresh(at(5), &answer).as_deref(), Some(&answer[..]));
    let too_large = SendError::TooLarge { len: 2, limit: 1 };
    rpcs.fail(&payload, too_large.into());
    assert_eq!(rpcs.take(number), Some(Err(RpcError::Send(too_large))));
}

#[test]
fn a_request_is_answered_once_and_in_time() {
    let mut rpcs = Rpcs::new(1);
    let id = admitted(receive(&mut rpcs, at(0), PEER, &request_of(9, 5_000)));
    assert_eq!(rpcs.time_left(at(2), id), Some(3 * SECOND));
    for code in [0, 3, 255] {
        let refused = rpcs.answer(at(1), id, Err(&RpcFault::new(code, "")));
        assert_eq!(refused, Err(AnswerError::ReservedCode(code)));
    }
    let (to, payload) = rpcs.answer(at(1), id, Err(&RpcFault::new(256, "no cup"))).unwrap();
    let sent = RpcMessage::Answer { request: 9, code: 256, payload: b"no cup" };
    assert_eq!((to, RpcMessage::parse(&payload)), (PEER, Some(sent)));
    let long = RpcFault::new(256, "\u{fc}".repeat(1_000));
    let (_, payload) = rpcs.answer(at(1), id, Err(&long)).unwrap();
    assert!(matches!(
        RpcMessage::parse(&payload),
        Some(RpcMessage::Answer { payload, .. }) if payload == "\u{fc}".repeat(512).as_bytes()
    ));
    rpcs.answered(id);
    assert_eq!(rpcs.answer(at(1), id, Ok(b"")), Err(AnswerError::NotWaiting), "answered");
    let late = admitted(receive(&mut rpcs, at(0), PEER, &request_of(10, 5_000)));
    assert_eq!(rpcs.answer(at(5), late, Ok(b"")), Err(AnswerError::NotWaiting), "too late");
    assert_eq!(rpcs.answer(at(0), RpcId(99), Ok(b"")), Err(AnswerError::NotWaiting));
}

#[test]
fn a_number_may_be_used_again_and_an_old_id_does_not_answer_it() {
    let mut rpcs = Rpcs::new(1);
    let old = admitted(receive(&mut rpcs, at(0), PEER, &request_of(9, 1_000)));
    assert_eq!(receive(&mut rpcs, at(0), PEER, &request_of(9, 1_000)), RpcArrival::Nothing);
    assert_eq!(rpcs.malformed(), 1, "the number waits");
    let of_other = admitted(receive(&mut rpcs, at(0), OTHER, &request_of(9, 1_000)));
    let new = admitted(receive(&mut rpcs, at(1), PEER, &request_of(9, 1_000)));
    assert!(old != new && old != of_other && new != of_other);
    assert_eq!(rpcs.answer(at(1), old, Ok(b"")), Err(AnswerError::NotWaiting));
    assert!(rpcs.answer(at(1), new, Ok(b"")).is_ok());
}

#[test]
fn one_peer_cannot_keep_others_from_asking() {
    let mut rpcs = Rpcs::new(1);
    let busy = |arrival| match arrival {
        RpcArrival::Answer(payload) => matches!(
            RpcMessage::parse(&payload),
            Some(RpcMessage::Answer { code: rpc_code::BUSY, payload: b"", .. })
        ),
        _ => false,
    };
    for peer in 1..=8 {
        for number in 0..32 {
            admitted(receive(&mut rpcs, at(0), PeerId(peer), &request_of(number, 5_000)));
        }
        assert!(busy(receive(&mut rpcs, at(0), PeerId(peer), &request_of(32, 5_000))), "{peer}");
    }
    assert_eq!(rpcs.waiting(at(0)), (0, 256));
    assert!(
        busy(receive(&mut rpcs, at(0), PeerId(9), &request_of(1, 5_000))),
        "all places are taken"
    );
    rpcs.peer_left(PeerId(3));
    admitted(receive(&mut rpcs, at(0), PeerId(9), &request_of(1, 5_000)));
    assert_eq!(rpcs.waiting(at(4)), (0, 225));
    assert_eq!(rpcs.waiting(at(5)), (0, 0), "the timeouts have passed");
    admitted(receive(&mut rpcs, at(5), PeerId(1), &request_of(1, 5_000)));
}

/// What a peer asks without end does not use up the events that this client may send.
#[test]
fn busy_answers_are_few() {
    let mut rpcs = Rpcs::new(1);
    let mut flood = |now| {
        let asked =
            (0..10_000).map(|number| receive(&mut rpcs, now, PEER, &request_of(number, 60_000)));
        asked.filter(|arrival| matches!(arrival, RpcArrival::Answer(_))).count()
    };
    assert_eq!([flood(at(1)), flood(at(1)), flood(at(2)), flood(at(9))], [32, 0, 8, 32]);
}

/// An application may answer at once, for example that there is no such method.
#[test]
fn a_user_asks_only_so_often_with_however_many_peers() {
    let mut rpcs = Rpcs::new(1);
    let mut ask = |now, user: &str| {
        let mut admitted = 0;
        for number in 0..1_000 {
            let from = PeerId(1 + number % 10);
            let arrival = rpcs.receive(now, (from, user), &request_of(number, 60_000));
            if let RpcArrival::Request { id, .. } = arrival {
                rpcs.answered(id);
                admitted += 1;
            }
        }
        admitted
    };
    assert_eq!([ask(at(1), "eve"), ask(at(1), "eve"), ask(at(2), "eve")], [128, 0, 32]);
    assert_eq!(ask(at(2), "ada"), 128);
    // What is known of users is bounded, too.
    for user in 0..5_000 {
        let who = user.to_string();
        rpcs.receive(at(9), (PeerId(user), &who), &request_of(1, 1));
    }
    let known = admitted(rpcs.receive(at(13), (PeerId(7), "late"), &request_of(1, 1_000)));
    rpcs.answered(known);
}

/// Numbers wrap, and leave out one that still waits. Processes start at different numbers.
#[test]
fn numbers_wrap() {
    let mut rpcs = Rpcs { outgoing: OutgoingRpcs::new(u32::MAX - 1), ..Rpcs::new(1) };
    let numbers: Vec<_> = (0..4).map(|_| start(&mut rpcs, at(0), SECOND).0.0).collect();
    assert_eq!(numbers, [u32::MAX - 1, u32::MAX, 0, 1]);
    let firsts: std::collections::BTreeSet<u32> =
        (0..1_000).map(|seed| start(&mut Rpcs::new(seed), at(0), SECOND).0.0).collect();
    assert_eq!(firsts.len(), 1_000);
    let mut at_start = Rpcs { outgoing: OutgoingRpcs::new(7), ..Rpcs::new(1) };
    let (first, _) = start(&mut at_start, at(0), SECOND);
    at_start.outgoing.start_again_at(7);
    assert_ne!(start(&mut at_start, at(0), SECOND).0, first, "the first one waits");
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut rpcs = Rpcs::new(1);
    let garbage: [&[u8]; 6] = [b"", b"\x00", b"\x01", b"\x03\0\0\0\0", &[1; 9], &[2; 6]];
    for payload in garbage {
        assert_eq!(receive(&mut rpcs, at(0), PEER, payload), RpcArrival::Nothing);
    }
    assert_eq!((rpcs.malformed(), rpcs.waiting(at(0))), (6, (0, 0)));
}
