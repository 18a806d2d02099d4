//! Who may do what at the control socket, as the configuration says it.

use std::fmt;

/// What a person may do; each may all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Everything but what is severe and administration.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Somebody with a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// A user of this machine.
    User(String),
    /// Every member of a group of this machine.
    Group(String),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::User(name) => f.write_str(name),
            Whom::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// Who has which role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// Every rule; none: whoever may open the socket may do everything.
    pub rules: Vec<(Whom, Role)>,
    /// Whether it takes two people to do what is severe.
    pub second_person: bool,
}

impl Operators {
    /// Whether people are told apart.
    pub fn tells_apart(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The highest role of somebody of this name in these groups.
    pub fn role(&self, name: &str, groups: &[String]) -> Option<Role> {
        let is = |whom: &Whom| match whom {
            Whom::User(user) => user == name,
            Whom::Group(group) => groups.contains(group),
        };
        self.rules.iter().filter(|(whom, _)| is(whom)).map(|(_, role)| *role).max()
    }

    /// Who may what needs this role, for a person.
    pub fn holders(&self, role: Role) -> String {
        let named = self.rules.iter().filter(|(_, has)| *has >= role).map(|(whom, _)| whom.to_string());
        let mut all = vec!["root".to_owned()];
        all.extend(named.filter(|name| name != "root"));
        all.join(", ")
    }
}
