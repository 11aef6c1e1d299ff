//! Strangers who guess passwords: they are slowed, they cost others nothing, and the audit has few entries.

use axum::http::StatusCode;
use nucleus_control::api::note_failed_sign_ins;
use nucleus_control::people::SignInOutcome;

use crate::browser::{Browser, PASSWORD, person};
use crate::world::{LOCAL, World};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn who_guesses_waits_and_is_in_the_audit_once() {
    let world = World::new().await;
    let ada = person(&world, ADA, "viewer", None).await;
    let mut stranger = Browser { ip: "203.0.113.9", ..Browser::new(&world) };
    let mut locations = Vec::new();
    for _ in 0..20 {
        locations.push(stranger.sign_in(ADA, "a wrong password", "").await);
    }
    let wrong = locations.iter().filter(|at| *at == "/signin?failed=wrong").count();
    let slow = locations.iter().filter(|at| *at == "/signin?failed=slow&wait=1").count();
    assert_eq!((wrong, slow), (6, 14), "{locations:?}");
    // Also the right password has to wait, or the wait would tell which one it is.
    assert_eq!(stranger.sign_in(ADA, PASSWORD, "").await, "/signin?failed=slow&wait=1");
    *world.now.lock().unwrap() += 1;
    assert_eq!(stranger.sign_in(ADA, "a wrong password", "").await, "/signin?failed=wrong");
    assert_eq!(stranger.sign_in(ADA, PASSWORD, "").await, "/signin?failed=slow&wait=2");

    let program = Browser { accept: "application/json", ..Browser::new(&world) };
    let mut program = Browser { ip: "203.0.113.9", ..program };
    let answer = program.post("/signin", &[("email", ADA), ("password", "a")]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
    assert!(answer.text.contains("Wait 2 s"), "{answer:?}");

    note_failed_sign_ins(&world.state).await.unwrap();
    note_failed_sign_ins(&world.state).await.unwrap();
    let audit = world.get("/audit", LOCAL).await.json();
    let entries = audit["items"].as_array().unwrap().iter();
    let failed: Vec<_> =
        entries.filter(|entry| entry["action"] == "person.sign_in_failed").collect();
    assert_eq!(failed.len(), 2, "one upon the person, one of refused attempts: {failed:?}");
    let upon = failed.iter().find(|entry| entry["target"] == *ada).unwrap();
    assert_eq!(upon["detail"], "failed attempts: 7");
    assert_eq!(upon["ip"], "203.0.113.9");
    // Ada's own sign-in is not in the way of anything.
    *world.now.lock().unwrap() += 2;
    assert_eq!(Browser::new(&world).sign_in(ADA, PASSWORD, "").await, "/");
}

#[tokio::test]
async fn every_attempt_is_counted_by_its_outcome() {
    let mut counters = None;
    let world = World::with(|settings| {
        counters = settings.sign_in.as_ref().map(|sign_in| sign_in.counters.clone());
    })
    .await;
    let counters = counters.unwrap();
    person(&world, ADA, "viewer", None).await;
    let mut browser = Browser::new(&world);
    browser.sign_in(ADA, PASSWORD, "").await;
    let mut stranger = Browser { ip: "203.0.113.9", ..Browser::new(&world) };
    for _ in 0..9 {
        stranger.sign_in(ADA, "a wrong password", "").await;
    }
    browser.get("/signin/oidc").await;
    let counted = SignInOutcome::ALL.map(|outcome| (outcome.name(), counters.get(outcome)));
    let expected = [
        ("signed_in", 1),
        ("wrong", 6),
        ("code_needed", 0),
        ("slowed", 3),
        ("busy", 0),
        ("provider_refused", 0),
        ("unavailable", 1),
    ];
    assert_eq!(counted, expected);
}

/// Fifty strangers at once, each from an address of its own.
#[tokio::test]
async fn a_crowd_of_strangers_is_refused_and_the_api_answers() {
    let world = World::new().await;
    person(&world, ADA, "viewer", None).await;
    let addresses: Vec<&'static str> =
        (0..200).map(|n| &*Box::leak(format!("198.51.100.{n}").into_boxed_str())).collect();
    let attempts = addresses.into_iter().enumerate().map(|(number, ip)| {
        let world = &world;
        async move {
            let mut stranger = Browser { ip, ..Browser::new(world) };
            stranger.sign_in(&format!("user{number}@example.com"), "a guess", "").await
        }
    });
    let attempts: Vec<_> = attempts.collect();
    let asking = async {
        let start = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(world.get("/rooms", LOCAL).await.status, StatusCode::OK);
        }
        start.elapsed()
    };
    let (locations, asked) = tokio::join!(join_all(attempts), asking);
    let busy = locations.iter().filter(|at| *at == "/signin?failed=busy").count();
    let wrong = locations.iter().filter(|at| *at == "/signin?failed=wrong").count();
    assert_eq!(busy + wrong, 200, "{locations:?}");
    assert!(busy > 100, "{busy} were refused at once");
    assert!(asked.as_secs() < 5, "the API took {asked:?}");
}

/// Runs futures at the same time on this thread.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, output) in &mut pinned {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if pinned.iter().any(|(_, output)| output.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(pinned.drain(..).filter_map(|(_, output)| output).collect())
    })
    .await
}
