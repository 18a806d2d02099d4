//! Images that may go, and those that may not.

use fleet::image::{prunable, user};
use fleet::{Denied, Event};
use pack::Digest;

use crate::rack::Rack;

/// The image in use, under whatever stage.
fn stays(rack: &mut Rack, digest: Digest, why: &str) {
    let told = user(&rack.fleet, digest).unwrap_or_default();
    assert!(told.contains(why), "{told:?} is not {why:?}");
    let denied = rack.bring(Event::ForgetImage(digest)).unwrap_err();
    assert!(matches!(denied, Denied::Conflict(_)) && denied.to_string().contains(why), "{denied}");
    assert!(rack.fleet.images.contains_key(&digest));
}

#[test]
fn an_image_stays_while_a_plan_a_job_or_a_node_needs_it() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    let digest = plan.image;
    stays(&mut rack, digest, &format!("plan {} names it", plan.id));
    let (mut rack, _, job) = Rack::imaging("control");
    stays(&mut rack, digest, &format!("job {job} writes it"));
    let (mut rack, _, _) = Rack::active("control");
    stays(&mut rack, digest, "runs it");
}

#[test]
fn an_image_that_nobody_needs_is_forgotten_once() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    rack.bring(Event::SetRoles { node, roles: [].into() }).unwrap();
    rack.bring(Event::ForgetImage(plan.image)).expect("a plan that was withdrawn needs nothing");
    assert!(!rack.fleet.images.contains_key(&plan.image));
    let denied = rack.bring(Event::ForgetImage(plan.image)).unwrap_err();
    assert!(matches!(denied, Denied::Missing { kind: "image", .. }), "{denied}");
}

#[test]
fn an_image_of_a_node_makes_no_room_of_an_imported_one_and_none_of_another_node() {
    let (mut rack, node, job) = Rack::capturing(true);
    // Imported while the other was taken: nobody could know.
    let golden = rack.import("copy-golden", &["control"]);
    let mut image = rack.fleet.images[&golden].clone();
    image.name = "copy".to_owned();
    rack.bring(Event::Imported(image)).unwrap();
    rack.is_captured(node, job, Vec::new()).unwrap();
    assert_eq!(prunable(&rack.fleet), Vec::<&fleet::image::Image>::new());
    let mine = rack.fleet.captures[&job].clone();
    // Another one of the same node, one of another node, and one without identity.
    let as_is = protocol::Identity::AsIs;
    let general = protocol::Identity::Generalize { keep: [].into() };
    let other = protocol::NodeId([7; 16]);
    let takes = [(node, as_is.clone()), (other, as_is), (node, general)];
    for (number, (node, identity)) in (1..).zip(takes) {
        let digest = Digest::of(&[number]);
        let image = fleet::image::Image {
            digest,
            imported: rack.now.plus_seconds(u64::from(number)),
            ..rack.fleet.images[&mine.image.unwrap()].clone()
        };
        let capture = fleet::capture::Capture {
            id: protocol::JobId([number; 8]),
            node,
            identity,
            image: Some(digest),
            ..mine.clone()
        };
        rack.fleet.put(fleet::Change::Capture(Box::new(capture)));
        rack.fleet.put(fleet::Change::Image(Box::new(image)));
    }
    let found = prunable(&rack.fleet).iter().map(|image| image.digest).collect::<Vec<_>>();
    assert_eq!(found, [mine.image.unwrap()], "only what has a newer one of its kind");
}

#[test]
fn the_newest_of_every_name_and_what_is_needed_are_not_pruned() {
    let (mut rack, _, _) = Rack::active("control");
    let first = rack.fleet.images[&rack.only().installed.as_ref().unwrap().image].clone();
    assert_eq!(prunable(&rack.fleet), Vec::<&fleet::image::Image>::new());
    let mut version = |number: u8, name: &str| {
        let digest = Digest::of(&[number]);
        let imported = first.imported.plus_seconds(u64::from(number));
        let image = fleet::image::Image { digest, imported, name: name.to_owned(), ..first.clone() };
        rack.bring(Event::Imported(image)).unwrap();
        digest
    };
    let (old, _new) = (version(1, &first.name), version(2, &first.name));
    let _other = version(3, "other");
    let found = prunable(&rack.fleet).iter().map(|image| image.digest).collect::<Vec<_>>();
    assert_eq!(found, [old], "not the one that a node runs, nor the newest, nor the only one of a name");
}
