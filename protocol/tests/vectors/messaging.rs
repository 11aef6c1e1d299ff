//! Vectors of subscriptions, throttling and moderation.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::fields::{Fields, archive, text};
use super::hex;

impl Fields for Subscribe {
    fn fields(&self) -> Json {
        json!({ "request": self.request, "groups": hex(&self.groups) })
    }
}

impl Fields for Throttled {
    fn fields(&self) -> Json {
        json!({ "what": self.what })
    }
}

impl Fields for Audit {
    fn fields(&self) -> Json {
        json!({ "act": self.act, "by": self.by, "peer": self.peer, "user": hex(&self.user),
                "seconds": self.seconds, "time": self.time })
    }
}

fn audits() -> Vec<Json> {
    let (by, time) = (2, 0x0123_4567_89ab_cdef);
    let nobody = Audit { act: act::CLEAR, by, peer: 0, user: Vec::new(), seconds: 0, time };
    let kick =
        Audit { act: act::KICK, peer: 70_000, user: text("u-18"), seconds: 600, ..nobody.clone() };
    vec![archive!("audit, kick", kick), archive!("audit, clear", nobody)]
}

fn subscriptions() -> Vec<Json> {
    let some = [0, 7, 8, 239].into_iter().filter_map(nucleus_protocol::groups::Group::new);
    let some: GroupSet = some.collect();
    vec![
        archive!("subscribe", Subscribe { request: 7, groups: some.0 }),
        archive!("subscribe to nothing", Subscribe { request: 8, groups: GroupSet::default().0 }),
    ]
}

/// Returns all vectors of this module.
pub(super) fn messages() -> Vec<Json> {
    let throttled = archive!("throttled", Throttled { what: throttled::SPEAKERS });
    [subscriptions(), vec![throttled], audits()].concat()
}
