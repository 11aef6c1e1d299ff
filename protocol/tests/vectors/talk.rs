//! Messages that steer who hears what.

use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::*;
use serde_json::{Value as Json, json};

use super::hex;
use super::session::{Fields, archive};

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

fn subscriptions() -> Vec<Json> {
    let some = [0, 7, 8, 239].into_iter().filter_map(nucleus_protocol::groups::Group::new);
    let some: GroupSet = some.collect();
    vec![
        archive!("subscribe", Subscribe { request: 7, groups: some.0 }),
        archive!("subscribe to nothing", Subscribe { request: 8, groups: GroupSet::default().0 }),
    ]
}

/// All of them.
pub(super) fn messages() -> Vec<Json> {
    let throttled = archive!("throttled", Throttled { what: throttled::FLOOR });
    [subscriptions(), vec![throttled]].concat()
}
