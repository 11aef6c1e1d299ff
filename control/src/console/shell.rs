//! What stands around a page, of which the reader alone decides.

use nucleus_console::{MenuPlace, MenuRole, PageShell, ShownName, Theme};

use crate::api::Viewer;
use crate::people::PersonRole;

/// Returns what stands around a page, without what the API must be asked for.
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
