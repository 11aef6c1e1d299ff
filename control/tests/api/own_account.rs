//! The page of the own account: the authenticator app is set up and switched off.

use axum::http::StatusCode;
use nucleus_control::Timestamp;
use nucleus_control::people::TotpSecret;

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

const ADA: &str = "ada@example.com";

fn code(world: &World, secret: &TotpSecret) -> String {
    secret.code_at(Timestamp::from_seconds(*world.now.lock().unwrap()))
}

/// What stands between two texts of a page.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = page.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {page}"));
    rest.split_once(end).unwrap().0
}

fn shown_secret(page: &str) -> String {
    between(page, "<pre><code>", "</code>").replace(' ', "")
}

/// Sets up an app by the page.
async fn set_up(world: &World, browser: &mut Browser<'_>) -> TotpSecret {
    let page = browser.get("/account?totp=new").await;
    let text = shown_secret(&page.text);
    let secret = TotpSecret::parse(&text).unwrap();
    let enrolment = between(&page.text, "name=\"enrolment\" value=\"", "\"").to_owned();
    let fields = [("enrolment", enrolment.as_str()), ("code", "000000")];
    let wrong = browser.post("/account/totp", &fields).await;
    let again = browser.get(&wrong.location).await;
    assert_eq!(shown_secret(&again.text), text, "a wrong code makes no new secret");
    assert!(again.text.contains("This code is wrong or was used."), "{again:?}");
    let code = code(world, &secret);
    let fields = [("enrolment", enrolment.as_str()), ("code", code.as_str())];
    let done = browser.post("/account/totp", &fields).await;
    assert_eq!(done.location, "/account?done=totp");
    secret
}

#[tokio::test]
async fn the_page_draws_the_secret_for_a_camera() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let page = browser.get("/account?totp=new").await;
    assert!(page.text.contains("Scan the picture"), "{page:?}");
    let picture = between(&page.text, "<div class=\"picture\">", "</div>");
    assert!(picture.starts_with("<svg ") && picture.contains("fill=\"#000\""), "{picture}");
}

#[tokio::test]
async fn a_person_switches_the_own_app_off_with_password_and_code() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let off = async |browser: &mut Browser<'_>, password: &str, code: &str| {
        let fields = [("password", password), ("code", code)];
        browser.post("/account/totp/off", &fields).await.location
    };
    assert_eq!(off(&mut browser, PASSWORD, "000000").await, "/account?totp=off&failed=no_app");
    let secret = set_up(&world, &mut browser).await;
    let used = code(&world, &secret);
    *world.now.lock().unwrap() += 60;
    let mut other = Browser::new(&world);
    assert_eq!(other.sign_in(ADA, PASSWORD, &code(&world, &secret)).await, "/");
    *world.now.lock().unwrap() += 60;
    let now = code(&world, &secret);
    let wrong = off(&mut browser, "another password", &now).await;
    assert_eq!(wrong, "/account?totp=off&failed=wrong");
    let page = browser.get(&wrong).await;
    assert!(page.text.contains("id=\"totp_password-e\""), "{page:?}");
    for old in ["", "000000", used.as_str()] {
        let wrong = off(&mut browser, PASSWORD, old).await;
        assert_eq!(wrong, "/account?totp=off&failed=wrong_code", "{old}");
        *world.now.lock().unwrap() += 600;
    }
    let now = code(&world, &secret);
    assert_eq!(off(&mut browser, PASSWORD, &now).await, "/account?done=totp-off");
    let page = browser.get("/account").await;
    assert!(page.text.contains("Set up"), "it is off, and this session goes on: {page:?}");
    let ended = other.get("/account").await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER, "the other session has ended");
    assert_eq!(Browser::new(&world).sign_in(ADA, PASSWORD, "").await, "/");
    let audit = world.get("/audit", LOCAL).await;
    assert!(audit.text.contains("without authenticator app"), "{audit:?}");
}

#[tokio::test]
async fn guesses_at_the_form_that_switches_the_app_off_have_to_wait() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    set_up(&world, &mut browser).await;
    let mut last = String::new();
    for guess in 0..30 {
        let code = format!("{guess:06}");
        let fields = [("password", PASSWORD), ("code", code.as_str())];
        last = browser.post("/account/totp/off", &fields).await.location;
    }
    assert!(last.contains("failed=slow&wait="), "{last}");
}
