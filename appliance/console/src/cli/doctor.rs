//! `rackwright doctor …`

use clap::{Args, ValueEnum};

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// What to look at: pxe
    #[arg(long, value_enum, default_value = "pxe", hide_possible_values = true, value_name = "AREA")]
    pub(crate) area: Area,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Area {
    /// Network boot.
    Pxe,
}
