//! The options of a reply: in which order, and which of them where not all fit.

/// How badly an option is needed; the last of those that are there is left out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Without it the reply is none.
    Always,
    /// The way out of the subnet.
    Router,
    /// What a client may expect to see again.
    Echo,
    /// For firmware that reads no header.
    ServerName,
    /// Name servers.
    Names,
    /// When to renew: clients know by themselves.
    Times,
    /// Saves time only.
    Hint,
}

/// Options to be sent; each code once.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(Need, u8, Vec<u8>)>);

impl Given {
    /// Adds an option.
    pub(super) fn give(&mut self, need: Need, code: u8, value: impl Into<Vec<u8>>) {
        self.0.push((need, code, value.into()));
    }

    /// The octets, without END: what the message is, who sent it and for how long first, then what the client asked
    /// for as it asked for it (RFC 2131, 4.3.1), then the rest by number. Leaves out what does not fit into `room`
    /// and is not needed; the octets that it would take when that is not enough.
    pub(super) fn encode(mut self, wanted: &[u8], room: usize) -> Result<Vec<u8>, usize> {
        while self.length() > room {
            let least = self.0.iter().map(|(need, ..)| *need).max().filter(|need| *need != Need::Always);
            let at = self.0.iter().rposition(|(need, ..)| Some(*need) == least).ok_or(self.length())?;
            self.0.remove(at);
        }
        let rank = |code: u8| {
            let first = [53, 54, 51].iter().position(|first| *first == code);
            let asked = wanted.iter().position(|asked| *asked == code);
            (first.unwrap_or(usize::MAX), asked.unwrap_or(usize::MAX), code)
        };
        self.0.sort_by_key(|(_, code, _)| rank(*code));
        let mut octets = Vec::with_capacity(room);
        for (_, code, value) in &self.0 {
            write(&mut octets, *code, value);
        }
        Ok(octets)
    }

    fn length(&self) -> usize {
        self.0.iter().map(|(_, _, value)| length(value)).sum()
    }
}

/// The octets that [`write`] makes of a value.
pub(super) fn length(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255).max(1)
}

/// Appends an option, in parts of 255 octets (RFC 3396); one without content is there all the same.
pub(super) fn write(octets: &mut Vec<u8>, code: u8, value: &[u8]) {
    for part in value.chunks(255).chain(value.is_empty().then_some(value)) {
        octets.push(code);
        octets.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        octets.extend_from_slice(part);
    }
}
