//! Vectors of messages of sessions outside rooms.

use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::fields::{Fields, all, archive, strings, text};
use super::hex;

fn names(list: &[Vec<u8>]) -> Json {
    list.iter().map(|name| hex(name)).collect()
}

impl Fields for Enter {
    fn fields(&self) -> Json {
        json!({ "token": hex(&self.token), "name": hex(&self.name), "status": self.status })
    }
}

impl Fields for Entered {
    fn fields(&self) -> Json {
        json!({ "user": hex(&self.user), "name": hex(&self.name), "role": hex(&self.role),
                "server_time": self.server_time, "clock_epoch": self.clock_epoch,
                "server_instance": hex(&self.server_instance),
                "ring_ms": self.ring_ms, "call": self.call,
                "entries": strings(&self.entries), "settings": all(&self.settings) })
    }
}

impl Fields for WatchUsers {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "roles": names(&self.roles), "users": names(&self.users) })
    }
}

impl Fields for SetStatus {
    fn fields(&self) -> Json {
        json!({ "status": self.status })
    }
}

impl Fields for UserList {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "code": self.code, "whole": self.whole,
                "total": self.total, "users": all(&self.users), "gone": names(&self.gone) })
    }
}

impl Fields for UserInfo {
    fn fields(&self) -> Json {
        json!({ "user": hex(&self.user), "name": hex(&self.name), "role": hex(&self.role),
                "status": self.status })
    }
}

impl Fields for CallRequest {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "act": self.act, "call": self.call,
                "users": names(&self.users), "text": hex(&self.text) })
    }
}

impl Fields for CallReply {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "code": self.code, "call": self.call })
    }
}

impl Fields for CallUpdate {
    fn fields(&self) -> Json {
        json!({ "call": self.call, "kind": self.kind, "user": hex(&self.user),
                "name": hex(&self.name), "room": hex(&self.room), "code": self.code,
                "members": names(&self.members), "text": hex(&self.text) })
    }
}

pub(super) fn messages() -> Vec<Json> {
    [entering(), users(), calls()].concat()
}

fn entering() -> Vec<Json> {
    let token = text("eyJhbGciOiJFZERTQSJ9.e30.c2ln");
    let entered = Entered {
        user: text("u-17"),
        name: text("Zoë"),
        role: text("expert"),
        server_time: 0x0123_4567_89ab_cdef,
        clock_epoch: 0xfeed_beef,
        server_instance: [0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10],
        ring_ms: 30_000,
        call: 0x1_0000_0007,
        entries: vec![text("nucleus.example.com:5055")],
        settings: SessionSettings::default().list_of(SessionSettings::SOCIAL),
    };
    vec![
        archive!("enter", Enter { token, name: text("Zoë"), status: status::AWAY }),
        archive!("enter, everything empty", Enter { token: vec![], name: vec![], status: 0 }),
        archive!("entered", entered),
    ]
}

fn user_info(user: &str, name: &str, status: u8) -> UserInfo {
    UserInfo { user: text(user), name: text(name), role: text("expert"), status }
}

fn users() -> Vec<Json> {
    let watch = |roles, users| WatchUsers { request: 9, roles, users };
    let both =
        vec![user_info("u-17", "Zoë", status::ONLINE), user_info("u-18", "会議", status::BUSY)];
    let whole = UserList { request: 9, whole: 1, total: 2, users: both, ..UserList::default() };
    let gone = vec![text("u-17"), Vec::new(), text("u-18")];
    let refused = UserList { request: 9, code: Code::Forbidden as u16, ..UserList::default() };
    vec![
        archive!("watch users", watch(vec![text("expert")], vec![text("u-1"), text("u-2")])),
        archive!("watch users, everybody", watch(Vec::new(), Vec::new())),
        archive!("set status", SetStatus { status: status::BUSY }),
        archive!("user list, whole", whole.clone()),
        archive!("user list, changes", UserList { whole: 0, gone, ..whole }),
        archive!("user list, refused", refused),
    ]
}

fn calls() -> Vec<Json> {
    let act = |act, call, users| CallRequest { request: 3, act, call, users, text: Vec::new() };
    let users = vec![text("u-17"), text("u-18")];
    let start =
        CallRequest { text: text("pump 3 leaks"), ..act(call_act::START, 0, users.clone()) };
    let update = |kind, code| CallUpdate { call: 7, kind, code, ..CallUpdate::default() };
    let incoming = CallUpdate {
        user: text("u-16"),
        name: text("Ada"),
        members: vec![text("u-16")],
        text: text("pump 3 leaks"),
        ..update(call_update::INCOMING, 0)
    };
    let accepted = CallUpdate {
        room: text("call-000102030405060708090a0b0c0d0e0f"),
        members: users.clone(),
        ..update(call_update::ACCEPTED, 0)
    };
    vec![
        archive!("call: start", start),
        archive!("call: accept", act(call_act::ACCEPT, u64::MAX, Vec::new())),
        archive!("call: add", act(call_act::ADD, 7, vec![text("u-19")])),
        archive!("call reply", CallReply { request: 3, code: 0, call: 7 }),
        archive!("call reply, refused", CallReply { request: 3, code: Code::Busy as u16, call: 0 }),
        archive!("call update: incoming", incoming),
        archive!("call update: accepted", accepted),
        archive!("call update: ended", update(call_update::ENDED, Code::Declined as u16)),
    ]
}
