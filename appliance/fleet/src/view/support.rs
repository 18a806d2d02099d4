//! What is sent to somebody who helps.

use serde::{Deserialize, Serialize};

/// All files of a support bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportView {
    /// In no order that means anything.
    pub files: Vec<SupportFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportFile {
    /// Its name, without folders.
    pub name: String,
    /// What is in it; no secret.
    pub text: String,
}
