//! Model check: from every state that can be reached, every event, by the real `step`.
//!
//! The search is breadth first over what a world looks like when numbers, times and ids are left out ([`world::World::sketch`]);
//! of every look the first world that has it goes on. It covers one server, with a second one that claims to be it. The
//! laws are in [`laws`], the events in [`alphabet`]: a new state, event or task does not compile until both say something of it.

mod alphabet;
mod laws;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use world::World;

/// More looks than this are a sketch that tells worlds apart by something that grows for ever.
const LOOKS_MAX: usize = 60_000;

/// What was found: every look, and which look follows which.
#[derive(Default)]
struct Atlas {
    after: BTreeMap<String, BTreeSet<String>>,
    words: BTreeSet<&'static str>,
    letters: BTreeSet<&'static str>,
    tried: usize,
}

/// Tries everything everywhere, and checks the laws on the way.
fn explore() -> Atlas {
    let mut atlas = Atlas::default();
    let mut queue = VecDeque::from([World::new()]);
    let mut known = BTreeSet::from([World::new().sketch()]);
    while let Some(world) = queue.pop_front() {
        let here = world.sketch();
        laws::of_world(&world);
        laws::of_replacing(&world);
        atlas.words.extend(world.words());
        let mut after = BTreeSet::new();
        for (letter, event, later) in alphabet::letters(&world) {
            atlas.letters.insert(alphabet::name(&event));
            atlas.tried += 1;
            let (next, outcome) = match world.after(letter, event.clone(), later) {
                Ok(after) => after,
                Err(denied) => {
                    laws::of_refusal(&world, letter, &denied);
                    continue;
                }
            };
            laws::of_outcome(&next, &outcome);
            if !outcome.effects.is_empty() {
                laws::of_doubt(&world, letter, event);
            }
            let sketch = next.sketch();
            if known.insert(sketch.clone()) {
                assert!(known.len() <= LOOKS_MAX, "the search does not end: {sketch}\n{:?}", next.path);
                queue.push_back(next);
            }
            after.insert(sketch);
        }
        atlas.after.insert(here, after);
    }
    atlas
}

/// Of a server that keeps its disks not all is tried, because its life is twice as large: every event at every step of its way in, and
/// every event after each of those.
#[test]
fn every_event_twice_on_the_way_of_a_server_that_keeps_its_disks() {
    let mut tried = 0;
    let mut here = World::adopting();
    for _ in 0..2 {
        let mut known = BTreeSet::new();
        let mut next = Vec::new();
        for world in &here {
            laws::of_world(world);
            laws::of_replacing(world);
            for (letter, event, later) in alphabet::letters(world) {
                tried += 1;
                match world.after(letter, event, later) {
                    Ok((after, outcome)) => {
                        laws::of_outcome(&after, &outcome);
                        if known.insert(after.sketch()) {
                            next.push(after);
                        }
                    }
                    Err(denied) => laws::of_refusal(world, letter, &denied),
                }
            }
        }
        here = next;
    }
    here.iter().for_each(laws::of_world);
    println!("{tried} events tried, {} looks at the end", here.len());
}

#[test]
fn every_event_in_every_state() {
    let atlas = explore();
    let missed = laws::WORDS.iter().filter(|word| !atlas.words.contains(*word)).collect::<Vec<_>>();
    assert!(missed.is_empty(), "states that the search never reached: {missed:?}");
    assert_eq!(atlas.words.len(), laws::WORDS.len(), "a state without a word in the list: {:?}", atlas.words);
    let missed = alphabet::NAMES.iter().filter(|name| !atlas.letters.contains(*name)).collect::<Vec<_>>();
    assert!(missed.is_empty(), "events that the search never tried: {missed:?}");
    laws::of_atlas(&atlas.after);
    let steps = atlas.after.values().map(BTreeSet::len).sum::<usize>();
    println!("{} looks, {} events tried, {steps} ways between looks", atlas.after.len(), atlas.tried);
}
