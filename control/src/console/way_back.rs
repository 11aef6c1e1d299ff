//! Where somebody goes on after an error.

use nucleus_console::MenuPlace;

/// A page to go back to, and its entry in the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WayBack {
    pub(super) path: String,
    pub(super) place: Option<MenuPlace>,
}

/// Returns the page to go back to from `path`: if `item_exists`, the page of the room, person or other item that the
/// path names, else the list of such items.
pub(super) fn way_back(path: &str, item_exists: bool) -> WayBack {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (list, place) = match parts.next().unwrap_or_default() {
        "rooms" | "rooms.csv" => ("/rooms", MenuPlace::Rooms),
        "calls" => ("/calls", MenuPlace::Calls),
        "bans" => ("/bans", MenuPlace::Bans),
        "sessions" => ("/sessions", MenuPlace::Sessions),
        "audit" | "audit.csv" => ("/audit", MenuPlace::Audit),
        "tenants" => ("/tenants", MenuPlace::Tenants),
        "keys" | "issuers" => ("/keys", MenuPlace::Tenants),
        "webhooks" => ("/webhooks", MenuPlace::Webhooks),
        "people" => ("/people", MenuPlace::Accounts),
        "account" => ("/account", MenuPlace::Account),
        "network" => ("/network", MenuPlace::Network),
        _ => return WayBack { path: "/".to_owned(), place: None },
    };
    // Only these have a page for each of their items.
    let has_pages = matches!(list, "/rooms" | "/sessions" | "/tenants" | "/webhooks" | "/people");
    let path = match parts.next() {
        Some(id) if item_exists && has_pages => format!("{list}/{id}"),
        _ => list.to_owned(),
    };
    WayBack { path, place: Some(place) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_to_the_thing_or_to_its_list() {
        let path = |path: &str, item_exists: bool| way_back(path, item_exists).path;
        assert_eq!(path("/rooms/r1/peers/p/kick", true), "/rooms/r1");
        assert_eq!(path("/rooms/r1", false), "/rooms");
        assert_eq!(path("/sessions/s1", false), "/sessions");
        assert_eq!(path("/issuers/i1/delete", true), "/keys");
        assert_eq!(path("/keys/k1/revoke", true), "/keys");
        assert_eq!(path("/audit.csv", false), "/audit");
        for elsewhere in ["/", "/nowhere", "//evil.example", "/drain"] {
            assert_eq!(path(elsewhere, true), "/", "{elsewhere}");
        }
    }
}
