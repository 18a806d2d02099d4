//! Unit files: which units start at boot, which must not start at all. Knows that links changed on disk mean nothing
//! before systemd has read them, so every verb that changed something ends in a reload.

use crate::{Change, Systemd, UnitError, UnitName};

/// Links made or removed: kind of change, link, target.
type Links = Vec<(String, String, String)>;

impl Systemd {
    /// Makes the unit start at boot, as its `[Install]` section says. Does not start it now.
    ///
    /// A unit without such a section (static) is `Already`: there is nothing to link.
    pub async fn enable(&self, unit: &UnitName) -> Result<Change<()>, UnitError> {
        let doing = format!("enabling {unit}");
        let (_, links): (bool, Links) =
            self.ask("EnableUnitFiles", &(&[unit.as_str()][..], false, true), &doing).await?;
        self.reread_if(links, &doing).await
    }

    /// Makes the unit no longer start at boot. Does not stop it now.
    pub async fn disable(&self, unit: &UnitName) -> Result<Change<()>, UnitError> {
        let doing = format!("disabling {unit}");
        let links = self.ask("DisableUnitFiles", &(&[unit.as_str()][..], false), &doing).await?;
        self.reread_if(links, &doing).await
    }

    /// Makes it impossible to start the unit, for people and for other units alike. Does not stop it now.
    pub async fn mask(&self, unit: &UnitName) -> Result<Change<()>, UnitError> {
        let doing = format!("masking {unit}");
        let links = self.ask("MaskUnitFiles", &(&[unit.as_str()][..], false, true), &doing).await?;
        self.reread_if(links, &doing).await
    }

    /// Undoes [`Systemd::mask`].
    pub async fn unmask(&self, unit: &UnitName) -> Result<Change<()>, UnitError> {
        let doing = format!("unmasking {unit}");
        let links = self.ask("UnmaskUnitFiles", &(&[unit.as_str()][..], false), &doing).await?;
        self.reread_if(links, &doing).await
    }

    /// Makes systemd read all unit files again; needed after writing one. Running units keep running.
    pub async fn daemon_reload(&self) -> Result<(), UnitError> {
        let doing = "reloading unit files";
        let link = self.link(doing).await?;
        link.manager.reload().await.map_err(|e| UnitError::from_wire(doing, e))
    }

    /// The binding reads the kinds of link changes into an enum of two; systemd has six and counting.
    async fn ask<B, R>(&self, method: &str, body: &B, doing: &str) -> Result<R, UnitError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let link = self.link(doing).await?;
        link.manager.inner().call(method, body).await.map_err(|e| UnitError::from_wire(doing, e))
    }

    async fn reread_if(&self, links: Links, doing: &str) -> Result<Change<()>, UnitError> {
        // Complaints come as rows of the same list ("dangling", "auxiliary", …): they change no link.
        if !links.iter().any(|(kind, ..)| matches!(kind.as_str(), "symlink" | "unlink" | "masked")) {
            return Ok(Change::Already(()));
        }
        let link = self.link(doing).await?;
        link.manager.reload().await.map_err(|e| UnitError::from_wire(doing, e))?;
        Ok(Change::Made(()))
    }
}
