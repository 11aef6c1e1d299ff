//! Rooms and peers over the API.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use nucleus_core::control::RoomAct;
use nucleus_core::ids::{PeerId, RoomInstanceId};
use nucleus_protocol::session::value;
use serde_json::{Value, json};

use crate::world::{LOCAL, World};

const ACME: &str = "/rooms/0101010101010101";
const PEER: &str = "/peers/0101010101010101-7";

#[tokio::test]
async fn rooms_and_their_peers_are_shown() {
    let world = World::new().await;
    let all = world.get("/rooms", LOCAL).await.json();
    assert_eq!((&all["total"], all["items"].as_array().unwrap().len()), (&json!(2), 2));
    let found = world.get("/rooms?search=beta&order=peers", LOCAL).await.json();
    assert_eq!(found["items"][0]["name"], "beta lobby");
    let room = world.get(ACME, LOCAL).await.json();
    assert_eq!((&room["name"], &room["objects"]), (&json!("acme lobby"), &json!(3)));
    assert_eq!(room["members"][0]["id"], "0101010101010101-7");
    assert_eq!(room["members"][0]["resumes"], 1);
    for absent in ["/rooms/0303030303030303", "/rooms/x", "/rooms/0101010101010101-7"] {
        assert_eq!(world.get(absent, LOCAL).await.status, StatusCode::NOT_FOUND, "{absent}");
    }
}

#[tokio::test]
async fn figures_of_a_room_say_what_was_not_measured() {
    let world = World::new().await;
    let figures = world.get(&format!("{ACME}/stats"), LOCAL).await.json();
    assert_eq!((&figures["shard"], &figures["shard_answered"]), (&json!(0), &json!(true)));
    let peer = &figures["peers"][0];
    assert_eq!((&peer["user"], &peer["client"]), (&json!("acme-user"), &json!("a client/1.0")));
    assert_eq!((&peer["plane"], &peer["rtt_us"]), (&json!("fallback"), &json!(31_000)));
    assert_eq!((&peer["loss_in_ppm"], &peer["speaking"]), (&json!(0), &json!(true)));
    for unknown in ["jitter_us", "loss_out_ppm", "session_loss_ppm"] {
        assert!(peer.get(unknown).is_some_and(Value::is_null), "{unknown}: {peer}");
    }
    let total = &figures["total"];
    assert_eq!(total["worst_loss_in_ppm"], json!(0), "of the one that is known");
    assert!(total.get("worst_loss_out_ppm").is_some_and(Value::is_null), "{total}");
    assert_eq!((&total["peers"], &total["on_fallback"]), (&json!(1), &json!(1)));
    assert_eq!((&total["bytes_out"], &total["withheld"]), (&json!(600), &json!(7)));
    for absent in ["/rooms/0303030303030303/stats", "/rooms/x/stats"] {
        assert_eq!(world.get(absent, LOCAL).await.status, StatusCode::NOT_FOUND, "{absent}");
    }
}

#[tokio::test]
async fn acts_reach_the_planes_and_the_audit() {
    let world = World::new().await;
    for (path, body) in [
        (format!("{ACME}/lock"), json!({"on": true})),
        (format!("{ACME}/hide"), json!({"on": false})),
        (format!("{PEER}/mute"), json!({"on": true})),
        (format!("{PEER}/kick"), json!({"ban_seconds": 60})),
        (format!("{ACME}/close"), Value::Null),
    ] {
        let answer = world.ask("POST", &path, LOCAL, body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}: {answer:?}");
    }
    let room = RoomInstanceId([1; 8]);
    let expected = [
        RoomAct::Lock(true),
        RoomAct::Hide(false),
        RoomAct::Mute(PeerId(7), true),
        RoomAct::Kick(PeerId(7), Duration::from_secs(60)),
        RoomAct::Close,
    ];
    assert_eq!(*world.acts.lock().unwrap(), expected.map(|act| (room, act)));
    let audit = world.get("/audit", LOCAL).await.json();
    let acts: Vec<_> = audit["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(acts.len(), 5, "{audit}");
    assert!(audit.to_string().contains("acme lobby: acme-user"), "{audit}");
    assert!(!audit.to_string().contains("already"), "{audit}");
    let again = world.ask("POST", &format!("{ACME}/lock"), LOCAL, json!({"on": false})).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT, "{again:?}");
    let audit = world.get("/audit", LOCAL).await.text;
    assert!(audit.contains("acme lobby, listed as unlocked already"), "{audit}");
    let long =
        world.ask("POST", &format!("{PEER}/kick"), LOCAL, json!({"ban_seconds": 86_401})).await;
    assert_eq!(long.status, StatusCode::UNPROCESSABLE_ENTITY, "{long:?}");
    let nobody = world.ask("POST", "/peers/0101010101010101-8/kick", LOCAL, json!({})).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND, "{nobody:?}");
}

#[tokio::test]
async fn who_is_kept_out_is_let_in_again() {
    let world = World::new().await;
    let lift = async |path: &str| world.ask("DELETE", path, LOCAL, Value::Null).await;
    let odd = format!("{ACME}/bans/acme%2Fzo%C3%AB%20%22%2520%22%3F");
    let decomposed = odd.replace("%C3%AB", "e%CC%88");
    for path in [&format!("{ACME}/bans/acme-kept-out"), &odd, &decomposed] {
        let answer = lift(path).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}: {answer:?}");
    }
    let user = "acme/zoë \"%20\"?".to_owned();
    let expected = ["acme-kept-out".to_owned(), user.clone(), user.clone()];
    let expected = expected.map(|user| (RoomInstanceId([1; 8]), RoomAct::Unban(user)));
    assert_eq!(*world.acts.lock().unwrap(), expected);
    let entry = world.get("/audit", LOCAL).await.json()["items"][0].clone();
    assert_eq!(entry["action"], "room.unban");
    assert_eq!(entry["detail"], format!("acme lobby: {user}"));
    for (path, what) in [
        (format!("{ACME}/bans/nobody"), "no such ban"),
        (format!("{ACME}/bans/acme-user"), "no such ban"),
        ("/rooms/0303030303030303/bans/acme-kept-out".to_owned(), "no such room"),
    ] {
        let absent = lift(&path).await;
        assert_eq!(absent.status, StatusCode::NOT_FOUND, "{path}: {absent:?}");
        assert!(absent.text.contains(what), "{path}: {absent:?}");
    }
    assert_eq!(lift(&format!("{ACME}/bans/%FF")).await.status, StatusCode::BAD_REQUEST);
    let audit = world.get("/audit", LOCAL).await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 3, "{audit}");
}

#[tokio::test]
async fn properties_are_shown_and_set_with_an_entry_in_the_audit() {
    let world = World::new().await;
    let path = format!("{ACME}/properties");
    assert_eq!(world.get(&path, LOCAL).await.json(), json!({"winner": "acme-user"}));
    let set = async |body: Value| world.ask("PATCH", &path, LOCAL, body).await;
    let done = set(json!({"score": 5, "winner": null})).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT, "{done:?}");
    let acts = world.acts.lock().unwrap().clone();
    let [(room, RoomAct::SetFields(fields))] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(*room, RoomInstanceId([1; 8]));
    let fields: Vec<_> = fields.iter().map(|field| (&*field.key, field.value.kind)).collect();
    assert_eq!(fields, [("score", value::INTEGER), ("winner", value::NONE)]);
    let entry = world.get("/audit", LOCAL).await.json()["items"][0].clone();
    assert_eq!(entry["action"], "room.properties");
    assert_eq!(entry["detail"], "acme lobby: score, winner", "the values are not noted");
    for wrong in
        [json!({}), json!([1]), json!({"": 1}), json!({"a": [1]}), json!({"a": "x".repeat(5_000)})]
    {
        let answer = set(wrong.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {answer:?}");
    }
    let raw = |text: &str| {
        let request = Request::patch(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
            .header(header::CONTENT_TYPE, "application/json");
        world.send(request.body(Body::from(text.to_owned())).unwrap())
    };
    for (text, named) in [
        (r#"{"a": 18446744073709551616}"#, "9223372036854775807"),
        (r#"{"a": {"base64": "%%"}}"#, "in Base64"),
    ] {
        let answer = raw(text).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}: {answer:?}");
        assert!(answer.text.contains(named), "{text}: {answer:?}");
    }
    let full = set(json!({"full": 1})).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let many = json!({"a".repeat(64): 1, "b\u{202e}".repeat(16): 2});
    assert_eq!(set(many).await.status, StatusCode::NO_CONTENT);
    let entry = world.get("/audit", LOCAL).await.json()["items"][0].clone();
    assert!(!entry["detail"].as_str().unwrap().contains('\u{202e}'), "{entry}");
    let absent =
        world.ask("PATCH", "/rooms/0303030303030303/properties", LOCAL, json!({"a": 1})).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");
}

#[tokio::test]
async fn a_plan_shows_heads_and_whose_link_suffers() {
    let world = World::new().await;
    let plan = world.get(&format!("{ACME}/plan"), LOCAL).await.json();
    assert_eq!((&plan["name"], &plan["poses_kept"]), (&json!("acme lobby"), &json!(true)));
    let head = &plan["heads"][0];
    assert_eq!(head["id"], "0101010101010101-7");
    let place = [&head["x"], &head["y"], &head["z"], &head["yaw"], &head["age_ms"]];
    let place = place.map(|number| number.as_f64().unwrap());
    assert!((place[0] - 1.5).abs() < 1e-3 && (place[1] - 1.7).abs() < 1e-3, "{head}");
    assert!((place[2] + 2.0).abs() < 1e-3 && place[3].abs() < 1e-3, "{head}");
    assert_eq!(
        (place[4], &head["speaking"], &head["suffers"]),
        (20.0, &json!(true), &json!(false))
    );
    assert_eq!(head["on_fallback"], true);
    let absent = world.get("/rooms/0303030303030303/plan", LOCAL).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{absent:?}");
}

#[tokio::test]
async fn a_tenant_that_nobody_knows_is_named_instead_of_an_empty_list() {
    let world = World::new().await;
    let gamma = world.tenant("gamma").await;
    for path in ["/rooms", "/calls", "/history/rooms", "/history/sessions", "/history/calls"] {
        let unknown = world.get(&format!("{path}?tenant=acmee"), LOCAL).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}: {unknown:?}");
        assert!(unknown.text.contains("no tenant acmee"), "{path}: {unknown:?}");
        let known = world.get(&format!("{path}?tenant=gamma"), LOCAL).await;
        assert_eq!(known.json()["items"], json!([]), "{path}");
        let key = world.key(Some(&gamma), &["read"]).await;
        let own = world.get(&format!("{path}?tenant=gamma"), &key).await;
        assert_eq!(own.json()["items"], json!([]), "{path}");
    }
    // It is in no database, and has a room.
    assert_eq!(world.get("/rooms?tenant=acme", LOCAL).await.json()["total"], 1);
}
