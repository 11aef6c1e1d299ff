//! Requests that are wrong before any route looks at them.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use crate::world::{LOCAL, World};

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {LOCAL}"))
}

#[tokio::test]
async fn every_error_is_problem_details() {
    let world = World::new().await;
    let json = (header::CONTENT_TYPE, "application/json");
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(70_000));
    for (status, request) in [
        (404, request("GET", "/api/v1/nothing").body(Body::empty())),
        (405, request("DELETE", "/api/v1/tenants").body(Body::empty())),
        (415, request("POST", "/api/v1/tenants").body(Body::from("{}"))),
        (
            400,
            request("POST", "/api/v1/tenants").header(json.0.clone(), json.1).body(Body::from("{")),
        ),
        (413, request("POST", "/api/v1/tenants").header(json.0, json.1).body(Body::from(large))),
        (401, Request::get("/api/v1/tenants").body(Body::empty())),
        (400, request("GET", "/api/v1/rooms?order=size").body(Body::empty())),
        (400, request("GET", "/api/v1/tenants/%ff").body(Body::empty())),
    ] {
        let answer = world.send(request.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.kind, "application/problem+json", "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn both_spellings_of_the_address_answer() {
    let world = World::new().await;
    for path in ["/api/v1/tenants", "/Api/v1/tenants"] {
        let answer = world.send(request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    }
}
