//! `rackwright cloud …`

pub(crate) mod passwords;
pub(crate) mod upgrade;

use std::time::Duration;

use fleet::view::{CloudAccess, CloudRow};
use serde_json::json;

use crate::cli::CloudCommand;
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::smoke;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::or_dash;

/// Between two looks at a cloud that comes up.
const AGAIN: Duration = Duration::from_secs(2);

pub(crate) async fn cloud(session: &mut Session, verb: CloudCommand) -> Result<u8, Failure> {
    match verb {
        CloudCommand::Status { wait } => status(session, wait).await,
        CloudCommand::Openrc => access(session, openrc).await,
        CloudCommand::CloudsYaml => access(session, clouds_yaml).await,
        CloudCommand::Passwords(verb) => passwords::passwords(session, verb).await,
        CloudCommand::Upgrade { plan } => upgrade::upgrade(session, plan).await,
        CloudCommand::Smoke(arguments) => Box::pin(smoke::smoke(session, arguments)).await,
    }
}

async fn status(session: &mut Session, wait: bool) -> Result<u8, Failure> {
    let mut said = String::new();
    loop {
        let answer = session.client.get("/v1/cloud").await?;
        let rows = answer.items::<CloudRow>()?;
        let is_well = !rows.is_empty() && rows.iter().all(|row| row.state == "well");
        if is_well || !wait {
            session.show(&answer, |_, look| Ok(render_cloud(&rows, look)))?;
            return Ok(if is_well { exit::OK } else { exit::UNHEALTHY });
        }
        let news = first_wait(&rows);
        if news != said {
            session.note(&news);
            said = news;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// How far it is, and what the first of those that are not well waits for.
fn first_wait(rows: &[CloudRow]) -> String {
    let well = rows.iter().filter(|row| row.state == "well").count();
    let late = rows.iter().find(|row| row.state != "well" && row.state != "held");
    let late = late.or_else(|| rows.iter().find(|row| row.state != "well"));
    let late = late.map(|row| format!("; {} on {}: {}", row.service, row.node, reason(row)));
    format!("{well} of {} services are well{}", rows.len(), late.unwrap_or_default())
}

fn reason(row: &CloudRow) -> String {
    match &row.why {
        Some(why) => format!("{}, {why}", row.state),
        None => row.state.clone(),
    }
}

/// The list of services.
pub(crate) fn render_cloud(rows: &[CloudRow], look: &Look) -> String {
    let mut table = Table::new(&["NODE", "SERVICE", "STATE", "SINCE", "WHY"]);
    for row in rows {
        table.row([
            row.node.clone().into(),
            row.service.clone().into(),
            Cell::state(&row.state),
            or_dash(row.since.as_deref().unwrap_or_default()).into(),
            row.why.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

async fn access(session: &mut Session, render: fn(&CloudAccess) -> String) -> Result<u8, Failure> {
    let answer = session.client.post("/v1/cloud/access", &json!({})).await?;
    session.show(&answer, |answer, _| Ok(render(&answer.item()?)))?;
    Ok(exit::OK)
}

/// What a shell takes. No value has a quote in it: they are ours.
fn openrc(access: &CloudAccess) -> String {
    let CloudAccess { auth_url, region, username, project, domain, password } = access;
    format!(
        "export OS_AUTH_URL='{auth_url}'\nexport OS_IDENTITY_API_VERSION=3\nexport OS_REGION_NAME='{region}'\n\
         export OS_USERNAME='{username}'\nexport OS_PASSWORD='{password}'\nexport OS_PROJECT_NAME='{project}'\n\
         export OS_USER_DOMAIN_NAME='{domain}'\nexport OS_PROJECT_DOMAIN_NAME='{domain}'\n"
    )
}

fn clouds_yaml(access: &CloudAccess) -> String {
    let CloudAccess { auth_url, region, username, project, domain, password } = access;
    format!(
        "clouds:\n  rackwright:\n    region_name: \"{region}\"\n    identity_api_version: 3\n    auth:\n\
         \x20     auth_url: \"{auth_url}\"\n      username: \"{username}\"\n      password: \"{password}\"\n\
         \x20     project_name: \"{project}\"\n      user_domain_name: \"{domain}\"\n\
         \x20     project_domain_name: \"{domain}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use fleet::view::{CloudAccess, CloudRow};

    use super::{clouds_yaml, first_wait, openrc};

    fn access() -> CloudAccess {
        let word = str::to_owned;
        CloudAccess {
            auth_url: word("http://10.77.0.10:5000/v3"),
            region: word("RegionOne"),
            username: word("admin"),
            project: word("admin"),
            domain: word("Default"),
            password: word("00ff"),
        }
    }

    #[test]
    fn a_shell_and_the_client_understand_what_they_are_given() {
        let shell = std::process::Command::new("sh")
            .args(["-ec", &format!("{}env | grep ^OS_ | sort", openrc(&access()))])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        let said = String::from_utf8(shell.stdout).unwrap();
        let want = "OS_AUTH_URL=http://10.77.0.10:5000/v3\nOS_IDENTITY_API_VERSION=3\nOS_PASSWORD=00ff\n\
                    OS_PROJECT_DOMAIN_NAME=Default\nOS_PROJECT_NAME=admin\nOS_REGION_NAME=RegionOne\n\
                    OS_USERNAME=admin\nOS_USER_DOMAIN_NAME=Default\n";
        assert_eq!(said, want);
        let yaml = clouds_yaml(&access());
        let depths = yaml.lines().map(|line| line.len() - line.trim_start().len()).collect::<Vec<_>>();
        assert_eq!(depths, [0, 2, 4, 4, 4, 6, 6, 6, 6, 6, 6], "{yaml}");
    }

    #[test]
    fn whoever_waits_is_told_of_the_one_that_works_not_of_those_that_wait_for_it() {
        let row = |service: &str, state: &str, why: Option<&str>| CloudRow {
            node: "n1".to_owned(),
            service: service.to_owned(),
            summary: String::new(),
            units: Vec::new(),
            state: state.to_owned(),
            why: why.map(str::to_owned),
            since: None,
        };
        let rows = [
            row("mariadb", "well", None),
            row("glance", "held", Some("keystone")),
            row("keystone", "coming", Some("its tasks")),
        ];
        assert_eq!(first_wait(&rows), "1 of 3 services are well; keystone on n1: coming, its tasks");
        assert_eq!(first_wait(&rows[..2]), "1 of 2 services are well; glance on n1: held, keystone");
    }
}
