//! Machines that set-up meets.

use setup::{Action, Facts, Gateway, Id, Interface, Message, Session, Stage, update};

/// A card with a cable.
pub(crate) fn card(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        mac: Some("52:54:00:12:34:56".to_owned()),
        link: Some(true),
        ..Interface::default()
    }
}

/// Everything is as it should be.
fn healthy(interfaces: Vec<Interface>) -> Facts {
    Facts { interfaces, disk: Some(400_000_000_000), memory: Some(16_000_000_000), now: Some(1_795_000_000) }
}

/// Two cards, one of them at the office.
pub(crate) fn two() -> Facts {
    let gateway = Gateway { address: "192.168.7.1".parse().unwrap(), answers: Some(true) };
    let office = Interface {
        addresses: vec!["192.168.7.20/24".parse().unwrap()],
        gateway: Some(gateway),
        ..card("eno1")
    };
    healthy(vec![office, card("eno2")])
}

/// One card.
pub(crate) fn one() -> Facts {
    healthy(vec![card("enp0s3")])
}

/// Another DHCP server where servers shall boot.
pub(crate) fn crowded() -> Facts {
    let mut facts = two();
    facts.interfaces[1].dhcp = vec!["10.0.0.138".parse().unwrap()];
    facts
}

/// All that can be wrong.
pub(crate) fn broken() -> Facts {
    let mut facts = crowded();
    facts.interfaces[0].gateway.as_mut().unwrap().answers = Some(false);
    facts.interfaces[1].link = Some(false);
    Facts { disk: Some(1 << 20), memory: Some(1 << 29), now: Some(3600), ..facts }
}

/// A set-up on that machine, at its first question.
pub(crate) fn begun(facts: Facts) -> Session {
    let mut session = Session::default();
    assert_eq!(update(&mut session, Message::Looked(facts)), [Action::Show]);
    session
}

/// Answers one question, which must be right.
pub(crate) fn answer(session: &mut Session, text: &str) {
    let actions = update(session, Message::Answer(text.to_owned()));
    assert_eq!(actions, [Action::Show], "{text:?} at {:?}", session.stage());
}

/// Takes everything that is proposed; gives how many times Enter was pressed.
pub(crate) fn enter(session: &mut Session) -> usize {
    let mut pressed = 0;
    while let Stage::Asking(_) = session.stage() {
        answer(session, "");
        pressed += 1;
        assert!(pressed < 100, "no end");
    }
    assert_eq!(session.stage(), Stage::Review);
    pressed
}

/// Gives these answers by jumping to them, and goes on to the review.
pub(crate) fn with(facts: Facts, answers: &[(Id, &str)]) -> Session {
    let mut session = begun(facts);
    for (id, text) in answers {
        update(&mut session, Message::Jump(*id));
        answer(&mut session, text);
    }
    enter(&mut session);
    session
}
