//! The machine itself: restarting it. Knows that a restart is the start of a target which nothing may call off, and
//! that systemd's own `Reboot` stops no service before it pulls the plug.

use zbus::zvariant::OwnedObjectPath;

use crate::{Systemd, UnitError};

/// What systemd starts to shut down and come up again (systemd.special(7)).
const TARGET: &str = "reboot.target";
/// As `systemctl reboot` queues it: no later job may replace it. The binding's list of modes has no word for this.
const MODE: &str = "replace-irreversibly";

impl Systemd {
    /// Restarts the machine, services stopped in order. Returns when systemd has accepted it: the machine is still
    /// up then, and goes down while the caller is stopped like everything else. Asking again does no harm.
    ///
    /// # Errors
    /// [`UnitError`]; [`UnitError::is_uncertain`] tells those after which the machine may go down all the same.
    pub async fn reboot(&self) -> Result<(), UnitError> {
        let doing = "restarting the machine";
        let link = self.link(doing).await?;
        let job: Result<OwnedObjectPath, _> = link.manager.inner().call("StartUnit", &(TARGET, MODE)).await;
        job.map(drop).map_err(|error| UnitError::from_wire(doing, error))
    }
}
