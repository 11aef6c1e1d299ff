//! The roles of people, and what each allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::scope::Scope;

/// What a person who signs in may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonRole {
    /// Everything on the whole server.
    SuperAdmin,
    /// Everything within one tenant.
    PartnerAdmin,
    /// See everything, and act on rooms and peers: of one tenant, or of the whole server.
    Operator,
    /// See everything: of one tenant, or of the whole server.
    Viewer,
}

impl PersonRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::SuperAdmin, Self::PartnerAdmin, Self::Operator, Self::Viewer];

    /// Returns the name that the API and the database use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super_admin",
            Self::PartnerAdmin => "partner_admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Returns what the role allows.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::SuperAdmin | Self::PartnerAdmin => &Scope::ALL,
            Self::Operator => &[Scope::Read, Scope::Operate],
            Self::Viewer => &[Scope::Read],
        }
    }

    /// Whether a person of one tenant may have the role.
    pub const fn may_be_of_tenant(self) -> bool {
        !matches!(self, Self::SuperAdmin)
    }

    /// Whether a person of the whole server may have the role.
    pub const fn may_be_of_server(self) -> bool {
        !matches!(self, Self::PartnerAdmin)
    }
}

impl fmt::Display for PersonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of super_admin, partner_admin, operator, viewer")]
pub struct NotARole;

impl FromStr for PersonRole {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(NotARole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_allow_what_the_table_says() {
        use Scope::{Manage, Operate, Read, Tokens};
        let table: [(&str, &[Scope], bool, bool); 4] = [
            ("super_admin", &[Read, Operate, Tokens, Manage], false, true),
            ("partner_admin", &[Read, Operate, Tokens, Manage], true, false),
            ("operator", &[Read, Operate], true, true),
            ("viewer", &[Read], true, true),
        ];
        for (role, (name, scopes, of_tenant, of_server)) in PersonRole::ALL.into_iter().zip(table) {
            assert_eq!(role.to_string(), name);
            assert_eq!(name.parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), name);
            assert_eq!(role.scopes(), scopes, "{name}");
            assert_eq!((role.may_be_of_tenant(), role.may_be_of_server()), (of_tenant, of_server));
        }
        assert_eq!("root".parse::<PersonRole>(), Err(NotARole));
    }
}
