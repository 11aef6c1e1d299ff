//! Tests of refused joins and invalid input: each has its own code and does not affect other
//! sessions.

use std::net::UdpSocket;
use std::time::Duration;

use crate::support::{TestServer, now_unix, until};
use crate::wire::{close_of, hello, join_message, raw};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nucleus_client::session::{ConnectError, JoinError};
use nucleus_client::{RoomEvent, connect};
use nucleus_protocol::session::{
    self, Code, EventUp, Hello, Leave, Refuse, SESSION_HEADER_BYTES, TO_OTHERS, stream,
};
use nucleus_server::start::config::Config;
use nucleus_server::start::data_dir::DataDir;
use nucleus_server::start::sockets::{BindError, Sockets};
use nucleus_server::token::{Product, TokenRequest};

async fn refused(server: &TestServer, token: String) -> Option<Code> {
    // A token for another server contains another pin. Use the right pin, to test the token alone.
    let trust = server.trust();
    match connect(server.options(token).trust(trust)).await {
        Err(ConnectError::Join(JoinError::Refused { code, .. })) => code,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the join succeeded"),
    }
}

fn parts(token: &str) -> Vec<String> {
    token.split('.').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_token_has_its_code() {
    let server = TestServer::start().await;
    let good = parts(&server.token("eve"));
    let request = || TokenRequest::new(Product::ATOM, "tenant", "eve");

    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let unsigned = format!("{none}.{}.{}", good[1], good[2]);
    assert_eq!(refused(&server, unsigned).await, Some(Code::TokenAlgorithm));

    let claims = URL_SAFE_NO_PAD.decode(&good[1]).unwrap();
    let claims = String::from_utf8(claims).unwrap().replace("eve", "adm");
    let forged = format!("{}.{}.{}", good[0], URL_SAFE_NO_PAD.encode(claims), good[2]);
    assert_eq!(refused(&server, forged).await, Some(Code::TokenSignature));

    let expired = server.data().minter().mint(request(), now_unix() - 7_200).unwrap();
    assert_eq!(refused(&server, expired).await, Some(Code::TokenExpired));

    let elsewhere = server.token_with(TokenRequest { room: Some("attic".into()), ..request() });
    assert_eq!(refused(&server, elsewhere).await, Some(Code::RoomNotAllowed));

    assert_eq!(refused(&server, "e30.e30.c2ln".into()).await, Some(Code::TokenMalformed));
    for text in ["garbage", &format!("{none}.{}.", good[1])] {
        let wrong = connect(server.options(text.to_owned())).await;
        let is_told = matches!(&wrong, Err(ConnectError::Join(JoinError::Options(_))));
        assert!(is_told, "{text}: it is not sent");
    }

    // Another server with the same key but another id.
    let twin = tempfile::tempdir().unwrap();
    let key = "token-key.pem";
    std::fs::copy(server.dir.path().join(key), twin.path().join(key)).unwrap();
    let twin = DataDir::open(twin.path()).unwrap();
    let misdirected = twin.minter().mint(request(), now_unix()).unwrap();
    assert_eq!(refused(&server, misdirected).await, Some(Code::TokenAudience));

    assert_eq!(server.metric("nucleus_rooms"), 0.0, "a refused token left a room behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_and_a_full_server_say_so() {
    let server = TestServer::with(|config| config.limits.sessions = 3).await;
    let small = |user: &str| server.options(server.token(user)).capacity(2);
    let _first = connect(small("a")).await.unwrap();
    let _second = connect(small("b")).await.unwrap();
    assert_eq!(refused(&server, server.token("c")).await, Some(Code::RoomFull));
    let _third = connect(small("d").room("other")).await.unwrap();
    assert_eq!(refused(&server, server.token("e")).await, Some(Code::ServerFull));
}

fn close_code(error: &quinn::ConnectionError) -> Option<Code> {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            Code::from_number(close.error_code.into_inner())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_is_told_which_are_known() {
    let server = TestServer::start().await;
    let connection = raw(&server).await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let hello =
        Hello { oldest: 9, newest: 11, flags: 0, agent: b"future".to_vec(), features: vec![] };
    send.write_all(&[&[stream::CONTROL][..], &hello.encode()].concat()).await.unwrap();
    let answer = receive.read_to_end(1_024).await.unwrap();
    let refuse = Refuse::parse(&answer[SESSION_HEADER_BYTES..]).unwrap();
    assert_eq!((refuse.code, refuse.oldest, refuse.newest), (Code::Version as u16, 1, 1));
    assert_eq!(close_code(&connection.closed().await), Some(Code::Version));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_control_stream_ends_only_its_own_session() {
    let server = TestServer::start().await;
    let witness = server.join("witness").await;
    let huge = [&[stream::CONTROL][..], &[0xff; 8]].concat();
    let wrong_stream = vec![stream::STATE, 0, 0, 0];
    let mut truncated = vec![stream::CONTROL];
    truncated.extend_from_slice(&[4, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 200]);
    for bytes in [huge, wrong_stream, truncated] {
        let connection = raw(&server).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        assert_eq!(close_code(&connection.closed().await), Some(Code::Malformed));
    }
    witness.send_event(nucleus_client::session::To::All, 0, b"alive").await.unwrap();
    until(&witness, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_join_is_gone_in_time() {
    let server =
        TestServer::with(|config| config.limits.unjoined_timeout = Duration::from_millis(300))
            .await;
    let connection = raw(&server).await;
    let closed = tokio::time::timeout(Duration::from_secs(2), connection.closed()).await;
    assert_eq!(close_code(&closed.expect("the connection is open")), Some(Code::JoinTimeout));
    assert_eq!(server.metric("nucleus_sessions_unjoined"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_both_ports_gets_no_answer_but_a_counter() {
    let server = TestServer::start().await;
    let witness = server.join("witness").await;
    let mut rng = fastrand::Rng::with_seed(5);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0;
    for len in [0, 1, 12, 13, 30, 31, 600, 1_200, 1_201, 1_473, 9_000, 65_507] {
        for to in [server.on.session, server.on.realtime] {
            // If the first bit is 0, QUIC reads the bytes as a short header of an unknown
            // connection.
            let mut bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            bytes.iter_mut().take(1).for_each(|form| *form = 0x08);
            socket.send_to(&bytes, to).unwrap();
            sent += usize::from(to == server.on.realtime);
        }
    }
    socket.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
    let mut answered = 0;
    let mut buffer = [0; 2_048];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        assert_eq!(from, server.on.session, "the realtime port answered");
        // QUIC may answer an unknown connection with a stateless reset, which is shorter.
        assert!(len < 1_200);
        answered += 1;
    }
    assert!(answered <= 11, "{answered} answers");
    let reasons = ["not_ours", "unknown_id", "rejected"];
    let counted: f64 = reasons.iter().map(|reason| server.drops(reason)).sum();
    // The socket discards datagrams that exceed its receive buffer, so they are not counted.
    assert!(counted >= (sent - 3) as f64, "{counted} of {sent} counted");
    witness.send_event(nucleus_client::session::To::All, 0, b"alive").await.unwrap();
    until(&witness, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let server = TestServer::start().await;
    let free = "127.0.0.1:0".parse().unwrap();
    for (session, realtime, name) in
        [(server.on.session, free, "session"), (free, server.on.realtime, "realtime")]
    {
        let config = Config { session, realtime, ..Config::default() };
        match Sockets::bind(&config) {
            Err(BindError::Taken { setting, .. }) => assert_eq!(setting, name),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a second server joined the group silently"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_after_joined_is_named() {
    let server = TestServer::start().await;
    let group = EventUp {
        target: session::TO_GROUP,
        channel: 0,
        piece: 0,
        peers: vec![1, 2],
        payload: Vec::new(),
    };
    let faults = [
        (
            session::encode(&Leave { code: 0 }),
            "Leave is malformed, or does not belong on this stream",
        ),
        (session::encode(&group), "an event to a group must name one group, 0 to 239"),
        (
            session::encode(&EventUp { target: 99, ..group.clone() }),
            "the target of EventUp is unknown, or not allowed on this lane",
        ),
        (
            session::encode(&EventUp { piece: 1, target: TO_OTHERS, ..group.clone() }),
            "the field piece of EventUp has bits that this lane does not allow",
        ),
    ];
    for (message, expected) in faults {
        let connection = raw(&server).await;
        let (mut control, mut receive) = connection.open_bi().await.unwrap();
        control.write_all(&[hello(b"test"), join_message(&server)].concat()).await.unwrap();
        // `Welcome` and the start of `Joined`.
        let mut read = [0; 200];
        receive.read_exact(&mut read).await.unwrap();
        let mut events = connection.open_uni().await.unwrap();
        events.write_all(&[&[stream::EVENTS][..], &message].concat()).await.unwrap();
        let (code, reason) = close_of(&connection).await;
        assert_eq!((code, &*reason), (Some(Code::Malformed), expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_more_than_128_bytes_is_refused() {
    let server = TestServer::start().await;
    for (len, expected) in [(128, None), (129, Some(Code::Malformed))] {
        let connection = raw(&server).await;
        let (mut control, mut receive) = connection.open_bi().await.unwrap();
        control
            .write_all(&[hello(&vec![b'a'; len]), join_message(&server)].concat())
            .await
            .unwrap();
        let mut read = [0; 200];
        let joined = receive.read_exact(&mut read).await.is_ok();
        assert_eq!(joined, expected.is_none(), "{len} bytes");
        if let Some(code) = expected {
            assert_eq!(close_code(&connection.closed().await), Some(code));
        }
    }
}
