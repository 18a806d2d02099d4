//! What the database and keystone are told of the services: generated of the catalog, so that a service brings its own.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Cloud, Salt};
use crate::catalog::Service;

/// Services that have an account, in the order of their names.
fn holders<'a>(services: &'a [&'a Service]) -> impl Iterator<Item = (&'a str, &'a Service)> {
    services.iter().filter_map(|service| Some((service.account.as_deref()?, *service)))
}

/// SQL that makes every database and account that the services have, and sets the passwords; running it again changes nothing.
pub(crate) fn databases((cloud, salt): (&Cloud, Option<Salt>), services: &[&Service]) -> String {
    let mut sql = String::new();
    for (account, service) in holders(services).filter(|(_, service)| !service.databases.is_empty()) {
        let password = cloud.key.password(salt, account);
        // Writing to a String can't fail.
        let _ = writeln!(sql, "CREATE USER IF NOT EXISTS '{account}'@'%' IDENTIFIED BY '{password}';");
        let _ = writeln!(sql, "ALTER USER '{account}'@'%' IDENTIFIED BY '{password}';");
        for name in &service.databases {
            let alike = "CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci";
            let _ = writeln!(sql, "CREATE DATABASE IF NOT EXISTS `{name}` {alike};");
            // In a grant `_` stands for any character.
            let exactly = name.replace('_', "\\_");
            let _ = writeln!(sql, "GRANT ALL PRIVILEGES ON `{exactly}`.* TO '{account}'@'%';");
        }
    }
    sql
}

/// JSON of every account that keystone shall have, with what it is told of where the service is. `fill` puts values into an URL.
///
/// # Errors
/// Those of `fill`.
pub(crate) fn identity<E>(
    (cloud, salt): (&Cloud, Option<Salt>),
    services: &[&Service],
    fill: impl Fn(&Service, &str) -> Result<String, E>,
) -> Result<String, E> {
    let mut rows = Vec::new();
    for (account, service) in holders(services) {
        let Some(identity) = &service.identity else { continue };
        let url = fill(service, &identity.url)?;
        rows.push(json!({
            "account": account,
            "password": cloud.key.password(salt, account),
            "name": service.name,
            "type": identity.kind,
            "url": url,
            "region": cloud.region,
        }));
    }
    Ok(Value::from(rows).to_string())
}
