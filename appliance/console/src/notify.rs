//! `rackwright notify`: whether somebody is told what is wrong.

use serde::Deserialize;
use serde_json::json;

use crate::cli::NotifyCommand;
use crate::failure::{Failure, exit};
use crate::session::Session;

#[derive(Deserialize)]
struct Told {
    told: String,
}

pub(crate) async fn notify(session: &mut Session, command: NotifyCommand) -> Result<u8, Failure> {
    let NotifyCommand::Test = command;
    let answer = session.client.post("/v1/notify/test", &json!({})).await?;
    session.show(&answer, |answer, _| Ok(format!("told {}\n", answer.item::<Told>()?.told)))?;
    Ok(exit::OK)
}
