//! The frame of a page, as far as it depends on the reader alone.

use nucleus_console::{MenuPlace, MenuRole, PageShell, ShownName, Theme};

use crate::api::Viewer;
use crate::people::PersonRole;

/// Returns the frame of a page for a reader, without the counts in the menu, for which the API must be asked.
pub(super) fn shell(
    viewer: &Viewer,
    theme: Theme,
    title: &str,
    place: Option<MenuPlace>,
) -> PageShell {
    PageShell {
        title: title.to_owned(),
        base: String::new(),
        place,
        role: menu_role(viewer.role),
        sees_server: viewer.tenant.is_none(),
        reader: ShownName::new(viewer.email.as_str()),
        theme,
        rooms: None,
        calls: None,
        notice: None,
    }
}

/// Returns the role as the pages name it.
pub(super) fn menu_role(role: PersonRole) -> MenuRole {
    match role {
        PersonRole::SuperAdmin => MenuRole::SuperAdmin,
        PersonRole::PartnerAdmin => MenuRole::PartnerAdmin,
        PersonRole::Operator => MenuRole::Operator,
        PersonRole::Viewer => MenuRole::Viewer,
    }
}
