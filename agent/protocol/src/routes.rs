//! The agents' HTTPS routes. All are POST with JSON but the two image routes; the stage that may call is beside each.

/// [`crate::Hello`] → [`crate::HelloReply`]. No certificate.
pub const HELLO: &str = "/agent/v1/hello";
/// [`crate::TaskAsk`] → `Envelope<Task>`. Stage deploy.
pub const TASK: &str = "/agent/v1/task";
/// [`crate::Progress`] → `Envelope<ProgressReply>`. Stage deploy.
pub const PROGRESS: &str = "/agent/v1/progress";
/// [`crate::Receipt`] → `Envelope<Task>`. Stage deploy.
pub const VERIFIED: &str = "/agent/v1/verified";
/// GET, the encoded `pack::Signed` as JSON. Stage deploy, and only the image of its job.
pub fn manifest(image: &pack::Digest) -> String {
    format!("/agent/v1/images/{image}/manifest")
}
/// GET with `Range`, the data area of the image. Stage deploy, and only the image of its job.
pub fn data(image: &pack::Digest) -> String {
    format!("/agent/v1/images/{image}/data")
}
/// [`crate::Enrol`] → [`crate::Enrolled`]. Stage deploy once, stage run to renew.
pub const ENROL: &str = "/agent/v1/enrol";
/// `Vec<IdentityFile>` → `{}`. Stage run.
pub const ESCROW: &str = "/agent/v1/escrow";
/// [`crate::StateAsk`] → `Envelope<StateReply>`. Stage run.
pub const STATE: &str = "/agent/v1/state";
/// [`crate::Report`] → `Envelope<ReportReply>`. Stage run.
pub const REPORT: &str = "/agent/v1/report";
/// [`crate::Ticket`] → `{}`. Stage run.
pub const TICKET: &str = "/agent/v1/ticket";
