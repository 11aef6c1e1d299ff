//! What a participant may do: by the role and the grants of its token.

/// A peer's role in a room: its name as the roster tells it, and what it may do by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// As the token names it.
    pub name: String,
    /// With the token's grants.
    pub rights: Rights,
}

/// What a peer may change. Without any of these, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The fields of its own peer.
    pub own: bool,
    /// Make objects, and change those that it owns.
    pub objects: bool,
    /// The room's fields.
    pub room: bool,
    /// Everybody's fields; delete and give everybody's objects; choose the host.
    pub moderate: bool,
}

impl Role {
    /// The role of that name, with single rights by `grants` on top. A grant that is none of these
    /// rights is somebody else's.
    pub fn new(name: String, grants: &[String]) -> Self {
        let mut rights = Rights::of_role(&name);
        for grant in grants {
            match grant.as_str() {
                "state.room" => rights.room = true,
                "state.objects" => rights.objects = true,
                "moderate" => rights.moderate = true,
                _ => {}
            }
        }
        Self { name, rights }
    }
}

impl From<&str> for Role {
    fn from(name: &str) -> Self {
        Self::new(name.to_owned(), &[])
    }
}

impl Rights {
    /// Not a single one.
    pub const NONE: Self = Self { own: false, objects: false, room: false, moderate: false };
    /// Of a participant, a technician, and whoever has a role that this server does not know.
    pub const PARTICIPANT: Self = Self { own: true, objects: true, ..Self::NONE };
    /// Of a presenter.
    pub const PRESENTER: Self = Self { room: true, ..Self::PARTICIPANT };
    /// Of a host or an expert.
    pub const ALL: Self = Self { moderate: true, ..Self::PRESENTER };

    fn of_role(name: &str) -> Self {
        match name {
            "observer" => Self::NONE,
            "presenter" => Self::PRESENTER,
            "host" | "expert" => Self::ALL,
            _ => Self::PARTICIPANT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(role: &str, grants: &[&str]) -> Rights {
        let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
        Role::new(role.to_owned(), &grants).rights
    }

    #[test]
    fn roles_have_their_rights() {
        assert_eq!(rights("observer", &[]), Rights::NONE);
        for role in ["participant", "technician", "member", "Observer", "what-ever"] {
            assert_eq!(rights(role, &[]), Rights::PARTICIPANT, "{role}");
        }
        assert_eq!(rights("presenter", &[]), Rights::PRESENTER);
        assert_eq!((rights("host", &[]), rights("expert", &[])), (Rights::ALL, Rights::ALL));
    }

    #[test]
    fn grants_add_one_right_each() {
        let none = Rights::NONE;
        assert_eq!(rights("observer", &["state.room"]), Rights { room: true, ..none });
        assert_eq!(rights("observer", &["state.objects"]), Rights { objects: true, ..none });
        assert_eq!(rights("observer", &["moderate", "record"]), Rights { moderate: true, ..none });
        assert_eq!(rights("member", &["state.room", "moderate"]), Rights::ALL);
    }
}
