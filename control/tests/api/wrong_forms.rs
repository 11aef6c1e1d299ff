//! Forms with values that do not fit, and addresses that are no pages: each answer is a page with the menu,
//! which says what is wrong.

use axum::http::StatusCode;

use crate::browser::signed_in;
use crate::world::World;

/// Words of the libraries that read forms and JSON.
const FOREIGN: [&str; 6] =
    ["variant", "expected ", "at line", "invalid type", "invalid digit", "Content-Type"];

/// A form, its fields, and words of the answer.
type WrongForm<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a str);

#[tokio::test]
async fn a_value_that_does_not_fit_is_named_in_words() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    world.tenant("acme").await;
    let room = "/rooms/0101010101010101";
    let peer = format!("{room}/peers/0101010101010101-7");
    let (kick, mute, lock) =
        (format!("{peer}/kick"), format!("{peer}/mute"), format!("{room}/lock"));
    let email = ("email", "ann@example.org");
    let cases: [WrongForm<'_>; 12] = [
        ("/people", vec![email, ("role", "emperor"), ("sees", "server")], "`role`"),
        (
            "/people",
            vec![email, ("role", "viewer"), ("sees", "tenant"), ("tenant", "none")],
            "none",
        ),
        ("/people", vec![("email", "x"), ("role", "viewer"), ("sees", "server")], "email"),
        ("/bans", vec![("tenant", "acme"), ("user", "u"), ("seconds", "abc")], "`seconds`"),
        ("/bans", vec![("tenant", "acme"), ("user", "u"), ("seconds", "-5")], "`seconds`"),
        ("/bans", vec![("tenant", "none"), ("user", "u")], "none"),
        (&kick, vec![("ban_seconds", "-5")], "`ban_seconds`"),
        (&kick, vec![("ban_seconds", "abc")], "`ban_seconds`"),
        (&mute, vec![("muted", "banana")], "`muted`"),
        (&lock, vec![("locked", "banana")], "`locked`"),
        (&lock, vec![], "`locked`"),
        ("/tenants", vec![("name", "beta"), ("max_rooms", "many")], "whole number"),
    ];
    for (form, fields, words) in cases {
        let answer = browser.post(form, &fields).await;
        let place = format!("{form} {fields:?}: {} {}", answer.status, answer.text);
        assert!(!answer.status.is_redirection() && !answer.status.is_server_error(), "{place}");
        assert!(answer.text.contains("<nav id=\"nav\"") && answer.text.contains(words), "{place}");
        for foreign in FOREIGN {
            assert!(!answer.text.contains(foreign), "{foreign}: {place}");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_no_page_leads_to_one() {
    let world = World::new().await;
    let mut browser = signed_in(&world, "root@example.org", "super_admin", None).await;
    for odd in ["/rooms/%FF", "/sessions/%FF", "/drain", "/rooms/a/lock", "/nowhere"] {
        let answer = browser.get(odd).await;
        assert!(answer.status.is_client_error(), "{odd}: {answer:?}");
        assert!(answer.text.contains("<nav id=\"nav\""), "{odd}: {answer:?}");
    }
    for (form, page) in
        [("/signout", "/"), ("/account/password", "/account"), ("/account/totp/off", "/account")]
    {
        let answer = browser.get(form).await;
        assert_eq!((answer.status, &*answer.location), (StatusCode::SEE_OTHER, page), "{form}");
    }
    assert_eq!(browser.get("/").await.status, StatusCode::OK, "opening /signout signs nobody out");
}

#[tokio::test]
async fn the_way_back_from_a_page_that_is_not_allowed_leads_elsewhere() {
    let world = World::new().await;
    let mut viewer = signed_in(&world, "ann@example.org", "viewer", None).await;
    let answer = viewer.get("/people").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    assert!(answer.text.contains("<a class=\"btn main\" href=\"/\">"), "{answer:?}");
}
