//! Every route of the control socket, asked for by somebody of every role.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::controller::Controller;
use crate::operator;
use crate::operators::{NOBODY, let_in};

/// What may be asked, and the least role for it: 1 viewer, 2 operator, 3 admin. `_` is the name of something.
const ROUTES: &[(&str, u8, &[&str])] = &[
    (
        "GET",
        1,
        &[
            "status",
            "nodes",
            "nodes/_",
            "nodes/_/why",
            "nodes/_/power",
            "nodes/_/tests",
            "plans",
            "plans/_",
            "ca",
            "cloud",
            "cloud/guest",
            "cloud/passwords",
            "cloud/upgrade",
            "invitations",
            "rollouts",
            "rollouts/_",
            "erasures",
            "jobs",
            "jobs/_",
            "images",
            "images/_",
            "images/_/diff/_",
            "store/scrub",
            "networks",
            "network/check",
            "capacity",
            "network/map",
            "network/leases",
            "network/trace",
            "network/trace/_",
            "network/reservations",
            "metrics",
            "support",
            "doctor",
            "services",
            "services/_/_/logs",
            "backup/key",
            "journal",
            "journal/check",
            "journal/head",
            "events",
            "ansible/inventory",
        ],
    ),
    ("POST", 1, &["nodes/_/power-look"]),
    (
        "POST",
        2,
        &[
            "nodes/_/approve",
            "nodes/_/reject",
            "nodes/_/rename",
            "nodes/_/roles",
            "nodes/_/address",
            "nodes/_/plan",
            "nodes/_/retire",
            "nodes/_/retry",
            "nodes/_/hold",
            "nodes/_/release",
            "nodes/_/rescue-end",
            "nodes/_/service",
            "nodes/_/service-end",
            "nodes/_/power",
            "nodes/_/power-cancel",
            "nodes/_/bmc-test",
            "nodes/_/console",
            "nodes/_/capture",
            "nodes/_/test",
            "nodes/_/test-stop",
            "invitations",
            "invitations/_/revoke",
            "jobs/_/cancel",
            "rollouts",
            "rollouts/_/stop",
            "rollouts/_/cancel",
            "images",
            "store/scrub",
            "notify/test",
            "networks/check",
            "network/check",
            "network/check/stop",
            "network/reservations",
            "network/reservations/import",
            "network/reservations/_/unreserve",
            "network/leases/_/release",
            "services/_/_/start",
            "services/_/_/stop",
            "services/_/_/restart",
        ],
    ),
    (
        "POST",
        3,
        &[
            "nodes/_/delete",
            "nodes/_/replace",
            "nodes/_/rescue",
            "nodes/_/bmc",
            "nodes/_/bmc-forget",
            "plans/_/apply",
            "rollouts/_/begin",
            "rollouts/_/resume",
            "images/_/delete",
            "store/prune",
            "backup",
            "backup/key",
            "ca/rotate",
            "ca/finish",
            "ca/abort",
            "clock/accept",
            "cloud/access",
            "cloud/passwords/rotate",
            "tomorrows/verb",
        ],
    ),
];
/// The rule that gives `nobody` each role.
const ROLES: [&str; 4] =
    ["viewer = [\"root\"]", "viewer = [\"nobody\"]", "operator = [\"nobody\"]", "admin = [\"nobody\"]"];

/// Where routes are told apart, and by which method.
const SOURCES: [(&str, &str); 2] =
    [("GET", include_str!("../../src/api/look.rs")), ("POST", include_str!("../../src/api/act.rs"))];
/// Verbs that a second place tells apart, below a path that ends in one.
const VERBS: [(&str, &str); 2] = [
    ("act_on", include_str!("../../src/api/act.rs")),
    ("act_on_power", include_str!("../../src/api/power.rs")),
];

/// The status of a request as `nobody`.
fn status(socket: &Path, method: &str, path: &str) -> u16 {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--max-time",
        "20",
        "-X",
        method,
        "--unix-socket",
    ]);
    curl.arg(socket).args(["-d", "{}"]).arg(format!("http://localhost/v1/{path}")).uid(NOBODY).gid(NOBODY);
    String::from_utf8(curl.output().unwrap().stdout).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_open_to_its_role_and_those_above_and_to_nobody_else() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    for (has, rule) in (0u8..).zip(ROLES) {
        let folder =
            tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
        let controller = Controller::start_as(folder.path(), &format!("[operators]\n{rule}\n")).await;
        let_in(&controller.socket());
        let (socket, mut refused) = (controller.socket(), 0);
        for (method, needs, paths) in ROUTES {
            for path in *paths {
                let named = path.replace('_', "x1");
                let answer = status(&socket, method, &named);
                assert!(answer >= 200, "{method} {path}: no answer");
                assert_eq!(answer == 403, has < *needs, "{method} {path} as {rule}: {answer}");
                refused += u32::from(answer == 403 && *method == "POST");
            }
        }
        let journal = operator::get(&controller, "/v1/journal?limit=1000").await.unwrap();
        let rows = journal.as_array().unwrap().iter();
        let rows = rows.filter(|row| row["kind"] == "refused" && row["actor"]["uid"] == NOBODY);
        let forbidden = rows.filter(|row| row["body"].to_string().contains("and this needs")).count();
        assert_eq!(
            forbidden,
            usize::try_from(refused).unwrap(),
            "what somebody may not is written down: {rule}"
        );
        controller.stop().await;
    }
}

#[test]
fn the_table_has_every_route_there_is() {
    let known = |method: &str| {
        let rows = ROUTES.iter().filter(|row| row.0 == method).flat_map(|row| row.2);
        rows.map(|path| (*path).to_owned()).collect::<BTreeSet<_>>()
    };
    for (method, source) in SOURCES {
        let told: BTreeSet<_> = source.lines().filter_map(pattern).collect();
        assert!(told.len() > 10, "{method}: {told:?}");
        let known = known(method);
        for path in told {
            // A verb at the end that another place tells apart.
            let verbs = path.strip_suffix('_').filter(|_| method == "POST");
            let is_there =
                |prefix: &str| known.iter().any(|known| known.starts_with(prefix) && known != prefix);
            assert!(
                known.contains(&path) || verbs.is_some_and(is_there),
                "{method} {path} is not in the table"
            );
        }
    }
    for (function, source) in VERBS {
        let (_, body) = source.split_once(&format!("fn {function}(")).unwrap();
        let body = body.split_once("_ => return None").unwrap().0;
        let verbs = body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        let verbs = verbs.map(|(verb, _)| verb).collect::<Vec<_>>();
        assert!(verbs.len() > 5, "{function}: {verbs:?}");
        for verb in verbs {
            assert!(known("POST").contains(&format!("nodes/_/{verb}")), "nodes/_/{verb} is not in the table");
        }
    }
}

/// The path in an arm like `["v1", "nodes", name] => …`.
fn pattern(line: &str) -> Option<String> {
    let (parts, _) = line.trim().strip_prefix("[\"v1\", ")?.split_once("] =>")?;
    let parts = parts.split(", ").map(|part| match part.strip_prefix('"') {
        Some(word) => word.trim_end_matches('"'),
        None => "_",
    });
    Some(parts.collect::<Vec<_>>().join("/"))
}
