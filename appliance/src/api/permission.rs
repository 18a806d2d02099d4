//! Who is at the control socket, and what that person may do there.
//!
//! The kernel says whose process opened the socket (SO_PEERCRED), the user data base which groups that user is in. What is
//! in no row below needs the highest role, so that a new route begins shut.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use tokio::net::unix::UCred;

use super::ApiError;
use crate::config::{Operators, Role};

/// Most groups of one person that are looked at.
const GROUPS: usize = 256;

/// Somebody at the socket.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// The user's name, or the number when it has none.
    pub(super) name: String,
    /// What may be done; none: nothing.
    pub(super) role: Option<Role>,
}

impl Person {
    /// Whoever opened the socket. Asks the user data base, which may take its time.
    pub(super) fn of(peer: Option<UCred>, operators: &Operators) -> Self {
        let Some(peer) = peer else { return Self { name: "somebody".to_owned(), role: None } };
        let uid = Uid::from_raw(peer.uid());
        let user = User::from_uid(uid).ok().flatten();
        let name = user.as_ref().map_or_else(|| format!("uid {uid}"), |user| user.name.clone());
        // Nobody locks out root, or the user that this daemon itself runs as.
        if uid.is_root() || uid == geteuid() {
            return Self { name, role: Some(Role::Admin) };
        }
        let role = operators.role(&name, &groups(user.as_ref(), Gid::from_raw(peer.gid())));
        Self { name, role }
    }
}

/// The names of all groups of a user, and of the one that the process has.
fn groups(user: Option<&User>, own: Gid) -> Vec<String> {
    let listed = user.and_then(|user| getgrouplist(&CString::new(user.name.as_str()).ok()?, user.gid).ok());
    let ids = listed.into_iter().flatten().chain([own]).take(GROUPS);
    ids.filter_map(|id| Group::from_gid(id).ok().flatten()).map(|group| group.name).collect()
}

/// The least role that may ask this.
pub(super) fn needed(get: bool, path: &[&str]) -> Role {
    if get {
        return Role::Viewer;
    }
    match path {
        // It asks the management controller, and changes nothing.
        ["v1", "nodes", _, "power-look"] => Role::Viewer,
        ["v1", "nodes", _, "approve" | "reject" | "rename" | "roles" | "address"]
        | ["v1", "nodes", _, "plan" | "retire" | "retry" | "hold" | "release"]
        // A rescue itself is for admins: whoever is in it reads and writes every disk.
        | ["v1", "nodes", _, "service" | "service-end" | "rescue-end"]
        | ["v1", "nodes", _, "power" | "power-cancel" | "bmc-test" | "console"]
        | ["v1", "nodes", _, "capture" | "test" | "test-stop"]
        | ["v1", "invitations"]
        | ["v1", "invitations", _, "revoke"]
        | ["v1", "jobs", _, "cancel"]
        | ["v1", "rollouts"]
        | ["v1", "rollouts", _, "stop" | "cancel"]
        | ["v1", "images"]
        | ["v1", "store", "scrub"]
        | ["v1", "notify", "test"]
        | ["v1", "networks", "check"]
        | ["v1", "network", "check"]
        | ["v1", "network", "check", "stop"]
        | ["v1", "network", "reservations"]
        | ["v1", "network", "reservations", "import"]
        | ["v1", "network", "reservations", _, "unreserve"]
        | ["v1", "network", "leases", _, "release"]
        | ["v1", "services", _, _, "start" | "stop" | "restart"] => Role::Operator,
        _ => Role::Admin,
    }
}

/// Refuses what this person may not do.
pub(super) fn permit(
    person: &Person,
    operators: &Operators,
    get: bool,
    path: &[&str],
) -> Result<(), ApiError> {
    let needs = needed(get, path);
    if person.role.is_some_and(|role| role >= needs) {
        return Ok(());
    }
    let has = match person.role {
        Some(role) => format!("has the role {}", role.word()),
        None => "has no role".to_owned(),
    };
    let (name, holders) = (person.name.clone(), operators.holders(needs));
    Err(ApiError::Forbidden { name, has, needs: needs.word(), holders })
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Operators, Person, Role, needed, permit};
    use crate::config::Whom;

    fn operators() -> Operators {
        let group = |name: &str| Whom::Group(name.to_owned());
        let user = |name: &str| Whom::User(name.to_owned());
        let rules = vec![
            (group("ops"), Role::Admin),
            (group("teachers"), Role::Operator),
            (user("carol"), Role::Viewer),
            (user("dave"), Role::Operator),
            (group("dave"), Role::Admin),
        ];
        Operators { rules, second_person: false }
    }

    #[test]
    fn the_highest_role_counts_and_a_user_is_no_group() {
        let of = |name: &str, groups: &[&str]| {
            operators().role(name, &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>())
        };
        let table = [
            ("carol", &["users"][..], Some(Role::Viewer)),
            ("carol", &["users", "teachers"], Some(Role::Operator)),
            ("carol", &["teachers", "ops"], Some(Role::Admin)),
            ("dave", &[], Some(Role::Operator)),
            ("dave", &["dave"], Some(Role::Admin)),
            ("teachers", &[], None),
            ("ops", &["users"], None),
            ("", &[], None),
        ];
        for (name, groups, role) in table {
            assert_eq!(of(name, groups), role, "{name} {groups:?}");
        }
    }

    #[test]
    fn whoever_may_not_is_told_who_may() {
        let person = |role| Person { name: "carol".to_owned(), role };
        let apply = ["v1", "plans", "p-1", "apply"];
        let refused = permit(&person(Some(Role::Operator)), &operators(), false, &apply).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("carol has the role operator, and this needs admin"), "{text}");
        assert!(text.contains("root, @ops, @dave have it"), "{text}");
        assert!(matches!(refused, ApiError::Forbidden { .. }) && refused.codes().1 == 11);
        assert!(permit(&person(Some(Role::Admin)), &operators(), false, &apply).is_ok());
        let text = permit(&person(None), &operators(), true, &["v1", "status"]).unwrap_err().to_string();
        assert!(text.contains("carol has no role, and this needs viewer"), "{text}");
        assert!(permit(&person(Some(Role::Viewer)), &operators(), true, &["v1", "status"]).is_ok());
    }

    #[test]
    fn what_destroys_and_what_nobody_has_listed_needs_the_highest_role() {
        for path in [
            &["v1", "plans", "p-1", "apply"][..],
            &["v1", "rollouts", "r-1", "begin"],
            &["v1", "rollouts", "r-1", "resume"],
            &["v1", "images", "control", "delete"],
            &["v1", "store", "prune"],
            &["v1", "ca", "rotate"],
            &["v1", "ca", "abort"],
            &["v1", "ca", "finish"],
            &["v1", "clock", "accept"],
            &["v1", "cloud", "access"],
            &["v1", "cloud", "passwords", "rotate"],
            &["v1", "nodes", "n1", "something-new"],
            &["v1", "nodes", "n1"],
            &["v2", "nodes", "n1", "approve"],
            &["v1", "services", "n1", "a.service", "mask"],
            &[],
        ] {
            assert_eq!(needed(false, path), Role::Admin, "{path:?}");
            assert_eq!(needed(true, path), Role::Viewer, "{path:?}");
        }
        let verb = |verb: &'static str| needed(false, &["v1", "nodes", "n1", verb]);
        for operators in
            ["approve", "retire", "hold", "release", "power", "power-cancel", "bmc-test", "console", "test"]
        {
            assert_eq!(verb(operators), Role::Operator, "{operators}");
        }
        for operators in ["service", "service-end", "rescue-end"] {
            assert_eq!(verb(operators), Role::Operator, "{operators}");
        }
        for admins in ["replace", "delete", "bmc", "bmc-forget", "rescue"] {
            assert_eq!(verb(admins), Role::Admin, "{admins}");
        }
        assert_eq!(verb("power-look"), Role::Viewer);
    }
}
