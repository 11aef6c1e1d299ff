//! Tests of creating, finding and matching rooms through the client's API.

use std::time::Duration;

use nucleus_client::{
    Batch, Code, ConnectError, ConnectOptions, EntityId, JoinError, Query, Room, RoomEvent,
    RoomInfo, RoomOptions, Social, SocialError, StateError, connect,
};
use nucleus_server::token::{Product, TokenRequest};

use crate::social::{enter_as, enter_with};
use crate::support::{TestServer, until};

async fn try_join(options: ConnectOptions) -> Result<Room, Option<Code>> {
    connect(options).await.map_err(|error| match error {
        ConnectError::Join(JoinError::Refused { code, .. }) => code,
        other => panic!("{other}"),
    })
}

async fn refused(options: ConnectOptions) -> Code {
    match try_join(options).await {
        Ok(room) => panic!("the client joined {}", room.name()),
        Err(code) => code.unwrap(),
    }
}

fn options(server: &TestServer, user: &str) -> ConnectOptions {
    ConnectOptions::new(server.on.session.to_string(), server.token(user))
}

fn host(server: &TestServer, user: &str) -> ConnectOptions {
    let role = "host".to_owned();
    let request = TokenRequest { role, ..TokenRequest::new(Product::ATOM, "tenant", user) };
    ConnectOptions::new(server.on.session.to_string(), server.token_with(request))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_made_once_and_joined_only_where_it_is() {
    let server = TestServer::start().await;
    let at = |user: &str| options(&server, user).room("den");
    assert_eq!(refused(at("b").join_only()).await, Code::NoSuchRoom);
    let maker = try_join(at("a").create()).await.unwrap();
    assert_eq!((maker.name(), refused(at("c").create()).await), ("den", Code::RoomExists));
    let visitor = try_join(at("b").join_only()).await.unwrap();
    assert_eq!(visitor.peers().len(), 1);
    maker.leave().await;
    visitor.leave().await;
    let again = async {
        while let Err(code) = try_join(at("c").create()).await {
            assert_eq!(code, Some(Code::RoomExists));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), again)
        .await
        .expect("the name must become free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_who_match_at_once_meet_in_one_room() {
    let server = TestServer::start().await;
    assert_eq!(refused(options(&server, "x").match_room(Query::new())).await, Code::NoSuchRoom);
    for round in 0..3 {
        let joins: Vec<_> = (0..10)
            .map(|n| {
                let version = format!("{round}");
                let options = options(&server, &format!("user-{n}")).version(version);
                tokio::spawn(try_join(options.match_or_create(Query::new())))
            })
            .collect();
        let mut rooms = Vec::new();
        for join in joins {
            rooms.push(join.await.unwrap().unwrap());
        }
        let names: std::collections::HashSet<_> = rooms.iter().map(Room::name).collect();
        assert_eq!(names.len(), 1, "round {round}");
        let name = rooms[0].name();
        assert!(name.starts_with("match-") && name.len() == 38, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_fill_rooms_by_capacity_and_ask_for_fields() {
    let server = TestServer::start().await;
    let on = |map: &str, level: i64| {
        let fields = RoomOptions::new().field("map", map).field("level", level);
        fields.listed(["map", "level"]).capacity(2)
    };
    let query = |map: &str| Query::new().equals("map", map).between("level", 3, 5.5);
    let find = |user: &str, map: &str| {
        options(&server, user).options(on(map, 4)).match_or_create(query(map))
    };
    let first = try_join(find("a", "shipyard")).await.unwrap();
    let second = try_join(find("b", "shipyard")).await.unwrap();
    let elsewhere = try_join(find("c", "social")).await.unwrap();
    let third = try_join(find("d", "shipyard")).await.unwrap();
    assert_eq!(first.name(), second.name());
    assert_ne!(first.name(), third.name(), "the first room is full");
    assert_ne!(first.name(), elsewhere.name());
    let map = first.field(EntityId::Room, "map");
    assert_eq!(map.as_ref().and_then(|map| map.value.as_text()), Some("shipyard"));

    // Matching soon uses the new value of a changed field.
    let chief = try_join(host(&server, "h").room(elsewhere.name())).await.unwrap();
    chief.change(Batch::new().set(EntityId::Room, "level", 6)).await.unwrap();
    chief.leave().await;
    let only = |user: &str| options(&server, user).match_room(query("social"));
    let stops_matching = async {
        while let Ok(room) = try_join(only("e")).await {
            room.leave().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), stops_matching)
        .await
        .expect("the room must stop matching");
    assert_eq!(refused(only("e")).await, Code::NoSuchRoom);
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_locked_and_other_peoples_rooms_are_not_matched() {
    let server = TestServer::start().await;
    let any = |user: &str| options(&server, user).match_room(Query::new());
    let make = |name: &str, options: RoomOptions| {
        host(&server, "host").room(name).options(options).create()
    };
    let _hidden = try_join(make("hidden", RoomOptions::new().hidden())).await.unwrap();
    let _locked = try_join(make("locked", RoomOptions::new().locked())).await.unwrap();
    let secret = make("secret", RoomOptions::new()).password("sesame");
    let _secret = try_join(secret).await.unwrap();
    let private = make("private", RoomOptions::new().by_invitation()).expect_users(["ada"]);
    let _private = try_join(private).await.unwrap();
    let of = |product, tenant: &str| {
        let request = TokenRequest::new(product, tenant, "stranger");
        ConnectOptions::new(server.on.session.to_string(), server.token_with(request))
    };
    let _others = try_join(of(Product::ATOM, "other").room("open")).await.unwrap();
    let _product = try_join(of(Product::ASSIST, "tenant").room("open")).await.unwrap();
    assert_eq!(refused(any("ada")).await, Code::NoSuchRoom);

    let at = |user: &str, room: &str| options(&server, user).room(room);
    assert_eq!(refused(at("ada", "locked")).await, Code::RoomLocked);
    assert_eq!(refused(at("ada", "secret")).await, Code::WrongPassword);
    assert_eq!(refused(at("ada", "secret").password("Sesame")).await, Code::WrongPassword);
    assert!(try_join(at("ada", "secret").password("sesame")).await.is_ok());
    assert_eq!(refused(at("eve", "private")).await, Code::NotInvited);
    assert!(try_join(at("ada", "private")).await.is_ok());
    assert!(try_join(at("ada", "hidden")).await.is_ok(), "joining by name is possible");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_an_application_do_not_meet() {
    let server = TestServer::start().await;
    let at = |user: &str, version: &str| options(&server, user).room("den").version(version);
    let old = try_join(at("a", "1.3")).await.unwrap();
    assert_eq!(refused(at("b", "1.4")).await, Code::Incompatible);
    assert_eq!(refused(options(&server, "b").room("den")).await, Code::Incompatible);
    let new = options(&server, "b").version("1.4").match_or_create(Query::new());
    let new = try_join(new).await.unwrap();
    let same = options(&server, "c").version("1.3").match_room(Query::new());
    assert_eq!(try_join(same).await.unwrap().name(), old.name());
    assert_ne!(new.name(), old.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_rooms_matches_those_alone() {
    let server = TestServer::start().await;
    let with = |user: &str, room: &str| {
        let room = Some(room.to_owned());
        let request = TokenRequest { room, ..TokenRequest::new(Product::ATOM, "tenant", user) };
        let token = server.token_with(request);
        ConnectOptions::new(server.on.session.to_string(), token).match_or_create(Query::new())
    };
    let _open = try_join(options(&server, "x").room("open")).await.unwrap();
    let lab = try_join(with("a", "lab-*")).await.unwrap();
    assert!(lab.name().starts_with("lab-match-"), "{}", lab.name());
    assert_eq!(try_join(with("b", "lab-*")).await.unwrap().name(), lab.name());
    let exact = try_join(with("c", "desk")).await.unwrap();
    assert_eq!((exact.name(), exact.peers().len()), ("desk", 0));
    let outside = with("d", "lab-*").room("open");
    assert_eq!(refused(outside).await, Code::RoomNotAllowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn friends_have_their_seats_and_a_room_outlives_a_break() {
    let server = TestServer::start().await;
    let ttl = RoomOptions::new().capacity(2).empty_ttl(Duration::from_secs(30));
    let maker = options(&server, "a").room("den").options(ttl.field("round", 3)).create();
    let maker = try_join(maker.expect_users(["friend"])).await.unwrap();
    assert_eq!(refused(options(&server, "b").room("den")).await, Code::RoomFull);
    let friend = try_join(options(&server, "friend").room("den")).await.unwrap();
    maker.leave().await;
    friend.leave().await;
    let back = try_join(options(&server, "b").room("den").join_only()).await.unwrap();
    // The state arrives after the join.
    if back.field(EntityId::Room, "round").is_none() {
        until(&back, |event| matches!(event, RoomEvent::State(_)).then_some(())).await;
    }
    let round = back.field(EntityId::Room, "round");
    assert_eq!(round.and_then(|round| round.value.as_integer()), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_room_stays_until_it_is_ended() {
    let server = TestServer::with(|config| config.limits.kept_rooms = 1).await;
    let kept = |user: &str, room: &str| {
        host(&server, user).room(room).options(RoomOptions::new().kept()).create()
    };
    let plain = options(&server, "a").room("den").options(RoomOptions::new().kept());
    assert_eq!(refused(plain).await, Code::Forbidden);
    let maker = try_join(kept("h", "den")).await.unwrap();
    assert_eq!(refused(kept("h", "other")).await, Code::TenantRooms);
    maker.leave().await;
    assert_eq!(refused(kept("h", "den")).await, Code::RoomExists);
    let visitor = try_join(options(&server, "a").match_room(Query::new())).await.unwrap();
    let chief = try_join(host(&server, "h").room("den")).await.unwrap();
    chief.hide(true).await.unwrap();
    // The session may end before the reply.
    let ended = chief.end().await;
    assert!(matches!(ended, Ok(()) | Err(StateError::Interrupted)), "{ended:?}");
    for room in [&visitor, &chief] {
        let code = until(room, |event| match event {
            RoomEvent::Closed { code, .. } => Some(code),
            _ => None,
        });
        assert_eq!(code.await, Some(Code::RoomEnded));
    }
    try_join(kept("h", "other")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_and_users_have_their_limits() {
    let server = TestServer::with(|config| {
        config.limits.tenant_rooms = 2;
        config.limits.tenant_sessions = 4;
        config.limits.user_sessions = 2;
    })
    .await;
    let at = |user: &str, room: &str| options(&server, user).room(room);
    let one = try_join(at("a", "one")).await.unwrap();
    let _two = try_join(at("a", "two")).await.unwrap();
    assert_eq!(refused(at("b", "three")).await, Code::TenantRooms);
    assert_eq!(refused(at("a", "one")).await, Code::UserSessions);
    let _more = (try_join(at("b", "one")).await.unwrap(), try_join(at("c", "one")).await.unwrap());
    assert_eq!(refused(at("d", "one")).await, Code::TenantFull);
    let request = TokenRequest::new(Product::ATOM, "other", "d");
    let other = ConnectOptions::new(server.on.session.to_string(), server.token_with(request));
    try_join(other.room("three")).await.unwrap();
    one.leave().await;
    let again = async {
        while let Err(code) = try_join(at("d", "one")).await {
            assert_eq!(code, Some(Code::TenantFull));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), again).await.expect("the seat must become free");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_does_not_make_all_the_rooms() {
    let server = TestServer::with(|config| {
        (config.limits.rooms, config.limits.tenant_rooms) = (3, 3);
        config.limits.user_sessions = 2;
    })
    .await;
    let long_lived = RoomOptions::new().empty_ttl(Duration::from_secs(60));
    let at = |user: &str, room: &str| options(&server, user).room(room).options(long_lived.clone());
    for room in ["one", "two"] {
        try_join(at("eve", room)).await.unwrap().leave().await;
    }
    let refused_to_eve = async {
        loop {
            // Sessions end a moment after their leaves.
            match try_join(at("eve", "one")).await {
                Ok(room) => break room.leave().await,
                Err(code) => assert_eq!(code, Some(Code::UserSessions)),
            }
        }
        refused(at("eve", "three")).await
    };
    let code = tokio::time::timeout(Duration::from_secs(5), refused_to_eve).await;
    assert_eq!(code.expect("joining an existing room must work"), Code::UserSessions);
    let _third = try_join(at("ada", "three")).await.unwrap();
    // The tenant's limit is checked before the server's.
    assert_eq!(refused(at("ada", "four")).await, Code::TenantRooms);
}

/// The parts of a listed room that the test compares.
#[derive(Debug, PartialEq)]
struct ListedRoom<'a> {
    name: &'a str,
    peers: u16,
    locked: bool,
    level: i64,
}

/// Waits until the watched rooms are these.
async fn wait_for_rooms(social: &Social, wanted: &[ListedRoom<'_>]) {
    let level = |room: &RoomInfo| room.fields[0].1.as_integer().unwrap();
    let found = async {
        loop {
            let rooms = social.rooms();
            let list = rooms.iter().map(|room| ListedRoom {
                name: &room.name,
                peers: room.peers,
                locked: room.locked,
                level: level(room),
            });
            if list.collect::<Vec<_>>() == wanted {
                return;
            }
            social.next().await.expect("the social session has closed");
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(10), found).await;
    assert!(found.is_ok(), "{:?} instead of {wanted:?}", social.rooms());
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_rooms_come_fill_lock_change_and_go() {
    let server = TestServer::start().await;
    let make = |user: &str, name: &str, level: i64| {
        let level = RoomOptions::new().field("level", level).listed(["level"]);
        host(&server, user).version("1").room(name).options(level)
    };
    let early = try_join(make("host", "early", 1)).await.unwrap();
    let other = try_join(make("host", "other", 1).version("2")).await.unwrap();
    let all = enter_as(&server, "watcher").await;
    all.watch_rooms("1", Query::new()).await.unwrap();
    let high = enter_as(&server, "picky").await;
    high.watch_rooms("1", Query::new().at_least("level", 2)).await.unwrap();
    wait_for_rooms(&all, &[ListedRoom { name: "early", peers: 1, locked: false, level: 1 }]).await;
    wait_for_rooms(&high, &[]).await;

    let late = try_join(make("h", "late", 5)).await.unwrap();
    let visitor = try_join(options(&server, "visitor").version("1").room("early")).await.unwrap();
    wait_for_rooms(
        &all,
        &[
            ListedRoom { name: "early", peers: 2, locked: false, level: 1 },
            ListedRoom { name: "late", peers: 1, locked: false, level: 5 },
        ],
    )
    .await;
    wait_for_rooms(&high, &[ListedRoom { name: "late", peers: 1, locked: false, level: 5 }]).await;
    early.lock(true).await.unwrap();
    early.change(Batch::new().set(EntityId::Room, "level", 3)).await.unwrap();
    wait_for_rooms(
        &all,
        &[
            ListedRoom { name: "early", peers: 2, locked: true, level: 3 },
            ListedRoom { name: "late", peers: 1, locked: false, level: 5 },
        ],
    )
    .await;
    wait_for_rooms(
        &high,
        &[
            ListedRoom { name: "early", peers: 2, locked: true, level: 3 },
            ListedRoom { name: "late", peers: 1, locked: false, level: 5 },
        ],
    )
    .await;
    late.hide(true).await.unwrap();
    wait_for_rooms(&high, &[ListedRoom { name: "early", peers: 2, locked: true, level: 3 }]).await;
    late.hide(false).await.unwrap();
    early.leave().await;
    visitor.leave().await;
    wait_for_rooms(&all, &[ListedRoom { name: "late", peers: 1, locked: false, level: 5 }]).await;
    // Another query replaces the first one.
    all.watch_rooms("2", Query::new()).await.unwrap();
    wait_for_rooms(&all, &[ListedRoom { name: "other", peers: 1, locked: false, level: 1 }]).await;
    drop((late, other));

    let request = TokenRequest::new(Product::ATOM, "stranger", "watcher");
    let stranger = enter_with(&server, server.token_with(request)).await;
    stranger.watch_rooms("1", Query::new()).await.unwrap();
    assert!(stranger.rooms().is_empty());
    let room = Some("la*".to_owned());
    let request = TokenRequest { room, ..TokenRequest::new(Product::ATOM, "tenant", "some") };
    let some = enter_with(&server, server.token_with(request)).await;
    let _seen = try_join(make("h2", "lab", 7)).await.unwrap();
    let _unseen = try_join(make("h2", "den", 7)).await.unwrap();
    some.watch_rooms("1", Query::new().equals("level", 7)).await.unwrap();
    wait_for_rooms(&some, &[ListedRoom { name: "lab", peers: 1, locked: false, level: 7 }]).await;
    let many = (0..9).fold(Query::new(), |query, _| query.equals("k", 1));
    assert!(matches!(some.watch_rooms("1", many).await, Err(SocialError::Limit(_))));
}
