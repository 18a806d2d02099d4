//! What happens is kept, so that a set-up that ends anywhere goes on.

use std::io;

use setup::{Language, Message, Session, Stage};
use setup::{phrase, record, update};

use super::super::earlier;
use super::Talk;

impl Talk<'_> {
    /// Goes on with a set-up that did not come to its end, or begins one.
    pub(super) fn begin(&mut self, language: Language) -> io::Result<()> {
        self.records = true;
        let recorded = self.machine.recorded().filter(|_| !self.options.restart);
        let messages = recorded.as_deref().map(record::read).unwrap_or_default();
        let session = Session::replay(&messages);
        if !messages.is_empty() && session.stage() != Stage::Written {
            self.session = session;
            if recorded.is_some_and(|text| !text.ends_with('\n')) {
                let ended = self.machine.record("\n");
                self.keeps(ended)?;
            }
            self.note(Message::Resume)?;
            let phrase = phrase::RESUMED.of(self.session.language());
            return self.lines(&setup::wrap(phrase, 0, self.columns));
        }
        let begun = self.machine.begin();
        self.keeps(begun)?;
        self.note(Message::Earlier(earlier(self.machine, self.options.language, language)))
    }

    pub(super) fn look(&mut self) -> io::Result<()> {
        self.lines(&setup::wrap(phrase::LOOKING.of(self.session.language()), 0, self.columns))?;
        let facts = self.machine.look();
        self.note(Message::Looked(facts))
    }

    /// Takes what happened, without showing anything.
    fn note(&mut self, message: Message) -> io::Result<()> {
        self.keep(&message)?;
        update(&mut self.session, message);
        Ok(())
    }

    pub(super) fn keep(&mut self, message: &Message) -> io::Result<()> {
        if !self.records {
            return Ok(());
        }
        let kept = self.machine.record(&record::line(message));
        self.keeps(kept)
    }

    /// Set-up goes on without a record; that is said once.
    pub(super) fn keeps(&mut self, kept: io::Result<()>) -> io::Result<()> {
        match kept {
            Err(error) if !self.told => {
                self.told = true;
                let phrase = phrase::NOT_KEPT;
                let phrase = phrase.filled(self.session.language(), &[("value", &error.to_string())]);
                self.lines(&setup::wrap(&phrase, 0, self.columns))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
