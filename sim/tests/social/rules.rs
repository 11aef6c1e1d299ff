//! Tests of the rules of calls.

use nucleus_core::ids::{DeviceId, RequestId};
use nucleus_core::social::{CallAct, CallSeed, DeviceRequest, EnterRequest, SocialInput};
use nucleus_protocol::session::{Code, status};
use nucleus_sim::social::SocialWorld as World;

const DECLINED: &str = "73";

#[test]
fn the_first_to_take_it_has_the_call() {
    let mut world = World::new();
    let [a, b, b2, c] = ["a", "b", "b", "c"].map(|user| world.enter(user));
    world.take_messages();
    let call = world.start(a, &["b", "c", "nobody"]);
    let mut messages = world.take_messages();
    assert_eq!(messages.remove(&a).unwrap(), [format!("reply 0 {call}")]);
    for rung in [b, b2, c] {
        assert_eq!(messages.remove(&rung).unwrap(), ["incoming a 0 a why"]);
    }
    world.act(b, CallAct::Accept(call));
    let mut messages = world.take_messages();
    // The reply comes before the effects of the action.
    assert_eq!(
        messages.remove(&b).unwrap(),
        [format!("reply 0 {call}"), "accepted room 0 a+b".into()]
    );
    assert_eq!(messages.remove(&b2).unwrap(), ["ringing_ended 75", "accepted room 0 a+b"]);
    assert_eq!(messages.remove(&c).unwrap(), ["ringing_ended 75"]);
    assert_eq!(messages.remove(&a).unwrap(), ["accepted room 0 a+b"]);
    for (late, code) in [(b2, 75), (c, 61), (a, 75)] {
        world.act(late, CallAct::Accept(call));
        assert_eq!(world.messages_of(late), [format!("reply {code} 0")]);
    }
    assert_eq!(world.log.invited, ["a", "b"]);
    world.act(b2, CallAct::HangUp(call));
    let mut messages = world.take_messages();
    assert_eq!(messages.remove(&b2).unwrap(), [format!("reply 0 {call}")]);
    assert_eq!(messages.remove(&b).unwrap(), ["ended 0"]);
    assert_eq!(messages.remove(&a).unwrap(), ["ended 0"]);
    assert!(world.log.invited.is_empty() && world.log.audits == 0 && world.log.calls.is_empty());
}

#[test]
fn who_cannot_be_called_is_passed_over() {
    let mut world = World::new();
    let [a, b, c] = ["a", "b", "c"].map(|user| world.enter(user));
    world.enter_as("d", "", status::BUSY);
    for (users, code) in [(&["x"][..], 71), (&["x", "d"], 70), (&["a", "b"], 63)] {
        world.take_messages();
        world.start(a, users);
        assert_eq!(world.messages_of(a), [format!("reply {code} 0")], "{users:?}");
    }
    let call = world.start(a, &["d", "b"]);
    world.start(c, &["b"]);
    assert_eq!(world.messages_of(c).last().unwrap(), "reply 70 0", "a called user is busy");
    world.start(a, &["c"]);
    assert_eq!(world.messages_of(a).last().unwrap(), "reply 70 0", "a user is in at most one call");
    world.act(b, CallAct::Reject(call));
    assert_eq!(world.messages_of(a), [format!("ended {DECLINED}")]);
    world.start(a, &["c"]);
    assert_eq!(world.messages_of(c), ["incoming a 0 a why"]);
}

#[test]
fn a_tenant_has_so_many_calls() {
    let mut world = World::new();
    let devices = ["a", "b", "c", "d", "e", "f"].map(|user| world.enter(user));
    world.start(devices[0], &["b"]);
    world.start(devices[2], &["d"]);
    world.take_messages();
    world.start(devices[4], &["f"]);
    assert_eq!(world.messages_of(devices[4]), ["reply 38 0"]);
}

#[test]
fn a_call_rings_for_its_time_and_no_longer() {
    let mut world = World::new();
    let [a, b, c] = ["a", "b", "c"].map(|user| world.enter(user));
    let call = world.start(a, &["b", "c"]);
    world.wait(10_000);
    world.take_messages();
    world.act(c, CallAct::Reject(call));
    assert_eq!(world.messages_of(a), ["passed c 73"], "b is still called");
    world.wait(19_999);
    assert!(world.take_messages().is_empty());
    world.wait(1);
    let messages = world.take_messages();
    assert_eq!(
        (&messages[&a][..], &messages[&b][..]),
        (&["ended 72".into()][..], &["ringing_ended 72".into()][..])
    );
    let call = world.start(a, &["b"]);
    world.take_messages();
    world.act(a, CallAct::Cancel(call));
    assert_eq!(world.messages_of(b), ["ringing_ended 74"]);
    world.act(b, CallAct::Accept(call));
    assert_eq!(world.messages_of(b), ["reply 61 0"], "too late");
}

#[test]
fn two_who_call_each_other_are_connected() {
    let mut world = World::new();
    let [a, b, c] = ["a", "b", "c"].map(|user| world.enter(user));
    world.take_messages();
    let call = world.start(a, &["b"]);
    world.start(b, &["a"]);
    let mut messages = world.take_messages();
    assert_eq!(
        messages.remove(&a).unwrap(),
        [format!("reply 0 {call}"), "accepted room 0 a+b".into()]
    );
    let of_b =
        ["incoming a 0 a why".into(), format!("reply 0 {call}"), "accepted room 0 a+b".into()];
    assert_eq!(messages.remove(&b).unwrap(), of_b);
    world.act(a, CallAct::HangUp(call));
    // Calls in a circle: a calls b, b calls c, and c calls a. Only the first call rings; the other
    // two callers are told that the user is busy.
    world.take_messages();
    let call = world.start(a, &["b"]);
    world.start(b, &["c"]);
    world.start(c, &["a"]);
    assert_eq!(world.messages_of(c), ["reply 70 0"]);
    world.act(b, CallAct::Accept(call));
    assert_eq!(world.messages_of(a), ["accepted room 0 a+b"]);
}

/// Returns how many of 30 calls of `a` to `b` are taken at this moment.
fn calls_taken(world: &mut World, a: DeviceId) -> usize {
    let mut taken = 0;
    for _ in 0..30 {
        world.take_messages();
        let call = world.start(a, &["b"]);
        world.act(a, CallAct::Cancel(call));
        taken += usize::from(world.messages_of(a)[0].starts_with("reply 0"));
    }
    taken
}

#[test]
fn a_new_session_gives_no_new_calls() {
    let mut world = World::new();
    let [mut a, _b] = ["a", "b"].map(|user| world.enter(user));
    let mut taken = 0;
    for _ in 0..10 {
        taken += calls_taken(&mut world, a);
        world.leave(a);
        a = world.enter("a");
    }
    assert_eq!(taken, 20, "calls started at one moment");
    world.wait(3_000);
    assert_eq!(calls_taken(&mut world, a), 3, "one a second comes back");
}

#[test]
fn who_calls_his_caller_is_connected_even_without_calls_left() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|user| world.enter(user));
    assert_eq!(calls_taken(&mut world, a), 20);
    let call = world.start(b, &["a"]);
    world.take_messages();
    world.start(a, &["b"]);
    let of_a = world.messages_of(a);
    assert_eq!(of_a, [format!("reply 0 {call}"), "accepted room 0 a+b".into()]);
}

#[test]
fn a_third_party_is_called_into_the_call() {
    let mut world = World::new();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|user| world.enter(user));
    let call = world.start(a, &["b"]);
    world.act(a, CallAct::Add(call, "c".into()));
    assert_eq!(world.messages_of(a).last().unwrap(), "reply 61 0", "the call still rings");
    world.act(b, CallAct::Accept(call));
    world.act(c, CallAct::Add(call, "d".into()));
    assert_eq!(world.messages_of(c).last().unwrap(), "reply 61 0", "not a member");
    world.act(b, CallAct::Add(call, "c".into()));
    world.act(a, CallAct::Add(call, "d".into()));
    let messages = world.take_messages();
    assert_eq!(messages[&c], ["incoming b 0 a+b why"]);
    world.act(d, CallAct::Reject(call));
    assert_eq!(world.messages_of(a), ["passed d 73"]);
    world.act(c, CallAct::Accept(call));
    let messages = world.take_messages();
    assert_eq!(messages[&c], [format!("reply 0 {call}"), "accepted room 0 a+b+c".into()]);
    assert_eq!(
        (&messages[&a], &messages[&b]),
        (&vec!["joined c 0".into()], &vec!["joined c 0".into()])
    );
    assert_eq!(world.log.invited, ["a", "b", "c"]);
    world.act(a, CallAct::HangUp(call));
    assert_eq!(world.messages_of(b), ["left a 0"]);
    assert_eq!(world.log.invited, ["b", "c"]);
    // The call goes on while its last member calls a user, and ends when that member leaves.
    world.act(b, CallAct::Add(call, "a".into()));
    world.act(c, CallAct::HangUp(call));
    assert_eq!(world.messages_of(b).last().unwrap(), "left c 0");
    world.act(b, CallAct::HangUp(call));
    assert_eq!(world.messages_of(a).last().unwrap(), "ringing_ended 74");
    assert_eq!(world.log.audits, 0);
}

#[test]
fn a_call_takes_so_many() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|user| world.enter(user));
    let call = world.start(a, &["b"]);
    world.act(b, CallAct::Accept(call));
    for n in 2..=nucleus_protocol::limits::MAX_CALL_USERS {
        world.enter(&n.to_string());
        world.take_messages();
        world.act(a, CallAct::Add(call, n.to_string()));
    }
    assert_eq!(world.messages_of(a), ["reply 22 0"]);
}

#[test]
fn who_loses_his_last_session_has_a_while() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|user| world.enter(user));
    world.start(a, &["b"]);
    world.take_messages();
    world.lose(b);
    world.wait(4_999);
    let b = world.enter("b");
    assert!(
        world.messages_of(b).contains(&"incoming a 0 a why".into()),
        "b returned within the grace period, so its new device rings"
    );
    world.lose(b);
    world.wait(5_000);
    assert_eq!(world.messages_of(a), ["ended 71"]);
    let b = world.enter("b");
    let call = world.start(a, &["b"]);
    world.take_messages();
    world.lose(a);
    world.wait(5_000);
    assert_eq!(world.messages_of(b), ["ringing_ended 74"], "the caller is gone");
    let a = world.enter("a");
    let second = world.start(a, &["b"]);
    assert_ne!(call, second);
    world.lose(a);
    world.wait(4_000);
    world.act(b, CallAct::Accept(second));
    world.wait(25_999);
    world.take_messages();
    let a = world.enter("a");
    assert_eq!(world.messages_of(a), [format!("entered {second}"), "accepted room 0 a+b".into()]);
    world.lose(a);
    world.wait(30_000);
    assert_eq!(world.messages_of(b), ["ended 42"]);
    assert_eq!(world.log.audits, 0);
}

#[test]
fn a_call_ends_with_its_room_and_without_one() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|user| world.enter(user));
    world.log.no_rooms = true;
    let call = world.start(a, &["b"]);
    world.take_messages();
    world.act(b, CallAct::Accept(call));
    assert_eq!(world.messages_of(a), ["ended 30"]);
    world.log.no_rooms = false;
    let call = world.start(a, &["b"]);
    world.act(b, CallAct::Accept(call));
    world.take_messages();
    world.post(SocialInput::RoomOver(call));
    let messages = world.take_messages();
    assert_eq!((&messages[&a], &messages[&b]), (&vec!["ended 0".into()], &vec!["ended 0".into()]));
}

#[test]
fn what_breaks_the_limits_is_refused_and_the_end_tells_everybody() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|user| world.enter(user));
    world.take_messages();
    world.ask(a, DeviceRequest::Call(9, None, CallSeed { call: 1, room: 1 }));
    assert_eq!(world.messages_of(a), ["reply 63 0"]);
    world.start(a, &["b"]);
    world.take_messages();
    // The machine takes this request while it shuts down.
    let late = EnterRequest { user: "c".into(), name: "C".into(), role: String::new(), status: 1 };
    let (request, enter) = (RequestId(u64::MAX), late);
    let input = SocialInput::Enter { request, enter };
    world.post_together([SocialInput::Shutdown(Code::ShuttingDown), input]);
    let messages = world.take_messages();
    assert_eq!(messages[&a], ["ended 31", "closed shutting_down"]);
    assert_eq!(messages[&b], ["ringing_ended 74", "closed shutting_down"]);
    assert!(world.is_over());
    assert_eq!(world.reply(request), Some(Err(Code::ShuttingDown)));
}

#[test]
fn who_starts_calls_without_end_is_refused() {
    let mut world = World::new();
    let [a, _b] = ["a", "b"].map(|user| world.enter(user));
    let try_it = |world: &mut World| {
        let call = world.start(a, &["b"]);
        world.act(a, CallAct::Cancel(call));
        world.messages_of(a).concat().starts_with("reply 0")
    };
    world.take_messages();
    let mut taken = || (0..50).filter(|_| try_it(&mut world)).count();
    assert_eq!(taken(), 20);
    world.wait(1_000);
    assert!(try_it(&mut world) && !try_it(&mut world));
}

#[test]
fn the_history_names_members_and_those_who_missed_a_call() {
    let mut world = World::new();
    let [ada, ben, _cleo] = ["ada", "ben", "cleo"].map(|user| world.enter(user));
    let call = world.start(ada, &["ben", "cleo"]);
    world.wait(4_000);
    world.post(SocialInput::Calls(RequestId(1)));
    let listed = world.log.listed.pop().unwrap();
    assert_eq!((listed.caller.as_str(), listed.talking), ("ada", None));
    assert_eq!(listed.ringing, ["ben", "cleo"]);
    world.act(ben, CallAct::Accept(call));
    world.wait(6_000);
    world.post(SocialInput::Calls(RequestId(2)));
    let listed = world.log.listed.pop().unwrap();
    assert_eq!(listed.talking, Some(std::time::Duration::from_secs(6)));
    assert_eq!((listed.members.len(), listed.ringing.len()), (2, 0));
    world.act(ben, CallAct::HangUp(call));
    let totals = &world.log.ended[&call];
    assert_eq!(totals.lasted, std::time::Duration::from_secs(10));
    assert_eq!(totals.talked, Some(std::time::Duration::from_secs(6)));
    assert_eq!(
        (totals.members.join(","), totals.missed.join(",")),
        ("ada,ben".into(), "cleo".into())
    );
    assert!(world.log.calls.is_empty());
}

/// For the users, a call that an operator ends is one whose room is over.
#[test]
fn an_operator_ends_a_call_for_everybody() {
    let mut world = World::new();
    let [ada, ben, _cleo] = ["ada", "ben", "cleo"].map(|user| world.enter(user));
    for accepted in [false, true] {
        let call = world.start(ada, &["ben", "cleo"]);
        if accepted {
            world.act(ben, CallAct::Accept(call));
        }
        world.take_messages();
        world.post(SocialInput::EndCall(RequestId(1), call));
        let ended = std::mem::take(&mut world.log.listed);
        assert_eq!(ended.iter().map(|ended| ended.call).collect::<Vec<_>>(), [call]);
        assert!(world.log.ended.contains_key(&call) && world.log.calls.is_empty());
        let told = world.take_messages();
        assert!(told.contains_key(&ada) && told.contains_key(&ben), "{told:?}");
        world.post(SocialInput::EndCall(RequestId(2), call));
        assert!(world.log.listed.is_empty(), "there is no such call any more");
        world.take_messages();
        // Nobody is busy.
        let next = world.start(ben, &["ada"]);
        world.act(ben, CallAct::Cancel(next));
    }
}
