//! Lost sessions.

use std::time::Duration;

use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::{RenewError, RoomOutput};
use nucleus_client_core::session::{
    ClientOptions, ConnectionEnd, DrivenClient, JoinError, ReturnTicket, SessionInput,
};
use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::ids::PeerId;
use nucleus_protocol::session::{
    Code, EventDown, Joined, Moderate, NEW_PEER, RESUMED, RESUMED_WITH_LOSS, Renewed, Schema,
    SessionSetting, Subscribe, act, encode, owned, stream,
};

use super::support::{Script, answer, options};

fn lost(patience: Duration) -> Script {
    let mut script = Script::new(patience);
    script.admit(&answer(&[1]));
    script.close(Code::Internal);
    assert!(matches!(
        script.events()[..],
        [RoomEvent::Interrupted { code: Some(Code::Internal), .. }]
    ));
    script
}

#[test]
fn patience_bounds_what_the_server_asks_for() {
    let mut script = lost(Duration::from_secs(6));
    script.run(Duration::from_secs(1));
    script.accept();
    script.refuse(Code::ServerFull, 15_000);
    let events = script.events();
    assert!(
        matches!(events[..], [RoomEvent::Closed { code: Some(Code::ServerFull), .. }]),
        "{events:?}"
    );
}

/// Whatever the network does, the client closes when its patience ends.
#[test]
fn patience_bounds_everything() {
    type Fail = fn(&mut Script);
    let fails: [Fail; 3] = [
        // Nothing answers.
        |_| {},
        // There is no connection.
        |script| {
            if script.connects.pop_front().is_some() {
                let server = ([192, 0, 2, 1], 1).into();
                script.handle(SessionInput::NotConnected(JoinError::TimedOut { server }));
            }
        },
        // The connection stands, and nothing follows.
        |script| {
            if !script.connects.is_empty() {
                script.accept();
            }
        },
    ];
    for fail in fails {
        for patience_s in [1, 5, 30, 300] {
            let mut script = lost(Duration::from_secs(patience_s));
            let begun = script.now;
            while !script.client.session().is_closed() {
                fail(&mut script);
                script.run(Duration::from_millis(10));
            }
            let took = script.now.since(begun);
            let patience = Duration::from_secs(patience_s);
            assert!(took <= patience + Duration::from_millis(20), "{took:?} of {patience:?}");
            assert!(took + Duration::from_secs(6) >= patience, "{took:?} of {patience:?}");
        }
    }
}

/// A night without a network: the client keeps trying, at its pace, and comes back.
#[test]
fn a_night_without_a_network() {
    let mut script = lost(Duration::from_secs(86_400));
    for _ in 0..8 * 3_600 {
        if script.connects.pop_front().is_some() {
            let server = "server:5055".to_owned();
            let error = JoinError::NoAddress { server, reason: "no name service".to_owned() };
            script.handle(SessionInput::NotConnected(error));
        }
        script.run(Duration::from_secs(1));
    }
    while script.connects.is_empty() {
        script.run(Duration::from_millis(100));
    }
    script.admit(&Joined { resumed: NEW_PEER, peer: 5, ..answer(&[5]) });
    assert_eq!(script.events()[0], RoomEvent::Rejoined { me: PeerId(5) });
}

#[test]
fn what_the_application_desired_meanwhile_is_told_when_it_is_back() {
    let mut script = lost(Duration::from_secs(60));
    let groups: GroupSet = [Group::new(3).unwrap()].into_iter().collect();
    let (now, client) = (script.now, &mut script.client);
    let older = client.set_muted(now, false);
    let newer = client.set_muted(now, true);
    let subscribed = client.subscribe(now, groups);
    for setting in [older, newer] {
        assert_eq!(client.muted_outcome(setting), Some(Ok(())), "no error: it is told later");
    }
    assert_eq!(client.groups_outcome(subscribed), Some(Ok(())));
    for resumed in [RESUMED, NEW_PEER] {
        script.run(Duration::from_secs(1));
        script.admit(&Joined { resumed, ..answer(&[1]) });
        let (schema, body) = script.control();
        // The older value is not told.
        assert_eq!(
            (schema, owned::<Moderate>(&body).unwrap().act),
            (Schema::Moderate, act::MUTE_SELF)
        );
        let (schema, body) = script.control();
        assert_eq!(
            (schema, owned::<Subscribe>(&body).unwrap().groups),
            (Schema::Subscribe, groups.0)
        );
        script.close(Code::Internal);
    }
}

/// The events of a lost session are asked for, and a new peer receives none.
#[test]
fn a_resume_names_the_last_event() {
    let mut script = Script::joined(&answer(&[1]));
    let event = |sequence| {
        let (peer, channel, piece, payload) = (1, 0, 0, vec![]);
        encode(&EventDown { peer, roster_version: 4, sequence, channel, piece, payload })
    };
    for (kind, sequence) in [(stream::EVENTS, 40), (stream::BULK, 7)] {
        let lane = script.open(kind);
        script.push(lane, &event(sequence));
    }
    let early = script.client.ticket().unwrap();
    // What was taken does not come again, and what waits does.
    assert_eq!(script.events().len(), 2);
    let exported = ReturnTicket::from_text(&script.client.ticket().unwrap().to_text()).unwrap();
    assert_ne!(early, exported);
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    let join = script.admit(&Joined { resumed: RESUMED_WITH_LOSS, ..answer(&[1]) });
    assert_eq!((join.last_event, join.last_bulk), (40, 7));
    let events = script.events();
    assert!(events.contains(&RoomEvent::Resumed { missed_events: true }), "{events:?}");
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    let join = script.admit(&Joined { resumed: NEW_PEER, peer: 3, ..answer(&[3]) });
    assert_eq!((join.last_event, join.last_bulk), (40, 7), "no event has come since");
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    let join = script.accept();
    assert_eq!((join.last_event, join.last_bulk), (0, 0));

    // The exported ticket, in another process.
    let options = nucleus_client_core::room::RoomJoin { ticket: Some(exported), ..options() };
    let config = ClientOptions::new(Duration::from_secs(60), 2);
    let mut script = Script::with(options, config);
    let join = script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    assert_eq!((&join.ticket[..], join.last_event, join.last_bulk), (&b"ticket"[..], 40, 7));
    assert_eq!(script.events(), [RoomEvent::Resumed { missed_events: false }]);
}

fn renewed_client(has_token_provider: bool) -> Script {
    let config =
        ClientOptions { has_token_provider, ..ClientOptions::new(Duration::from_secs(3_600), 1) };
    let mut script = Script::with(options(), config);
    let ttl = SessionSetting { key: 28, value: 1_000 };
    let settings = vec![ttl, SessionSetting { key: 7, value: 1_000 }];
    script.admit(&Joined { settings, ..answer(&[1]) });
    script
}

/// A fresh token is asked for after three quarters of the ticket's time.
#[test]
fn a_fresh_token_is_asked_for_in_time_and_used_for_the_next_join() {
    let mut script = renewed_client(false);
    script.run(Duration::from_secs(749));
    assert_eq!(script.events(), []);
    script.run(Duration::from_secs(2));
    assert_eq!(script.events(), [RoomEvent::TokenWanted { within: None }]);
    let renewal = script.client.renew("fresh".to_owned()).unwrap();
    script.pump();
    assert_eq!(script.control().0, Schema::Renew);
    let reply = Renewed { code: 0, ticket: b"later".to_vec(), ticket_ttl_s: 1_000 };
    script.send(&encode(&reply));
    assert_eq!(script.client.take_renewal(renewal), Some(Ok(())));
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    let join = script.accept();
    assert_eq!((&join.token[..], &join.ticket[..]), (&b"fresh"[..], &b"later"[..]));
    // The fresh token may never have been checked: the one before is tried too.
    script.refuse(Code::TokenSignature, 0);
    assert_eq!(script.accept().token, b"t");
}

/// A provider is asked instead of the application, also when a token is refused during a return.
#[test]
fn a_provider_is_asked_for_tokens() {
    let mut script = renewed_client(true);
    script.run(Duration::from_secs(751));
    assert!(matches!(script.outputs.pop(), Some(RoomOutput::TokenWanted)));
    assert_eq!(script.events(), []);
    script.client.take_token(script.now, None);
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    script.accept();
    script.refuse(Code::TokenExpired, 0);
    assert!(matches!(script.outputs.pop(), Some(RoomOutput::TokenWanted)));
    assert!(script.connects.is_empty());
    script.run(Duration::from_secs(100));
    script.client.take_token(script.now, Some("fresh".to_owned()));
    script.pump();
    let join = script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    assert_eq!(join.token, b"fresh");
    assert!(script.client.session().is_running());
}

/// A server ends the session of a client that sends what cannot be a token.
#[test]
fn a_text_that_cannot_be_a_token_is_not_sent() {
    let mut script = renewed_client(true);
    for text in [String::new(), "x".repeat(4_097)] {
        let refused = script.client.renew(text.clone());
        assert!(matches!(refused, Err(RenewError::Invalid(says)) if says.contains("Hand in")));
        script.client.take_token(script.now, Some(text));
        script.pump();
    }
    // The first message that is sent is a good token's.
    script.client.renew("good".to_owned()).unwrap();
    script.pump();
    let (schema, body) = script.control();
    assert_eq!(schema, Schema::Renew);
    assert!(body.windows(4).any(|bytes| bytes == b"good"));
    assert!(script.client.session().is_running());
}

/// A provider without a token, one whose tokens are refused, and one that never answers: the client
/// asks again after pauses, until its patience ends.
#[test]
fn a_provider_without_a_good_token_is_asked_until_the_patience_ends() {
    for tokens in [Some(None), Some(Some("no better".to_owned())), None] {
        let mut script = renewed_client(true);
        script.close(Code::Internal);
        let (begun, mut asked) = (script.now, 0);
        while !script.client.session().is_closed() {
            if !script.connects.is_empty() {
                script.accept();
                script.refuse(Code::TokenExpired, 0);
            }
            let wanted = script.outputs.iter().filter(|o| matches!(o, RoomOutput::TokenWanted));
            if wanted.count() > asked {
                asked += 1;
                if let Some(token) = &tokens {
                    script.client.take_token(script.now, token.clone());
                    script.pump();
                }
            }
            script.run(Duration::from_millis(50));
        }
        assert!(script.now.since(begun) > Duration::from_secs(3_590));
        // A pause is 5 to 6 s in the end.
        let expected = if tokens.is_some() { 500..900 } else { 1..2 };
        assert!(expected.contains(&asked), "{asked}");
        assert!(matches!(script.events().last(), Some(RoomEvent::Closed { .. })));
    }
}

#[test]
fn the_end_names_the_reason_of_the_refusals_and_not_the_try_that_it_cut_short() {
    let mut script = renewed_client(true);
    script.close(Code::Internal);
    let begun = script.now;
    while !script.client.session().is_closed() {
        if !script.connects.is_empty() {
            script.accept();
            // In the end nothing answers any more.
            if script.now.since(begun) < Duration::from_secs(3_590) {
                script.refuse(Code::TokenExpired, 0);
                script.client.take_token(script.now, None);
                script.pump();
            }
        }
        script.run(Duration::from_millis(50));
    }
    let Some(RoomEvent::Closed { code, text }) = script.events().pop() else { panic!("no end") };
    assert_eq!(code, Some(Code::TokenExpired), "{text}");
}

/// The certificate may have changed since the newest token was made.
#[test]
fn a_provider_is_asked_when_the_certificate_is_not_trusted() {
    let mut script = renewed_client(true);
    script.close(Code::Internal);
    script.run(Duration::from_secs(1));
    script.handle(SessionInput::NotConnected(JoinError::Tls("not trusted".to_owned())));
    assert!(matches!(script.outputs.pop(), Some(RoomOutput::TokenWanted)));
    script.client.take_token(script.now, Some("fresh".to_owned()));
    script.pump();
    assert_eq!(script.client.join_token(), "fresh");
    let join = script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    assert_eq!(join.token, b"fresh");
}

/// In mid-session, a provider without a token, or whose token is refused, is asked again later.
#[test]
fn a_provider_without_a_good_token_is_asked_again_in_mid_session() {
    let mut script = renewed_client(true);
    script.run(Duration::from_secs(751));
    for token in [None, Some("no good".to_owned()), None] {
        assert!(matches!(script.outputs.pop(), Some(RoomOutput::TokenWanted)));
        script.client.take_token(script.now, token.clone());
        script.pump();
        if token.is_some() {
            assert_eq!(script.control().0, Schema::Renew);
            let refused =
                Renewed { code: Code::TokenExpired as u16, ticket: vec![], ticket_ttl_s: 0 };
            script.send(&encode(&refused));
        }
        script.run(Duration::from_secs(59));
        assert!(!matches!(script.outputs.last(), Some(RoomOutput::TokenWanted)));
        script.run(Duration::from_secs(2));
    }
}

/// An answer that comes too late does not bring a closed client back.
#[test]
fn a_token_that_comes_after_the_end_is_not_used() {
    for token in [None, Some("fresh".to_owned())] {
        let mut script = renewed_client(true);
        script.close(Code::Internal);
        script.run(Duration::from_secs(1));
        script.accept();
        script.refuse(Code::TokenExpired, 0);
        script.client.close(script.now);
        script.client.take_token(script.now, token);
        script.run(Duration::from_secs(7_200));
        assert!(script.client.session().is_closed() && script.connects.is_empty());
        let closed = |event: &RoomEvent| matches!(event, RoomEvent::Closed { .. });
        assert_eq!(script.events().into_iter().filter(closed).count(), 1);
    }
}

/// A connection that is lost while it joins is tried again, and the ticket is kept.
#[test]
fn a_connection_that_breaks_during_a_return_is_made_anew() {
    let mut script = lost(Duration::from_secs(60));
    for _ in 0..3 {
        while script.connects.is_empty() {
            script.run(Duration::from_millis(100));
        }
        assert_eq!(script.accept().ticket, b"ticket");
        script.handle(SessionInput::Closed(ConnectionEnd::TimedOut));
    }
    while script.connects.is_empty() {
        script.run(Duration::from_millis(100));
    }
    script.admit(&Joined { resumed: RESUMED, ..answer(&[1]) });
    assert_eq!(script.events(), [RoomEvent::Resumed { missed_events: false }]);
}
