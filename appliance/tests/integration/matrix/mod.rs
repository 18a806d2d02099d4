//! Who may ask what of whom: every route, every principal, every field that names an object.
//!
//! The routes come from the daemon itself (`Route::ALL`, without which it finds none); each is matched here without a
//! wildcard, so that a new one without a row does not build.

mod asks;
mod generated;
mod others;
mod principals;
mod victims;

use std::collections::BTreeSet;

use appliance::agents::Route;

use self::asks::{Ask, own, trespasses};
use self::others::{Asker, difference, others, others_but_claims};
use self::principals::{Opens, Principal, principals};
use self::victims::Victims;
use crate::controller::Controller;

/// Whose requests a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Anybody,
    Deploy,
    Run,
    Both,
}

fn whom(route: Route) -> For {
    match route {
        Route::Hello => For::Anybody,
        Route::Task
        | Route::Progress
        | Route::Cast
        | Route::Verified
        | Route::Erased
        | Route::Rescue
        | Route::Tested
        | Route::TestData
        | Route::Windows
        | Route::Stored
        | Route::Seal
        | Route::Manifest
        | Route::Data => For::Deploy,
        Route::Enrol | Route::Network => For::Both,
        Route::Escrow | Route::State | Route::Report | Route::Ticket => For::Run,
    }
}

/// What becomes of a request that names nothing but the asker's own.
#[derive(Debug, PartialEq, Eq)]
enum Door {
    /// Not even a connection.
    Shut,
    /// This status, and a text with this in it.
    Refused(u16, &'static str),
    /// Whatever the state of the node makes of it; never 401 or 403.
    Open,
}

fn door(route: Route, opens: &Opens) -> Door {
    match (whom(route), opens) {
        (_, Opens::Nothing) => Door::Shut,
        (For::Anybody, _) => Door::Open,
        (For::Deploy | For::Run | For::Both, Opens::Hello(status, why)) => Door::Refused(*status, why),
        // It is good for a new one, and for nothing else.
        (For::Both, Opens::Late) if route == Route::Enrol => Door::Open,
        (For::Deploy | For::Run | For::Both, Opens::Late) => Door::Refused(403, "has expired"),
        (For::Deploy | For::Both, Opens::Deploy) | (For::Run | For::Both, Opens::Run) => Door::Open,
        (For::Deploy, Opens::Run) => Door::Refused(403, "the other stage: deploy is needed"),
        (For::Run, Opens::Deploy) => Door::Refused(403, "the other stage: run is needed"),
    }
}

async fn send(principal: &Principal, ask: &Ask) -> Result<(u16, String), String> {
    let (status, body) = match ask.post {
        true => principal.agent.post(&ask.path, ask.body.clone()).await?,
        false => principal.agent.get(&ask.path).await?,
    };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_for_every_principal_with_its_own_things() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start(folder.path()).await;
    let foreign = Controller::start(elsewhere.path()).await;
    let _victims = Victims::settle(&controller).await;
    let principals = principals(&controller, &foreign).await;
    let mut served = BTreeSet::new();
    let mut cells = 0;
    for principal in &principals {
        for route in Route::ALL {
            let asker = principal.asker();
            let (before, all) = (others(folder.path(), &asker), others(folder.path(), &Asker::default()));
            let answer = send(principal, &own(route, principal, &controller)).await;
            let cell = format!("{route:?} for {}: {answer:?}", principal.name);
            cells += 1;
            match (door(route, &principal.opens), &answer) {
                (Door::Shut, Err(_)) => {}
                (Door::Refused(status, why), Ok((was, text))) => {
                    assert!(*was == status && text.contains(why), "{cell}, and not {status} {why}");
                    // Nothing of the asker's own changes either.
                    let now = others(folder.path(), &Asker::default());
                    assert_eq!(difference(&all, &now), [""; 0], "{cell}");
                }
                (Door::Open, Ok((status, _))) => {
                    assert!(![401, 403].contains(status) && *status < 500, "{cell}");
                    if *status == 200 {
                        served.insert(format!("{route:?}"));
                    }
                }
                (expected, _) => panic!("{cell}, and not {expected:?}"),
            }
            if route != Route::Hello {
                let now = others(folder.path(), &asker);
                assert_eq!(difference(&before, &now), [""; 0], "{cell}");
            }
        }
    }
    // Otherwise a route that refuses everybody would pass.
    assert_eq!(served.len(), Route::ALL.len(), "only these were ever served: {served:?}");
    println!("{cells} cells: {} routes, {} principals", Route::ALL.len(), principals.len());
    controller.stop().await;
    foreign.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_reaches_what_is_anothers() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start(folder.path()).await;
    let foreign = Controller::start(elsewhere.path()).await;
    let victims = Victims::settle(&controller).await;
    let principals = principals(&controller, &foreign).await;
    let mut tried = BTreeSet::new();
    // Whoever is not let in at all is refused in the other test.
    for principal in &principals {
        for route in Route::ALL.into_iter().filter(|route| door(*route, &principal.opens) == Door::Open) {
            for (field, ask) in trespasses(route, principal, &controller, &victims) {
                let cell = format!("{route:?} {field} for {}", principal.name);
                let asker = principal.asker();
                let (before, claims) = (others(folder.path(), &asker), others_but_claims(folder.path()));
                let (status, text) = send(principal, &ask).await.expect(&cell);
                if let Some(secret) = victims.secrets.iter().find(|secret| text.contains(secret.as_str())) {
                    panic!("{cell}: {status} tells {secret}: {text}");
                }
                // Anybody may say hello for any server; a person decides, and only the claim is kept meanwhile.
                let (before, now) = match route == Route::Hello {
                    true => (&claims, others_but_claims(folder.path())),
                    false => (&before, others(folder.path(), &asker)),
                };
                assert_eq!(difference(before, &now), [""; 0], "{cell}: {status} {text}");
                tried.insert(format!("{route:?} {field}"));
            }
        }
    }
    victims.are_what_they_were(&controller).await;
    println!("{} fields, {} principals", tried.len(), principals.len());
    controller.stop().await;
    foreign.stop().await;
}
