//! The recovery kit, as it is told.

use serde::{Deserialize, Serialize};

/// A recovery kit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KitView {
    /// How people tell it from others.
    pub kit: String,
    /// When it was made, RFC 3339; told with the page only.
    pub made: Option<String>,
    /// The page to be printed, line by line; told once, when the kit is made.
    #[serde(default)]
    pub page: Vec<String>,
}
