//! `rackwright node rescue`: a node into its operator's hands.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fleet::view::RescueView;
use serde_json::Value;

use crate::cli::Word;
use crate::failure::{Failure, exit};
use crate::node::{path, show_row};
use crate::session::Session;
use crate::text::{ago, date_and_clock};

/// More is no list of keys, in bytes.
const LONGEST: u64 = 64 << 10;

/// Begins. A node that runs is restarted for it: where somebody is at the terminal, its name is asked for.
pub(crate) async fn rescue(
    session: &mut Session,
    node: &str,
    keys: Option<&Path>,
    word: Word,
) -> Result<u8, Failure> {
    let keys = keys.map(read).transpose()?;
    let body = |confirm: Option<String>| {
        let force = word.force.then_some(Value::Bool(true));
        let (keys, confirm) = (keys.clone().map(Value::from), confirm.map(Value::from));
        let fields = [("keys", keys), ("confirm", confirm), ("force", force)];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Value>()
    };
    let asks = word.confirm.is_none() && session.terminal.asks;
    let answer = match session.client.post(&path(node, "rescue"), &body(word.confirm.clone())).await {
        Err(Failure::Refused { error, exit: exit::UNCONFIRMED }) if asks => {
            let what = error.split(": confirm it").next().unwrap_or(&error).to_owned();
            let typed = session.ask(&format!("{what}. Type the node's name to continue: "))?;
            session.client.post(&path(node, "rescue"), &body(Some(typed.unwrap_or_default()))).await?
        }
        other => other?,
    };
    session.note(&format!("how to get in, when it is there: rackwright node show {node}"));
    show_row(session, &answer)
}

/// What is in the file, or comes in where it is called `-`.
fn read(file: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Reading { path: PathBuf::from(file), source };
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST + 1).read_to_string(&mut text)
    } else {
        File::open(file).map_err(failed)?.take(LONGEST + 1).read_to_string(&mut text)
    };
    read.map_err(failed)?;
    Ok(text)
}

/// How to get in.
pub(crate) fn way_in(rescue: &RescueView, now: u64) -> Vec<(&'static str, String)> {
    let entered = match &rescue.entered {
        Some(at) => format!("in the ramdisk since {} ({} ago)", date_and_clock(at), ago(at, now)),
        None => "on its way into the ramdisk".to_owned(),
    };
    let mut pairs = vec![("rescue", entered), ("from", rescue.from.clone())];
    if let Some(key) = &rescue.host_key {
        pairs.push(("login", format!("ssh root@{}", rescue.address)));
        pairs.push(("host key", key.clone()));
    }
    let keys = if rescue.keys.is_empty() { "nobody by SSH".to_owned() } else { rescue.keys.join(", ") };
    pairs.extend([("for", keys), ("console", "Enter opens a shell".to_owned())]);
    if let Some(trouble) = &rescue.trouble {
        pairs.push(("trouble", trouble.clone()));
    }
    pairs
}
