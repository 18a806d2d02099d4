//! The agents' HTTPS routes. All are POST with JSON but the two image routes, the bytes of a capture and those of a test; the stage that may call is beside each.

/// [`crate::Hello`] → [`crate::HelloReply`]. No certificate.
pub const HELLO: &str = "/agent/v1/hello";
/// [`crate::TaskAsk`] → `Envelope<Task>`. Stage deploy.
pub const TASK: &str = "/agent/v1/task";
/// [`crate::Progress`] → `Envelope<ProgressReply>`. Stage deploy.
pub const PROGRESS: &str = "/agent/v1/progress";
/// [`crate::CastAsk`] → `Envelope<CastReply>`. Stage deploy, and only for its image job.
pub const CAST: &str = "/agent/v1/cast";
/// [`crate::Receipt`] → `Envelope<Task>`. Stage deploy.
pub const VERIFIED: &str = "/agent/v1/verified";
/// [`crate::Erasure`] → `Envelope<Task>`. Stage deploy, and only for its erase job.
pub const ERASED: &str = "/agent/v1/erased";
/// [`crate::Rescue`] → `Envelope<RescueReply>`. Stage deploy.
pub const RESCUE: &str = "/agent/v1/rescue";
/// [`crate::TestReport`] → `Envelope<ProgressReply>`. Stage deploy, and only for its test.
pub const TESTED: &str = "/agent/v1/tested";
/// GET, bytes that mean nothing, as many as are read. Stage deploy, and only while its node is tested.
pub const TEST_DATA: &str = "/agent/v1/test/data";
/// GET, the encoded `pack::Signed` as JSON. Stage deploy, and only the image of its job.
pub fn manifest(image: &pack::Digest) -> String {
    format!("/agent/v1/images/{image}/manifest")
}
/// GET with `Range`, the data area of the image. Stage deploy, and only the image of its job.
pub fn data(image: &pack::Digest) -> String {
    format!("/agent/v1/images/{image}/data")
}
/// [`crate::Windows`] → `Envelope<Missing>`. Stage deploy, and only for its capture job.
pub const WINDOWS: &str = "/agent/v1/capture/windows";
/// The stored bytes of one window that was told to be missing → `{}`. Stage deploy, and only for its capture job.
pub fn stored(job: &crate::JobId, window: u32) -> String {
    format!("{STORED}{job}/{window}")
}
/// What [`stored`] begins with.
pub const STORED: &str = "/agent/v1/capture/stored/";
/// [`crate::Seal`] → `Envelope<Task>`. Stage deploy, and only for its capture job.
pub const SEAL: &str = "/agent/v1/capture/seal";
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
/// [`crate::NetworkAsk`] → `Envelope<NetworkReply>`. Stage deploy and stage run.
pub const NETWORK: &str = "/agent/v1/network";
