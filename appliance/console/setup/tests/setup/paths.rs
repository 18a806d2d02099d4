//! How many questions there are on which way.

use std::collections::BTreeSet;

use setup::{Action, Id, Message, QUESTIONS, Stage, TOPOLOGIES, plain, update};

use crate::machines::{begun, broken, card, crowded, enter, one, two, with};

#[test]
fn rows_of_the_table_stand_in_the_order_of_their_ids_and_know_themselves() {
    let ids: Vec<Id> = QUESTIONS.iter().map(|question| question.id).collect();
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == ids.len());
    for question in QUESTIONS {
        assert_eq!(question.id.question().key, question.key);
        assert_eq!(Id::of(question.key), Some(question.id));
        assert!(question.key.split('.').count() <= 2);
    }
}

#[test]
fn nobody_who_takes_what_is_proposed_answers_more_than_twelve_times() {
    for facts in [one(), two()] {
        for topology in TOPOLOGIES {
            let mut session = with(facts.clone(), &[(Id::Topology, topology.choice.word)]);
            // Each question of the path, and the confirmation.
            let answers = session.path().count() + 1;
            assert!(answers <= 12, "{}: {answers}", topology.choice.word);
            assert!(matches!(update(&mut session, Message::Confirm)[..], [Action::Write(_)]));
        }
        let mut session = begun(facts);
        assert!(enter(&mut session) < 12);
    }
}

#[test]
fn every_question_is_asked_on_some_way_or_is_on_the_review() {
    let mut asked = BTreeSet::new();
    let mut reviewed = BTreeSet::new();
    for facts in [one(), two(), crowded()] {
        for topology in TOPOLOGIES {
            for method in ["dhcp", "static"] {
                let mut session = begun(facts.clone());
                while let Stage::Asking(id) = session.stage() {
                    asked.insert(id);
                    let text = match id {
                        Id::Topology => topology.choice.word,
                        Id::UplinkMethod => method,
                        _ => "",
                    };
                    assert_eq!(update(&mut session, Message::Answer(text.to_owned())), [Action::Show]);
                }
                reviewed.extend(session.applicable());
            }
        }
    }
    let all: BTreeSet<Id> = QUESTIONS.iter().map(|question| question.id).collect();
    assert_eq!(reviewed, all);
    let only_reviewed = [Id::ManagementVlan, Id::TunnelVlan, Id::TimeServers];
    assert_eq!(all.difference(&asked).copied().collect::<Vec<_>>(), only_reviewed);
}

#[test]
fn what_is_proposed_is_right() {
    for facts in [one(), two(), crowded(), broken()] {
        for topology in TOPOLOGIES {
            let session = with(facts.clone(), &[(Id::Topology, topology.choice.word)]);
            let context = session.context();
            for id in session.applicable() {
                let value = context.value(id).unwrap();
                assert_eq!(setup::check(id, &value, &context), Ok(value), "{id:?}");
            }
        }
    }
}

#[test]
fn the_card_at_the_office_is_never_proposed_to_servers() {
    let value = |facts, id| with(facts, &[]).context().value(id);
    assert_eq!(value(two(), Id::UplinkInterface).as_deref(), Some("eno1"));
    assert_eq!(value(two(), Id::ManagementInterface).as_deref(), Some("eno2"));
    assert_eq!(value(two(), Id::ExternalNetwork).as_deref(), Some("192.168.7.0/24"));
    assert_eq!(value(one(), Id::UplinkInterface).as_deref(), Some("none"));
    assert_eq!(value(one(), Id::ManagementInterface).as_deref(), Some("enp0s3"));
    // The one with a cable, among those that are left.
    let mut facts = two();
    facts.interfaces.insert(1, setup::Interface { link: Some(false), ..card("eno1d1") });
    assert_eq!(value(facts, Id::ManagementInterface).as_deref(), Some("eno2"));
}

#[test]
fn what_was_taken_as_proposed_follows_what_it_was_made_of() {
    let mut session = with(two(), &[]);
    assert_eq!(session.context().value(Id::ManagementPool).as_deref(), Some("10.10.10.100-10.10.10.199"));
    update(&mut session, Message::Jump(Id::ManagementAddress));
    update(&mut session, Message::Answer("172.16.4.1/22".to_owned()));
    assert_eq!(session.stage(), Stage::Review);
    assert_eq!(session.context().value(Id::ManagementPool).as_deref(), Some("172.16.5.144-172.16.7.28"));
}

#[test]
fn a_number_is_what_stands_there_and_a_word_is_itself() {
    let mut session = begun(two());
    let type_in = |session: &mut setup::Session, line: &str| match plain::read(session, line) {
        plain::Typed::Said(message) => update(session, message),
        plain::Typed::Look | plain::Typed::Unknown => panic!("{line}"),
    };
    for (line, id, value) in [
        ("2", Id::Language, "zh-TW"),
        ("1", Id::Site, "1"),
        ("5", Id::Topology, "full-2"),
        ("eno2", Id::UplinkInterface, "eno2"),
    ] {
        assert_eq!(session.stage(), Stage::Asking(id));
        assert_eq!(type_in(&mut session, line), [Action::Show]);
        assert_eq!(session.context().value(id).as_deref(), Some(value));
    }
    // Back, and what was answered is shown still.
    assert_eq!(type_in(&mut session, "<"), [Action::Show]);
    assert_eq!(session.stage(), Stage::Asking(Id::UplinkInterface));
    assert_eq!(type_in(&mut session, ""), [Action::Show]);
    assert_eq!(session.context().value(Id::UplinkInterface).as_deref(), Some("eno2"));
    assert_eq!(type_in(&mut session, "?"), [Action::Explain]);
    enter(&mut session);
    assert_eq!(plain::read(&session, "r"), plain::Typed::Look);
    assert_eq!(plain::read(&session, "0"), plain::Typed::Unknown);
    assert_eq!(plain::read(&session, "99"), plain::Typed::Unknown);
    assert_eq!(type_in(&mut session, "2"), [Action::Show]);
    assert_eq!(session.stage(), Stage::Asking(Id::Site));
}
