//! Names from tokens and clients: one rule for all, whatever keyboard they were typed on.

use std::time::Duration;

use nucleus_client::session::{ConnectError, JoinError};
use nucleus_client::{Code, EnterOptions, RoomEvent, connect, enter};
use nucleus_server::token::{Product, TokenRequest};

use crate::support::{TestServer, until};

/// "café" as one keyboard types it, and as another one does.
const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

fn by(user: &str) -> TokenRequest {
    TokenRequest::new(Product::ATOM, "tenant", user)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ways_to_type_a_name_make_one_room() {
    let server = TestServer::start().await;
    let a = connect(server.options(server.token("a")).room(COMPOSED)).await.unwrap();
    let b = connect(server.options(server.token("b")).room(DECOMPOSED)).await.unwrap();
    assert_eq!((a.name(), b.name()), (COMPOSED, COMPOSED));
    assert_eq!(b.peers().len(), 1);
    // The token's room too, and the prefix of rooms.
    for room in [DECOMPOSED, COMPOSED, "cafe\u{301}*"] {
        let token = server.token_with(TokenRequest { room: Some(room.into()), ..by("c") });
        let c = connect(server.options(token).room(DECOMPOSED)).await.unwrap();
        assert_eq!(c.name(), COMPOSED);
        c.leave().await;
    }
    assert_eq!(server.metric("nucleus_rooms"), 1.0);
}

/// A ban holds whichever way the user's next token writes the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_however_the_name_is_typed() {
    let server = TestServer::start().await;
    let host = TokenRequest { role: "host".into(), ..by("host") };
    let host = connect(server.options(server.token_with(host))).await.unwrap();
    let rene = connect(server.options(server.token("rene\u{301}"))).await.unwrap();
    host.kick(rene.me(), Some(Duration::from_secs(60))).await.unwrap();
    until(&rene, |event| matches!(event, RoomEvent::Closed { .. }).then_some(())).await;
    for name in ["ren\u{e9}", "rene\u{301}"] {
        let again = connect(server.options(server.token(name))).await;
        let Err(ConnectError::Join(JoinError::Refused { code, .. })) = again else {
            panic!("{name} is back")
        };
        assert_eq!(code, Some(Code::Kicked));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_misleads_is_refused_wherever_it_comes_from() {
    let server = TestServer::start().await;
    let cases = [
        ("ada\u{202e}nimda", "U+202E"),
        ("ada\u{061c}", "U+061C"),
        ("ada\u{2028}", "control character U+2028"),
        ("ada\u{e0041}", "U+E0041"),
        ("\u{200d}", "no visible character"),
    ];
    for (name, rule) in cases {
        let refusal = |outcome: Result<_, ConnectError>| match outcome {
            Err(ConnectError::Join(JoinError::Refused { code, text, .. })) => (code, text),
            Err(other) => panic!("{other}"),
            Ok(()) => panic!("{name:?} was admitted"),
        };
        let of_room = connect(server.options(server.token("a")).room(name)).await.map(drop);
        let of_name = connect(server.options(server.token("a")).name(name)).await.map(drop);
        let social = EnterOptions::new(server.on.session.to_string(), server.token("a"));
        let entered = enter(social.name(name)).await.map(drop);
        for outcome in [of_room, of_name, entered] {
            let (code, text) = refusal(outcome);
            assert_eq!(code, Some(Code::BadName));
            assert!(text.contains(rule), "{text}");
        }
    }
    // Names of people, with the marks that their scripts need.
    for name in ["דנה\u{200f} (QA)", "ريم\u{200e} 2", "می\u{200c}خواهم", "👩\u{200d}👧"]
    {
        let room = connect(server.options(server.token("a")).room(name).name(name)).await.unwrap();
        assert_eq!(room.name(), name);
        room.leave().await;
    }
}
