//! Roles and rights: what a participant may do, by the role and the grants of its token.

/// A participant's role in a room: its name in the roster, and its rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The name from the token.
    pub name: String,
    /// The rights of the role and of the token's grants.
    pub rights: Rights,
}

/// The rights of a participant. A participant without any right may change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// May change the fields of its own peer.
    pub own: bool,
    /// May create objects, and change those that it owns.
    pub objects: bool,
    /// May change the room's fields.
    pub room: bool,
    /// May change the fields of all peers, delete and give away all objects, choose the host, and
    /// moderate.
    pub moderate: bool,
}

impl Role {
    /// Returns the role with this name. It has the rights of the name and those that `grants` add.
    /// Ignores unknown grants.
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
    /// No rights.
    pub const NONE: Self = Self { own: false, objects: false, room: false, moderate: false };
    /// The rights of participants, technicians, and all roles that the server does not know.
    pub const PARTICIPANT: Self = Self { own: true, objects: true, ..Self::NONE };
    /// The rights of presenters.
    pub const PRESENTER: Self = Self { room: true, ..Self::PARTICIPANT };
    /// The rights of hosts and experts.
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
