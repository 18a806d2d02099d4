//! What a cloud does not do: what happened, in words that a terminal only shows, and what to do about it.

use serde_json::Value;

use crate::text::{clean, fit};

/// Cells of a service's own words: some answer with a page of HTML.
const WORDS: usize = 300;

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What happened.
    pub(super) why: String,
    /// What to do, where the step itself knows nothing better.
    pub(super) next: Option<String>,
    status: Option<u16>,
}

impl Fault {
    pub(super) fn new(why: impl AsRef<str>) -> Fault {
        Fault { why: clean(why.as_ref()), next: None, status: None }
    }

    /// A service refused `what`.
    pub(super) fn refused(what: &str, status: u16, body: &[u8]) -> Fault {
        let said = complaint(body);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Fault { status: Some(status), ..Fault::new(format!("{what} was refused with {status}{said}")) }
    }

    /// With what to do about it.
    pub(super) fn advise(self, next: impl Into<String>) -> Fault {
        Fault { next: Some(next.into()), ..self }
    }

    /// Whether the service answered with this status.
    pub(super) fn is(&self, status: u16) -> bool {
        self.status == Some(status)
    }
}

/// The words of an error, whichever service wrote it.
fn complaint(body: &[u8]) -> String {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(value) => message(&value).unwrap_or_default().to_owned(),
        Err(_) => String::from_utf8_lossy(body.get(..2000).unwrap_or(body)).into_owned(),
    };
    fit(clean(&said).trim(), WORDS)
}

/// `{"message": …}`, or one level down: the key is the name of the error, or of the service.
fn message(value: &Value) -> Option<&str> {
    let own = |value: &'_ Value| value.get("message").is_some_and(Value::is_string);
    let holder = if own(value) { value } else { value.as_object()?.values().find(|inner| own(inner))? };
    holder.get("message")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::HOSTILE;
    use crate::text::is_hostile;

    #[test]
    fn every_service_says_it_in_its_own_way() {
        for body in [
            r#"{"badRequest": {"code": 400, "message": "no such flavor"}}"#,
            r#"{"NeutronError": {"type": "X", "message": "no such flavor", "detail": ""}}"#,
            r#"{"error": {"code": 401, "title": "Unauthorized", "message": "no such flavor"}}"#,
            r#"{"message": "no such flavor", "code": 1}"#,
            " no such flavor\n",
        ] {
            let fault = Fault::refused("POST /servers", 400, body.as_bytes());
            assert_eq!(fault.why, "POST /servers was refused with 400: no such flavor", "{body}");
            assert!(fault.is(400) && !fault.is(404) && fault.next.is_none());
        }
        for body in ["", "{}", "[1]", "{\"message\": 7}"] {
            let fault = Fault::refused("GET /x", 503, body.as_bytes());
            assert_eq!(fault.why, "GET /x was refused with 503", "{body}");
        }
    }

    #[test]
    fn words_are_short_and_obeyed_by_no_terminal() {
        let long = "x".repeat(100_000);
        for text in HOSTILE.iter().copied().chain([long.as_str()]) {
            for body in [text.to_owned(), serde_json::json!({"e": {"message": text}}).to_string()] {
                let why = Fault::refused("GET /x", 500, body.as_bytes()).why;
                assert!(why.len() < 400 && !why.chars().any(is_hostile), "{why:?}");
            }
        }
        assert!(!Fault::refused("GET /x", 500, &[0xff, 0x1b, 0x00]).why.chars().any(is_hostile));
    }
}
