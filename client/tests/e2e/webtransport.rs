//! Sessions over WebTransport, as browsers hold them.

use std::time::Duration;

use bytes::BytesMut;
use nucleus_client::{Code, RoomEvent, To};
use nucleus_protocol::session::{self, Joined, Refuse, Schema, stream};
use nucleus_server::start::config::WebSettings;
use nucleus_server::token::{Product, TokenRequest};
use nucleus_webclient::{UNIDIRECTIONAL, WebError, WebSession};
use tokio::time::timeout;
use web_transport_proto::{Capsule, error_to_http3};

use super::browser::{LOCAL, browser, closed, connect, join, join_as, open, open_at, opening};
use super::support::{TestServer, until};
use super::wire::message;

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_and_a_headset_exchange_events_and_datagrams() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    let web = open(&server).await;
    let (_control, joined) = join(&web, &server, server.token("web")).await;
    assert!(joined.grant.is_empty(), "a browser has no realtime port");

    // An event up, behind WebTransport's prefix.
    let mut events = web.connection().open_uni().await.unwrap();
    let event = super::wire::event_up(b"from the browser");
    let bytes = [&UNIDIRECTIONAL[..], &[stream::EVENTS], &event].concat();
    events.write_all(&bytes).await.unwrap();
    let payload = until(&headset, |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    });
    assert_eq!(&payload.await[..], b"from the browser");

    // An event down. The server's first stream is HTTP/3's control stream.
    headset.send_event(To::Others, 0, b"from the headset").await.unwrap();
    let payload = loop {
        let mut stream = web.connection().accept_uni().await.unwrap();
        let mut kind = [0; 4];
        let read = timeout(Duration::from_millis(200), stream.read_exact(&mut kind)).await;
        if read.is_ok() && kind[..3] == UNIDIRECTIONAL && kind[3] == stream::EVENTS {
            let (schema, body) = message(&mut stream).await;
            assert_eq!(schema, Schema::EventDown);
            break session::owned::<session::EventDown>(&body).unwrap().payload;
        }
    };
    assert_eq!(payload, b"from the headset");

    // Datagrams, behind the session's prefix. A keep-alive chooses the plane.
    let keep_alive = [&[0][..], &joined.link_id.to_le_bytes(), &[9, 3, 0, 0, 1]].concat();
    web.connection().send_datagram(keep_alive.into()).unwrap();
    let got = async {
        loop {
            headset.send_unreliable(To::Others, 0, 0, &[7; 900]).unwrap();
            let read = timeout(Duration::from_millis(50), web.connection().read_datagram());
            match read.await {
                Ok(datagram) if datagram.as_ref().is_ok_and(|d| d.len() > 900) => {
                    break datagram.unwrap();
                }
                _ => {}
            }
        }
    };
    let got = timeout(Duration::from_secs(5), got).await.unwrap();
    assert_eq!(got[0], 0, "the session's prefix");
    assert_eq!(got[1..5], joined.link_id.to_le_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_or_with_another_path_gets_no_session() {
    let server = TestServer::start().await;
    let open =
        async |path: &str, origins: &[&str]| match browser(&server).await.open(path, origins).await
        {
            Ok(_) => Ok(()),
            Err(WebError::Refused(status)) => Err(status),
            Err(error) => panic!("{error}"),
        };
    assert_eq!(open("/nucleus", &[LOCAL]).await, Ok(()));
    assert_eq!(open("/nucleus", &[]).await, Ok(()), "a program that is no browser");
    let refused = [
        ("/nucleus", &["https://evil.com"][..], 403),
        ("/nucleus", &["null"], 403),
        ("/nucleus", &["http://localhost.evil.com"], 403),
        ("/", &[LOCAL], 404),
        ("/nucleus/x", &[LOCAL], 404),
        ("/other", &["https://evil.com"], 404),
    ];
    for (path, origins, status) in refused {
        assert_eq!(open(path, origins).await, Err(status), "{path} {origins:?}");
    }
    let counted = async {
        let refused = refused.len() as f64;
        // The two that were not refused have not joined.
        while server.metric("nucleus_session_pages_refused_total") != refused
            || server.metric("nucleus_sessions_unjoined") > 2.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), counted).await.expect("all are counted and keep no place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_sessions_of_the_tenants_that_admit_its_origin() {
    let server = TestServer::with(|config| {
        config.web = WebSettings {
            origins: Some(vec!["https://all.example".to_owned()]),
            tenants: [("acme".to_owned(), vec!["https://acme.example".to_owned()])].into(),
        };
    })
    .await;
    let token = |tenant: &str| server.token_with(TokenRequest::new(Product::ATOM, tenant, "ada"));
    for (origin, tenant, admitted) in [
        ("https://all.example", "tenant", true),
        ("https://acme.example", "acme", true),
        ("https://all.example", "acme", false),
        ("https://acme.example", "tenant", false),
    ] {
        let browser = browser(&server).await;
        let session = browser.open("/nucleus", &[origin]).await.unwrap();
        let opening = opening(token(tenant), 0);
        let (_control, [_, (schema, body)]) = session.control(&opening).await.unwrap();
        match admitted {
            true => assert_eq!(schema, Schema::Joined, "{origin} {tenant}"),
            false => {
                let refuse = Refuse::parse(&body).unwrap();
                assert_eq!(refuse.code, Code::Forbidden as u16, "{origin} {tenant}");
                assert_eq!(closed(session).await.0, Some(Code::Forbidden));
            }
        }
    }
    // A ticket is bound to the tenant's origins as the token is.
    let session = browser(&server).await.open("/nucleus", &["https://all.example"]).await;
    let session = session.unwrap();
    let (_control, joined) = join_as(&session, token("tenant"), Vec::new()).await;
    let ticket = session::owned::<Joined>(&joined.unwrap()).unwrap().ticket;
    let other = browser(&server).await.open("/nucleus", &["https://acme.example"]).await;
    let (_control, refused) = join_as(&other.unwrap(), token("tenant"), ticket).await;
    assert_eq!(refused, Err(Some(Code::Forbidden)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_closes_a_session_with_its_code_and_its_reason() {
    let server = TestServer::start().await;
    let web = open(&server).await;
    let ((mut control, _receive), _) = join(&web, &server, server.token("web")).await;
    control.write_all(&[0xff; 8]).await.unwrap();
    let (code, text) = closed(web).await;
    assert_eq!(code, Some(Code::Malformed));
    assert!(!text.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_closes_its_session_leaves_or_is_lost() {
    let away_after = Duration::from_secs(1);
    let server = TestServer::with(|config| config.limits.away_after = away_after).await;
    let headset = server.join("headset").await;
    for (code, leaves) in [(Code::Leaving as u32, true), (0, false)] {
        let mut web = open(&server).await;
        let (_control, joined) = join(&web, &server, server.token("web")).await;
        // A peer that is gone at once is not reported at all.
        let is_here =
            |event| matches!(event, RoomEvent::PeerJoined(peer) if peer.id.0 == joined.peer);
        until(&headset, |event| is_here(event).then_some(())).await;
        let mut capsule = BytesMut::new();
        let reason = "over".to_owned();
        Capsule::CloseWebTransportSession { code, reason }.encode(&mut capsule);
        let frame = [&[0, capsule.len() as u8][..], &capsule].concat();
        web.request.0.write_all(&frame).await.unwrap();
        web.request.0.finish().unwrap();
        let how = until(&headset, |event| match event {
            RoomEvent::PeerLeft { peer, code } if peer.id.0 == joined.peer => {
                Some(code == Some(Code::Left))
            }
            RoomEvent::PresenceChanged { peer, .. } if peer.0 == joined.peer => Some(false),
            _ => None,
        });
        assert_eq!(how.await, leaves, "code {code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_harms_only_itself() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    let web = open(&server).await;
    // A second session on the connection is refused.
    let (second, mut answer) = web.browser.request("/nucleus", &[LOCAL]).await.unwrap();
    let refused = answer.read(&mut [0; 8]).await.unwrap_err();
    assert!(matches!(refused, quinn::ReadError::Reset(code) if u64::from(code) == 0x10b));
    assert_eq!(second.stopped().await.unwrap().map(u64::from), Some(0x10b));
    drop((second, answer));
    let (_control, joined) = join(&web, &server, server.token("web")).await;
    // Streams of other sessions and of unknown types are refused, each with a code. The client has two
    // streams left beside its silent ones.
    for (bytes, code) in
        [(&[0x40, 0x54, 4, 2][..], 0x3994_bd84), (&[0x21, 0][..], 0x103), (&[0x01, 0][..], 0x103)]
    {
        let mut stream = web.connection().open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let stopped = timeout(Duration::from_secs(5), stream.stopped()).await.unwrap();
        assert_eq!(stopped.unwrap().map(u64::from), Some(code), "{bytes:?}");
    }
    // A surplus stream of the session is refused with the session's code, in HTTP/3's range.
    let mut stream = web.connection().open_uni().await.unwrap();
    stream.write_all(&[&UNIDIRECTIONAL[..], &[9]].concat()).await.unwrap();
    let stopped = timeout(Duration::from_secs(5), stream.stopped()).await.unwrap();
    let malformed = error_to_http3(Code::Malformed as u32);
    assert_eq!(stopped.unwrap().map(u64::from), Some(malformed));
    // Datagrams of other sessions and nonsense are ignored.
    for bytes in [&[1, 2, 3][..], &[], &[0xff; 20], &[0x40], &[0]] {
        web.connection().send_datagram(bytes.to_vec().into()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(web.connection().close_reason().is_none(), "it has harmed nobody");
    assert!(headset.peers().iter().any(|peer| peer.id.0 == joined.peer));
    // A flood of capsules ends the session, and nothing else.
    let WebSession { browser, request: (mut send, _receive) } = web;
    let junk = [&[0, 0x44, 0][..], &[0x21; 1_024]].concat();
    for _ in 0..64 {
        if send.write_all(&junk).await.is_err() {
            break;
        }
    }
    timeout(Duration::from_secs(5), browser.connection.closed()).await.unwrap();
    headset.send_event(To::All, 0, b"still here").await.unwrap();
    let heard = until(&headset, |event| match event {
        RoomEvent::Event { payload, .. } => Some(payload),
        _ => None,
    });
    assert_eq!(&heard.await[..], b"still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_with_the_leave_is_read_first() {
    let server = TestServer::start().await;
    let headset = server.join("headset").await;
    for _ in 0..20 {
        let web = open(&server).await;
        let ((mut control, _receive), _) = join(&web, &server, server.token("web")).await;
        let mut events = web.connection().open_uni().await.unwrap();
        let event = super::wire::event_up(b"the last word");
        let bytes = [&UNIDIRECTIONAL[..], &[stream::EVENTS], &event].concat();
        events.write_all(&bytes).await.unwrap();
        events.finish().unwrap();
        let leave = session::encode(&session::Leave { code: Code::Left as u16 });
        control.write_all(&leave).await.unwrap();
        let heard = until(&headset, |event| match event {
            RoomEvent::Event { payload, .. } => Some(payload),
            _ => None,
        });
        assert_eq!(&heard.await[..], b"the last word");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_learns_that_the_server_shuts_down() {
    let mut server = TestServer::start().await;
    let web = open(&server).await;
    let (_control, _joined) = join(&web, &server, server.token("web")).await;
    let (stopped, (code, _)) = tokio::join!(server.stop(), closed(web));
    stopped.unwrap();
    assert_eq!(code, Some(Code::ShuttingDown));
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_a_client_announces_take_no_memory() {
    let server = TestServer::start().await;
    let mut web = open(&server).await;
    // A frame of 1 MiB, of which 10 bytes come: more than the server reads of this stream.
    let frame = [&[0, 0x80, 0x10, 0, 0][..], &[0; 10]].concat();
    web.request.0.write_all(&frame).await.unwrap();
    let (_control, joined) = join(&web, &server, server.token("web")).await;
    assert!(joined.peer > 0, "it waits for the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_stands_still_is_lost_although_its_browser_acknowledges() {
    let server = TestServer::start().await;
    let web = open(&server).await;
    let (_control, _joined) = join(&web, &server, server.token("web")).await;
    let closed = web.connection().closed();
    let waited = tokio::time::Instant::now();
    timeout(Duration::from_secs(50), closed).await.expect("after 30 s");
    assert!(waited.elapsed() > Duration::from_secs(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_page_is_woken_and_its_silent_streams_stay() {
    let server = TestServer::start().await;
    let web = open(&server).await;
    let (_control, _joined) = join(&web, &server, server.token("web")).await;
    // The session's stream, which makes the silent streams before it exist.
    let mut events = web.connection().open_uni().await.unwrap();
    events.write_all(&[&UNIDIRECTIONAL[..], &[stream::EVENTS]].concat()).await.unwrap();
    let wake = timeout(Duration::from_secs(6), web.connection().read_datagram()).await;
    assert_eq!(wake.expect("after 5 s").unwrap()[..], [0, 0]);
    for silent in &web.browser.compression {
        let stopped = timeout(Duration::from_millis(50), silent.stopped()).await;
        assert!(stopped.is_err(), "a browser closes a connection whose stream is refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_breaks_http3_is_a_failed_handshake() {
    let server = TestServer::start().await;
    // No request, and no settings.
    let silent = connect(&server, server.on.session).await;
    // A request without settings, and garbage on each stream.
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 100], &[0xff; 100], &[1, 0x40]] {
        let connection = connect(&server, server.on.session).await;
        let mut settings = connection.open_uni().await.unwrap();
        let _written = settings.write_all(bytes).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        let _written = send.write_all(bytes).await;
        let _finished = settings.finish();
        timeout(Duration::from_secs(8), connection.closed()).await.unwrap();
    }
    timeout(Duration::from_secs(8), silent.closed()).await.expect("within the time of a join");
    assert_eq!(server.metric("nucleus_session_failed_handshakes_total"), 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_and_browsers_reach_further_addresses_too() {
    let server = TestServer::with(|config| {
        config.session_also = vec!["127.0.0.1:0".parse().unwrap(); 2];
        config.shards = 2;
    })
    .await;
    let also = server.on.session_also.clone();
    assert_eq!(also.len(), 2);
    for address in also {
        let options = nucleus_client::ConnectOptions::new(address.to_string(), server.token("p"));
        let room = nucleus_client::connect(options.room("lobby")).await.unwrap();
        let web = open_at(&server, address).await;
        let (_control, joined) = join(&web, &server, server.token("web")).await;
        let is_here =
            |event| matches!(event, RoomEvent::PeerJoined(peer) if peer.id.0 == joined.peer);
        until(&room, |event| is_here(event).then_some(())).await;
        room.leave().await;
    }
}
