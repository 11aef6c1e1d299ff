//! What stands around every screen: the head of the document, the menu, the reader.

use crate::assets;
use crate::markup::{Mark, Markup};
use crate::name::ShownName;
use crate::quantity::Quantity;

/// What the reader may do. Acts that a reader may not do are not shown; the server refuses them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MenuRole {
    /// Everything, on the whole server.
    SuperAdmin,
    /// Everything of one tenant.
    PartnerAdmin,
    /// Acts on rooms and participants, but no settings.
    Operator,
    /// Reads.
    Viewer,
}

impl MenuRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::SuperAdmin, Self::PartnerAdmin, Self::Operator, Self::Viewer];

    /// Returns the role of a name, as `super_admin`; none: there is no such role.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns the name, as in forms.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super_admin",
            Self::PartnerAdmin => "partner_admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Returns the role's name for readers.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::SuperAdmin => "Super administrator",
            Self::PartnerAdmin => "Partner administrator",
            Self::Operator => "Operator",
            Self::Viewer => "Viewer",
        }
    }

    /// Whether the reader may act on rooms and participants.
    #[must_use]
    pub fn may_operate(self) -> bool {
        self != Self::Viewer
    }

    /// Whether the reader may change settings: keys, webhooks, people.
    #[must_use]
    pub fn may_manage(self) -> bool {
        matches!(self, Self::SuperAdmin | Self::PartnerAdmin)
    }
}

/// The colours, as the reader chose them. The cookie [`Theme::COOKIE`] keeps the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The name of the cookie, which `ui.js` sets.
    pub const COOKIE: &'static str = "nucleus-theme";

    /// Reads the value of the cookie. Any other value means [`Theme::System`].
    #[must_use]
    pub fn from_cookie(value: Option<&str>) -> Self {
        match value {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    /// Returns the attribute of `<html>`, with a space before it, or nothing.
    #[must_use]
    pub fn attribute(self) -> Markup {
        Markup::trusted(
            match self {
                Self::System => "",
                Self::Light => " data-theme=\"light\"",
                Self::Dark => " data-theme=\"dark\"",
            }
            .to_owned(),
        )
    }
}

/// A screen of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MenuPlace {
    /// The server at a glance.
    Overview,
    /// Live rooms.
    Rooms,
    /// Calls.
    Calls,
    /// Users who may join no room.
    Bans,
    /// Sessions.
    Sessions,
    /// Who did what.
    Audit,
    /// Customers, with their keys and issuers.
    Tenants,
    /// Addresses that are told of events.
    Webhooks,
    /// Those who may sign in here.
    Accounts,
    /// Ports and addresses.
    Network,
    /// The reader's own account.
    Account,
}

/// What every page with a menu has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageShell {
    /// The title of the page, in front of the product's name.
    pub title: String,
    /// The path under which the dashboard is served, without a `/` at its end; empty: the root.
    pub base: String,
    /// The entry of the menu that is marked.
    pub place: Option<MenuPlace>,
    /// What the reader may do.
    pub role: MenuRole,
    /// Whether the reader sees the whole server, not one tenant.
    pub sees_server: bool,
    /// Who reads.
    pub reader: ShownName,
    /// The colours.
    pub theme: Theme,
    /// Live rooms.
    pub rooms: Option<u64>,
    /// Live calls.
    pub calls: Option<u64>,
    /// What came of the act before, as "Room locked".
    pub notice: Option<Mark>,
}

/// A heading of the menu and its entries.
pub(crate) struct MenuGroup {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) entries: Vec<MenuEntry>,
}

pub(crate) struct MenuEntry {
    pub(crate) href: String,
    pub(crate) icon: Markup,
    pub(crate) title: &'static str,
    pub(crate) count: Quantity,
    pub(crate) is_current: bool,
}

impl PageShell {
    /// Returns the path of an asset.
    pub(crate) fn asset(&self, name: &str) -> String {
        format!("{}{}", self.base, assets::path(name))
    }

    /// Returns the menu. What the reader may not open is left out.
    pub(crate) fn menu(&self) -> Vec<MenuGroup> {
        let entry = |place, path: &str, title, icon, count: Option<u64>| MenuEntry {
            href: format!("{}{path}", self.base),
            icon: svg_icon(icon),
            title,
            count: Quantity::count(count),
            is_current: self.place == Some(place),
        };
        let now = vec![
            entry(MenuPlace::Overview, "/", "Overview", icons::PULSE, None),
            entry(MenuPlace::Rooms, "/rooms", "Rooms", icons::ROOMS, self.rooms),
            entry(MenuPlace::Calls, "/calls", "Calls", icons::CALL, self.calls),
            entry(MenuPlace::Bans, "/bans", "Bans", icons::BAR, None),
        ];
        let mut past =
            vec![entry(MenuPlace::Sessions, "/sessions", "Sessions", icons::SESSIONS, None)];
        let mut setup = Vec::new();
        if self.role.may_operate() {
            past.push(entry(MenuPlace::Audit, "/audit", "Audit", icons::PAPER, None));
        }
        if self.role.may_manage() {
            setup.push(entry(MenuPlace::Tenants, "/tenants", "Tenants and keys", icons::KEY, None));
            setup.push(entry(MenuPlace::Webhooks, "/webhooks", "Webhooks", icons::HOOK, None));
            setup.push(entry(MenuPlace::Accounts, "/people", "People", icons::PERSONS, None));
        }
        setup.push(entry(MenuPlace::Network, "/network", "Network", icons::GLOBE, None));
        vec![
            MenuGroup { id: "n1", title: "Now", entries: now },
            MenuGroup { id: "n2", title: "Past", entries: past },
            MenuGroup { id: "n3", title: "Setup", entries: setup },
        ]
    }
}

fn svg_icon(shapes: &str) -> Markup {
    Markup::trusted(format!(
        "<svg class=\"i\" viewBox=\"0 0 16 16\" aria-hidden=\"true\">{shapes}</svg>"
    ))
}

mod icons {
    pub(super) const PULSE: &str = r#"<path d="M2.5 8.5h3l1.5-5 2.5 9 1.5-4h2.5"/>"#;
    pub(super) const ROOMS: &str = r#"<rect x="2.5" y="2.5" width="4.5" height="4.5" rx="1"/><rect x="9" y="2.5" width="4.5" height="4.5" rx="1"/><rect x="2.5" y="9" width="4.5" height="4.5" rx="1"/><rect x="9" y="9" width="4.5" height="4.5" rx="1"/>"#;
    pub(super) const CALL: &str = r#"<path d="M3 3.5c0 5.500 4 9.500 9.500 9.500l1-2.700-3-1.300-1.200 1.300C7.500 9.500 6.500 8.500 5.700 6.700L7 5.500l-1.300-3z"/>"#;
    pub(super) const BAR: &str =
        r#"<circle cx="8" cy="8" r="5.500"/><path d="M4.200 4.200l7.600 7.600"/>"#;
    pub(super) const SESSIONS: &str = r#"<path d="M1.500 8h2m3.500 0h2m3.500 0h2"/><circle cx="5.200" cy="8" r="1.700"/><circle cx="10.800" cy="8" r="1.700"/>"#;
    pub(super) const PAPER: &str =
        r#"<path d="M4 2.500h6l2.500 2.500v8.500H4z"/><path d="M6 7h4.500M6 9.500h4.500"/>"#;
    pub(super) const KEY: &str = r#"<circle cx="5.500" cy="10.500" r="2.700"/><path d="M7.500 8.500l5.500-5.500M11 5l1.500 1.500"/>"#;
    pub(super) const HOOK: &str =
        r#"<path d="M3 8h7"/><path d="M8 5l3 3-3 3"/><circle cx="13" cy="8" r="1"/>"#;
    pub(super) const PERSONS: &str = r#"<circle cx="6" cy="5.500" r="2.500"/><path d="M1.500 13.500a4.500 4.500 0 0 1 9 0M11 3.200a2.500 2.500 0 0 1 0 4.600M12.300 10a4.500 4.500 0 0 1 2.200 3.500"/>"#;
    pub(super) const GLOBE: &str = r#"<circle cx="8" cy="8" r="5.500"/><path d="M2.500 8h11M8 2.500c2 1.600 2.700 3.400 2.700 5.500S10 11.900 8 13.500C6 11.900 5.300 10.100 5.300 8S6 4.100 8 2.500"/>"#;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(role: MenuRole) -> Vec<&'static str> {
        let shell = PageShell {
            title: String::new(),
            base: "/nucleus".to_owned(),
            place: Some(MenuPlace::Rooms),
            role,
            sees_server: true,
            reader: ShownName::new("m@example.org"),
            theme: Theme::System,
            rooms: Some(5_000),
            calls: None,
            notice: None,
        };
        let menu = shell.menu();
        assert!(menu[0].entries[1].is_current && menu[0].entries[1].href == "/nucleus/rooms");
        menu.iter().flat_map(|group| &group.entries).map(|entry| entry.title).collect()
    }

    #[test]
    fn the_menu_has_what_the_reader_may_open() {
        let reading = ["Overview", "Rooms", "Calls", "Bans", "Sessions", "Network"];
        assert_eq!(titles(MenuRole::Viewer), reading);
        assert_eq!(titles(MenuRole::Operator).len(), reading.len() + 1);
        assert_eq!(titles(MenuRole::PartnerAdmin), titles(MenuRole::SuperAdmin));
        assert!(titles(MenuRole::SuperAdmin).contains(&"People"));
    }

    #[test]
    fn only_known_themes_are_written() {
        let attribute = |value| Theme::from_cookie(value).attribute();
        assert_eq!(attribute(Some("dark")).as_str(), " data-theme=\"dark\"");
        for odd in [None, Some(""), Some("\"><script>"), Some("Dark")] {
            assert_eq!(attribute(odd).as_str(), "");
        }
    }

    #[test]
    fn roles_have_names() {
        for role in MenuRole::ALL {
            assert_eq!(MenuRole::from_name(role.name()), Some(role));
        }
        assert_eq!(MenuRole::from_name("root"), None);
    }
}
