//! `rackwright metrics`: every figure, as Prometheus reads it.

use fleet::view::{MetricFamily, exposition};

use crate::cli::MetricsCommand;
use crate::failure::{Failure, exit};
use crate::session::Session;

pub(crate) async fn metrics(session: &mut Session, command: MetricsCommand) -> Result<u8, Failure> {
    let MetricsCommand::Show = command;
    let answer = session.client.get("/v1/metrics").await?;
    session.show(&answer, |answer, _| Ok(exposition(&answer.items::<MetricFamily>()?)))?;
    Ok(exit::OK)
}
