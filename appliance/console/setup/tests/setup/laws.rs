//! What holds of any sequence of messages.

use proptest::prelude::*;
use setup::{
    Action, Answer, Facts, Id, Interface, Message, QUESTIONS, Session, Stage, plain, record, update,
};

use crate::machines::{broken, crowded, one, two};

fn any_facts() -> impl Strategy<Value = Facts> {
    let odd = Facts {
        interfaces: vec![Interface { name: "eno 1\u{1b}".to_owned(), ..Interface::default() }],
        disk: Some(u64::MAX),
        memory: Some(0),
        now: Some(u64::MAX),
    };
    prop::sample::select(vec![Facts::default(), one(), two(), crowded(), broken(), odd])
}

fn any_text() -> impl Strategy<Value = String> {
    let words = [
        "",
        "none",
        "en",
        "zh-TW",
        "lab",
        "basic",
        "full-1",
        "advanced-1",
        "all-in-one",
        "eno1",
        "eno2",
        "dhcp",
        "static",
        "10.10.10.1/24",
        "10.10.10.0/24",
        "192.168.7.9/24",
        "192.168.7.1",
        "10.10.10.9-10.10.10.20",
        "proxy",
        "full",
        "7",
        "0.0.0.0/0",
        "255.255.255.254/30",
        "10.0.0.1/30",
        "1-2",
        "0.0.0.1-255.255.255.254",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn any_id() -> impl Strategy<Value = Id> {
    prop::sample::select(QUESTIONS.iter().map(|question| question.id).collect::<Vec<_>>())
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        12 => any_text().prop_map(Message::Answer),
        3 => any_id().prop_map(Message::Jump),
        2 => Just(Message::Back),
        2 => Just(Message::Confirm),
        1 => any_facts().prop_map(Message::Looked),
        1 => prop::collection::btree_map(any_id(), any_text(), 0..4).prop_map(Message::Earlier),
        1 => Just(Message::Help),
        1 => Just(Message::Written),
        1 => any_text().prop_map(Message::NotWritten),
        1 => Just(Message::Leave),
        1 => Just(Message::Resume),
    ]
}

/// The answers that were given in words.
fn given(session: &Session) -> Vec<(Id, String)> {
    let ids = QUESTIONS.iter().map(|question| question.id);
    ids.filter_map(|id| match session.answers().given(id) {
        Some(Answer::Given(text)) => Some((id, text.clone())),
        Some(Answer::Proposed) | None => None,
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sequence_of_messages_panics_or_loses_an_answer(messages in prop::collection::vec(any_message(), 0..40)) {
        let mut session = Session::default();
        for message in &messages {
            let (before, stage) = (given(&session), session.stage());
            let actions = update(&mut session, message.clone());
            let after = given(&session);
            // One question may have another answer, and only the one that was asked.
            for (id, text) in &before {
                let is_asked = stage == Stage::Asking(*id) && matches!(message, Message::Answer(_));
                prop_assert!(is_asked || after.contains(&(*id, text.clone())), "{id:?} after {message:?}");
                prop_assert!(after.iter().any(|(other, _)| other == id), "{id:?} is lost by {message:?}");
            }
            let writes = actions.iter().any(|action| matches!(action, Action::Write(_)));
            prop_assert!(!writes || *message == Message::Confirm);
            if let Stage::Asking(id) = session.stage() {
                prop_assert!(session.context().applies(id), "{id:?}");
            }
            for columns in [80, 40, 3] {
                let _ = (plain::show(&session, columns), plain::explain(&session, columns));
            }
        }
        let text = messages.iter().map(record::line).fold(record::HEAD.to_owned(), |text, line| text + &line);
        prop_assert_eq!(&record::read(&text), &messages);
        prop_assert_eq!(Session::replay(&messages), session);
    }

    #[test]
    fn no_line_that_is_typed_panics(lines in prop::collection::vec(any_text(), 0..30), facts in any_facts()) {
        let mut session = Session::replay(&[Message::Looked(facts)]);
        for line in lines {
            if let plain::Typed::Said(message) = plain::read(&session, &line) {
                update(&mut session, message);
            }
        }
    }
}
