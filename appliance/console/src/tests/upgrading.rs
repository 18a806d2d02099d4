//! What an upgrade of the cloud would be, as it is shown; and that the command does none.

use serde_json::{Value, json};

use super::samples::read;
use super::{PIPE, run};
use crate::cloud::upgrade::render;
use crate::fake::{Fake, item};

pub(super) fn view() -> Value {
    let image = |name: Value, digit: &str| json!({"name": name, "digest": digit.repeat(64), "imported": "2026-11-20T14:28:02.000Z"});
    json!({"rebuilds": 1, "commands": ["rackwright node rebuild n1"], "nodes": [
        {"order": 1, "node": "n1", "roles": ["control", "network"], "image": image(Value::Null, "a"), "becomes": image(json!("all-2"), "b"),
         "samePackages": false, "services": ["mariadb", "keystone"], "databaseTasks": ["keystone-database"], "instances": ["web"],
         "loses": "the databases", "why": null},
        {"order": null, "node": "n2", "roles": ["compute"], "image": image(json!("all-1"), "c"), "becomes": null, "samePackages": null,
         "services": [], "databaseTasks": [], "instances": [], "loses": null, "why": "no image carries it"}]})
}

#[test]
fn order_images_and_what_is_lost_fit_a_terminal() {
    assert_eq!(
        render(&read(view()), &PIPE),
        "  ORDER  NODE  ROLES            IMAGE                 BECOMES               PACKAGES  WHY NOT
  1      n1    control,network  aaaaaaaaaaaa          all-2 (bbbbbbbbbbbb)  others
  -      n2    compute          all-1 (cccccccccccc)  -                     -         no image carries it

n1
  goes down     mariadb, keystone
  to be moved   web
  LOSES         the databases
  sets up anew  keystone-database

Commands
  rackwright node rebuild n1
"
    );
    let nothing = json!({"rebuilds": 0, "commands": [], "nodes": []});
    assert!(render(&read(nothing), &PIPE).contains("none: every node has the image"));
}

#[test]
fn nothing_is_upgraded_by_the_command() {
    let fake = Fake::start(|_| item(view()));
    let ran = run(&fake, "cloud upgrade");
    assert!(ran.code == 4 && ran.out.is_empty(), "{ran:?}");
    assert!(
        ran.err.contains("nothing is upgraded by this command")
            && ran.err.contains("rackwright rebuild --role compute"),
        "{ran:?}"
    );
    assert!(fake.lines().is_empty());
    let ran = run(&fake, "cloud upgrade --plan -o json");
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["item"], view());
    assert_eq!(fake.lines(), ["GET /v1/cloud/upgrade"], "and nothing else");
}
