//! `rackwright explain`: what a code of set-up means, in three languages, without the daemon.

use fleet::view::API_VERSION;
use serde_json::{Value, json};
use setup::{Code, Language, Severity, phrase, plain};

use crate::cli::ExplainArgs;
use crate::failure::{Failure, exit};
use crate::session::{Session, pretty};
use crate::wizard::of_environment;

/// Where there is no terminal.
const COLUMNS: usize = 80;

pub(crate) fn explain(session: &mut Session, wish: &ExplainArgs) -> Result<u8, Failure> {
    let language = wish.lang.or_else(of_environment).unwrap_or_default();
    let columns = session.look.columns.unwrap_or(COLUMNS).min(COLUMNS);
    let text = match &wish.code {
        None if session.json() => {
            let items = Code::ALL.into_iter().map(|code| item(code, language)).collect::<Vec<_>>();
            pretty(&json!({"apiVersion": API_VERSION, "items": items}))
        }
        None => {
            let all = Code::ALL.into_iter().map(|code| code.explained(language));
            let lines = all.flat_map(|is| setup::wrap(&format!("{}  {}", is.number, is.what), 0, columns));
            lines.map(|line| line + "\n").collect()
        }
        Some(number) => {
            let code = Code::of(number).ok_or_else(|| Failure::Refused {
                error: phrase::NO_CODE.filled(language, &[("value", &crate::text::clean(number))]),
                exit: exit::NOT_FOUND,
            })?;
            if session.json() {
                pretty(&json!({"apiVersion": API_VERSION, "item": item(code, language)}))
            } else {
                plain::meaning(code, language, columns).into_iter().map(|line| line + "\n").collect()
            }
        }
    };
    session.print(&text)?;
    Ok(exit::OK)
}

fn item(code: Code, language: Language) -> Value {
    let is = code.explained(language);
    let stops = is.severity == Severity::Stop;
    json!({"code": is.number, "stops": stops, "what": is.what, "why": is.why, "fix": is.fix})
}
