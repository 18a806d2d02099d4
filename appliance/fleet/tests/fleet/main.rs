//! The lifecycle, told as stories: every event goes through `step`, every change through `put`.

mod documents;
mod enrolment;
mod imaging;
mod laws;
mod planning;
mod rack;
mod running;
