//! Set-ups that end anywhere and go on.

use setup::{Action, Id, Message, Session, Stage, record, update};

use crate::machines::{begun, enter, two};

/// A whole set-up: back, jumps, wrong answers, another look, a failure to write.
fn story() -> Vec<Message> {
    let say = |text: &str| Message::Answer(text.to_owned());
    let mut messages = vec![
        Message::Earlier([(Id::Site, "old-site".to_owned())].into()),
        Message::Looked(two()),
        say("zh-CN"),
        say("No Site"),
        say(""),
        Message::Help,
        say("advanced-1"),
        Message::Back,
        say("advanced-2"),
        say("eno1"),
        say("static"),
        say(""),
        say("192.168.7.254"),
        Message::Jump(Id::Site),
        say("lab-7"),
    ];
    let mut session = Session::replay(&messages);
    while let Stage::Asking(_) = session.stage() {
        update(&mut session, say(""));
        messages.push(say(""));
    }
    messages.extend([
        Message::Jump(Id::TimeServers),
        say("10.0.0.1"),
        Message::Looked(two()),
        Message::Confirm,
        Message::NotWritten("No space left on device (os error 28)".to_owned()),
        Message::Leave,
        Message::Resume,
        Message::Confirm,
        Message::Written,
    ]);
    messages
}

#[test]
fn a_recorded_set_up_is_the_same_again() {
    let messages = story();
    let text = messages.iter().map(record::line).fold(record::HEAD.to_owned(), |text, line| text + &line);
    assert_eq!(record::read(&text), messages);
    let (once, again) = (Session::replay(&messages), Session::replay(&record::read(&text)));
    assert_eq!(once, again);
    assert_eq!(once.stage(), Stage::Written);
    assert_eq!(once.context().value(Id::Site).as_deref(), Some("lab-7"));
    assert_eq!(once.context().value(Id::TimeServers).as_deref(), Some("10.0.0.1"));
}

#[test]
fn a_record_that_breaks_off_anywhere_is_whole_up_to_there() {
    let messages = story();
    let text = messages.iter().map(record::line).fold(record::HEAD.to_owned(), |text, line| text + &line);
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let read = record::read(&text[..end]);
        assert_eq!(read[..], messages[..read.len()]);
    }
    assert_eq!(record::read("something else\n"), []);
}

#[test]
fn after_every_step_set_up_goes_on_with_every_answer() {
    let messages = story();
    for end in 0..messages.len() {
        let (before, rest) = messages.split_at(end);
        let mut session = Session::replay(before);
        let answers = session.answers().clone();
        update(&mut session, Message::Resume);
        update(&mut session, Message::Looked(two()));
        assert_eq!(*session.answers(), answers, "after {end}");
        assert!(
            matches!(session.stage(), Stage::Asking(_) | Stage::Review),
            "after {end}: {:?}",
            rest.first()
        );
        enter(&mut session);
        let actions = update(&mut session, Message::Confirm);
        assert!(matches!(actions[..], [Action::Write(_)]), "after {end}: {actions:?}");
    }
}

#[test]
fn nothing_is_written_before_the_confirmation_and_only_once() {
    let mut session = begun(two());
    let mut writes = 0;
    for message in story() {
        let confirms = message == Message::Confirm;
        let actions = update(&mut session, message);
        let is_write = actions.iter().any(|action| matches!(action, Action::Write(_)));
        assert!(confirms || !is_write);
        writes += usize::from(is_write);
    }
    // The first could not be written.
    assert_eq!(writes, 2);
    assert_eq!(update(&mut session, Message::Confirm), [Action::Show]);
}
