//! Bans of a tenant: the user's sessions end, and no other one begins.

use nucleus_client::{Code, ConnectError, JoinError, connect};
use serde_json::{Value, json};

use crate::control::{Api, closed};
use crate::support::TestServer;

/// The code with which a join of this user is refused; `None`: it is admitted.
async fn refused(server: &TestServer, user: &str) -> Option<Code> {
    match connect(server.options(server.token(user))).await.map(drop) {
        Ok(()) => None,
        Err(ConnectError::Join(JoinError::Refused { code, .. })) => code,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_is_thrown_out_everywhere_and_stays_out() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let (_, tenant) = api.send("POST", "/tenants", json!({"name": "tenant"})).await;
    let eve = server.join("eve").await;
    let second = connect(server.options(server.token("eve")).room("second")).await.unwrap();
    let body = json!({"tenant": tenant["id"], "user": "eve", "reason": "noise"});
    let (status, ban) = api.send("POST", "/bans", body).await;
    assert_eq!(status, 201, "{ban}");
    for room in [&eve, &second] {
        assert_eq!(closed(room).await, Some(Code::Kicked));
    }
    assert_eq!(refused(&server, "eve").await, Some(Code::Kicked));
    assert_eq!(refused(&server, "ada").await, None);
    let path = format!("/bans/{}", ban["id"].as_str().unwrap());
    assert_eq!(api.send("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(refused(&server, "eve").await, None, "the ban is lifted");
}
