//! A browser in which a person fills in forms.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use nucleus_control::http::OverTls;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{Answer, LOCAL, World};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A browser that keeps the cookie of a session, and the one of a single sign-on.
pub(crate) struct Browser<'a> {
    pub(crate) world: &'a World,
    pub(crate) cookie: Option<String>,
    pub(crate) flow: Option<String>,
    /// Its network address.
    pub(crate) ip: &'static str,
    /// Headers that say where a request comes from.
    pub(crate) site: Vec<(&'static str, &'static str)>,
    pub(crate) over_tls: bool,
    pub(crate) accept: &'static str,
}

/// What a browser sees of the answer to a form.
#[derive(Debug)]
pub(crate) struct FormAnswer {
    pub(crate) status: StatusCode,
    /// Where the browser goes on.
    pub(crate) location: String,
    pub(crate) set_cookie: String,
    pub(crate) text: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self {
            world,
            cookie: None,
            flow: None,
            ip: "192.0.2.1",
            site: vec![("sec-fetch-site", "same-origin")],
            over_tls: false,
            accept: "text/html",
        }
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let from: SocketAddr = format!("{}:50000", self.ip).parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "nucleus.example.com")
            .header(header::ACCEPT, self.accept)
            .header(header::USER_AGENT, "a browser/1.0")
            .extension(ConnectInfo(from))
            .extension(OverTls(self.over_tls));
        for (name, value) in &self.site {
            request = request.header(*name, *value);
        }
        for cookie in self.cookie.iter().chain(&self.flow) {
            request = request.header(header::COOKIE, cookie);
        }
        request
    }

    /// Sends a form, and keeps the cookie.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> FormAnswer {
        let body = serde_urlencoded::to_string(fields).unwrap();
        let request = self
            .request("POST", path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        self.send(request.unwrap()).await
    }

    /// Follows a link, and keeps the cookies.
    pub(crate) async fn get(&mut self, path: &str) -> FormAnswer {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    /// Opens a stream as a page does. Returns its status, and its body.
    pub(crate) async fn stream(&self, path: &str) -> (StatusCode, Body) {
        let request = self.request("GET", path).header("hx-request", "true");
        let request = request.body(Body::empty()).unwrap();
        let response = self.world.router().oneshot(request).await.unwrap();
        (response.status(), response.into_body())
    }

    /// Returns the head of the answer to a link.
    pub(crate) async fn headers(&mut self, path: &str) -> HeaderMap {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.world.router().oneshot(request).await.unwrap().headers().clone()
    }

    async fn send(&mut self, request: Request<Body>) -> FormAnswer {
        let response = self.world.router().oneshot(request).await.unwrap();
        let location = response.headers().get(header::LOCATION);
        let location = location.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let mut set_cookie = String::new();
        for line in response.headers().get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap().to_owned();
            let pair = line.split(';').next().unwrap().to_owned();
            let kept = (!pair.ends_with("nucleus=") && !pair.ends_with("-flow=")).then_some(pair);
            if line.contains("-flow=") {
                self.flow = kept;
            } else {
                self.cookie = kept;
                set_cookie = line;
            }
        }
        let Answer { status, text, .. } = Answer::of(response).await;
        FormAnswer { status, location, set_cookie, text }
    }

    /// Signs in, and returns where the browser goes on.
    pub(crate) async fn sign_in(&mut self, email: &str, password: &str, code: &str) -> String {
        let fields = [("email", email), ("password", password), ("code", code)];
        let answer = self.post("/signin", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        answer.location
    }

    /// Asks the API with the cookie.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = self.request(method, &format!("/api/v1{path}"));
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
        };
        self.world.send(request.unwrap()).await
    }
}

/// Makes a person with [`PASSWORD`], and returns the id.
pub(crate) async fn person(world: &World, email: &str, role: &str, tenant: Option<&str>) -> String {
    let body = json!({"email": email, "role": role, "tenant": tenant, "password": PASSWORD});
    let answer = world.ask("POST", "/people", LOCAL, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Makes a person who may sign in, and signs in.
pub(crate) async fn signed_in<'a>(
    world: &'a World,
    email: &str,
    role: &str,
    tenant: Option<&str>,
) -> Browser<'a> {
    person(world, email, role, tenant).await;
    let mut browser = Browser::new(world);
    let next = browser.sign_in(email, PASSWORD, "").await;
    assert_eq!(next, "/", "signed in");
    browser
}
