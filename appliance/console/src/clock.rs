//! `rackwright clock`: whether the controller knows what time it is.

use fleet::view::ClockRow;
use serde_json::json;

use crate::cli::ClockCommand;
use crate::failure::{Failure, exit};
use crate::session::Session;

pub(crate) async fn clock(session: &mut Session, command: ClockCommand) -> Result<u8, Failure> {
    let ClockCommand::Accept = command;
    let answer = session.client.post("/v1/clock/accept", &json!({})).await?;
    session.show(&answer, |answer, _| {
        Ok(format!(
            "{} is taken for right: certificates are issued again\n",
            answer.item::<ClockRow>()?.accepted
        ))
    })?;
    Ok(exit::OK)
}
