//! The development certificate is renewed while sessions live and join.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_client::session::{ConnectError, JoinError, To, Trust};
use nucleus_client::{Room, RoomEvent, connect};
use tokio::task::JoinSet;

use super::support::{TestServer, now_unix, until};
use super::tickets::rejoined;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Joins with all tokens at the same time, ten to a room. Panics if one of the joins fails.
async fn join_all(server: &TestServer, room: &str, tokens: &[String]) -> Vec<Room> {
    let mut joins = JoinSet::new();
    for (index, token) in tokens.iter().enumerate() {
        let options = server.options(token.clone()).room(format!("{room}{}", index / 10));
        joins.spawn(connect(options));
    }
    let rooms = joins.join_all().await;
    rooms.into_iter().map(|room| room.expect("a join failed")).collect()
}

/// Waits until new sessions get the certificate that is in service at the server's time.
async fn until_renewed(server: &TestServer) {
    let pin = server.data().certificate_pin().bytes();
    let renewed = async {
        while let Err(error) =
            connect(server.options(server.token("probe")).trust(Trust::Pins(vec![pin]))).await
        {
            assert!(matches!(error, ConnectError::Join(JoinError::Tls(_))), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.expect("not renewed in 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_fails_no_join_and_touches_no_session() {
    let server = Arc::new(TestServer::at(now_unix()).await);
    let tokens = |name: &str, count: usize| -> Vec<String> {
        (0..count).map(|user| server.token(&format!("{name}{user}"))).collect()
    };
    let before = tokens("before", 100);
    let first_pin = server.data().certificate_pin();
    let live = join_all(&server, "live", &tokens("live", 100)).await;

    // Somebody joins at every moment of the renewal, with the oldest tokens.
    let (done, joining) = (Arc::new(AtomicBool::new(false)), server.clone());
    let (is_done, early) = (done.clone(), server.token("early"));
    let joiner = tokio::spawn(async move {
        let mut joined = 0;
        while !is_done.load(Ordering::Relaxed) {
            let room = connect(joining.options(early.clone())).await.expect("a join failed");
            room.leave().await;
            joined += 1;
        }
        joined
    });
    server.pass(WEEK);
    until_renewed(&server).await;
    done.store(true, Ordering::Relaxed);
    assert!(joiner.await.unwrap() > 0);
    assert_ne!(server.data().certificate_pin(), first_pin);

    let after = tokens("after", 50);
    join_all(&server, "before", &before).await;
    join_all(&server, "after", &after).await;
    // The first sessions have lived through all of this: nobody had to come back.
    for room in &live {
        room.send_event(To::All, 0, b"alive").await.unwrap();
        until(room, |event| match event {
            RoomEvent::Event { .. } => Some(()),
            RoomEvent::Interrupted { .. } => panic!("a session was lost"),
            _ => None,
        })
        .await;
    }

    // Another week later the tokens of the second week still name what is served.
    server.pass(WEEK);
    until_renewed(&server).await;
    join_all(&server, "after", &after).await;
    let outdated = connect(server.options(before[0].clone())).await.err().unwrap();
    assert!(matches!(outdated, ConnectError::Join(JoinError::Tls(_))), "{outdated}");
}

/// A token names the certificates of two weeks.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_lives_for_weeks_trusts_what_its_fresh_tokens_name() {
    let mut server = TestServer::at(now_unix()).await;
    let room = connect(server.options(server.token("ada"))).await.unwrap();
    for _ in 0..3 {
        server.pass(WEEK);
        until_renewed(&server).await;
        room.renew(server.token("ada")).await.unwrap();
        server = server.restart().await;
        rejoined(&room).await;
    }
}

/// A fresh token of another server, and one whose pins nobody has, must not end a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_other_pins_keeps_nobody_out() {
    let mut server = TestServer::at(now_unix()).await;
    let own_trust = server.trust();
    let room = connect(server.options(server.token("ada"))).await.unwrap();
    let trusting = server.options(server.token("grace")).trust(own_trust);
    let trusting = connect(trusting).await.unwrap();
    for (room, user) in [(&room, "ada"), (&trusting, "grace")] {
        room.renew(token_with_pin(&server, user, &URL_SAFE_NO_PAD.encode([7; 32]))).await.unwrap();
    }
    server = server.restart().await;
    rejoined(&room).await;
    rejoined(&trusting).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dates_of_a_pinned_certificate_do_not_count() {
    for time in [1_600_000_000, now_unix() + 500 * WEEK.as_secs()] {
        let server = TestServer::at(time).await;
        join_all(&server, "room", &[server.token("ada")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_single_pin_as_text_is_trusted() {
    let server = TestServer::start().await;
    let pin = server.data().certificate_pin().to_base64url();
    join_all(&server, "room", &[token_with_pin(&server, "ada", &pin)]).await;
}

/// Mints a token that names this pin.
fn token_with_pin(server: &TestServer, user: &str, pin: &str) -> String {
    let data = server.data();
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims = format!(
        r#"{{"sub":"{user}","tenant":"tenant","product":"atom","exp":{},"aud":"{}","pin":"{pin}"}}"#,
        now_unix() + 60,
        data.server_id(),
    );
    let signed = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#.to_owned()), part(claims));
    let key = Ed25519KeyPair::from_pkcs8(data.development_key().signing_key).unwrap();
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
