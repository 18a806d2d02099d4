//! The guest: a system of a few MB that every hypervisor of a cloud can start, to prove the cloud with. Its kernel is the
//! boot store's; what it does is in `recipes/guest/init`.

use crate::cache::Inputs;
use crate::files;
use crate::ramdisk::{Build, RamdiskError};
use crate::recipe::{self, Guest};
use crate::workshop::Workshop;

/// Its first file system, compressed, and the digest of all that it is made of; from the cache where it is there.
pub(crate) fn build(workshop: &Workshop) -> Result<(Vec<u8>, String), RamdiskError> {
    let recipe: Guest = recipe::load(&workshop.recipe("guest.toml"), "--recipes")?;
    let mut inputs = Inputs::default();
    inputs.packages(workshop.toolbox.packages());
    for name in ["release.toml", "guest.toml", "guest"] {
        inputs.path(name, &workshop.recipe(name))?;
    }
    let work = workshop.work()?;
    let Workshop { cache, toolbox, release, progress, recipes, .. } = workshop;
    let (modules, init) = (&recipe.modules, recipes.join("guest/init"));
    let build = Build { programs: &[], modules, toolbox, work: work.path(), init };
    let folder = cache.keep("guest", &inputs, |folder| {
        progress.step("putting the guest together, which proves clouds");
        let archive = build.system()?.encode(release.epoch)?;
        let packed = zstd::bulk::compress(&archive, recipe.level).map_err(RamdiskError::Compress)?;
        fits(packed.len(), recipe.limit_mib)?;
        Ok::<_, RamdiskError>(files::write(&folder.join(NAME), &packed)?)
    })?;
    Ok((files::read(&folder.join(NAME))?, inputs.digest()))
}

/// Its file in the boot store.
pub(crate) const NAME: &str = "guest.img";

fn fits(bytes: usize, limit: u64) -> Result<(), RamdiskError> {
    let is = (bytes as u64).div_ceil(1 << 20);
    if is > limit { Err(RamdiskError::GuestTooBig { is, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tools::Call;

    const INIT: &str = include_str!("../recipes/guest/init");

    fn shipped() -> Guest {
        recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/guest.toml"), "--recipes").unwrap()
    }

    #[test]
    fn what_it_loads_is_in_it_and_it_stays_small() {
        let Guest { modules, limit_mib, .. } = shipped();
        for name in &modules.load {
            assert!(modules.take.contains(name), "{name} is loaded and not taken");
        }
        assert!(fits(4 << 20, limit_mib).is_ok());
        let said = fits((4 << 20) + 1, limit_mib).unwrap_err().to_string();
        assert!(said.contains("5 MiB") && said.contains("recipes/guest.toml"), "{said}");
    }

    /// What it does with a lease, by a shell that only writes down what it was to run.
    fn leased(lease: &[(&str, &str)], why: &str) -> Vec<String> {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let ip = work.path().join("ip");
        let file = |name: &str| work.path().join(name).display().to_string();
        files::write(&ip, format!("#!/bin/sh\necho \"$@\" >>{}\n", file("ran")).as_bytes()).unwrap();
        files::set_mode(&ip, 0o755).unwrap();
        let path = format!("PATH={}:/usr/bin:/bin", work.path().display());
        let script = INIT.replace("PATH=/usr/bin:/usr/sbin", &path).replace("/run/address", &file("address"));
        let mut call = Call::new("sh").args(["-euc", &script, "init", why]);
        let unset = ["mtu", "router", "staticroutes"].map(|name| (name, ""));
        for (name, value) in unset.iter().chain(lease) {
            call = call.env(name, value);
        }
        call.run().unwrap();
        let text = |name: &str| files::read_text(&work.path().join(name)).unwrap_or_default();
        text("ran").lines().chain(text("address").lines()).map(str::to_owned).collect()
    }

    #[test]
    fn routes_of_a_lease_go_where_it_says() {
        let own = ("ip", "192.168.77.5");
        let mask = ("mask", "24");
        let routes = "169.254.169.254/32 192.168.77.2 0.0.0.0/0 192.168.77.1 10.9.0.0/16 0.0.0.0";
        assert_eq!(
            leased(&[own, mask, ("mtu", "1442"), ("router", "10.0.0.9"), ("staticroutes", routes)], "bound"),
            [
                "link set eth0 mtu 1442",
                "address replace 192.168.77.5/24 dev eth0",
                "route replace 169.254.169.254/32 via 192.168.77.2 dev eth0",
                "route replace 0.0.0.0/0 via 192.168.77.1 dev eth0",
                "route replace 10.9.0.0/16 dev eth0",
                "192.168.77.5/24 via 192.168.77.1",
            ]
        );
        assert_eq!(
            leased(&[own, mask, ("router", "192.168.77.1 192.168.77.9")], "renew"),
            [
                "address replace 192.168.77.5/24 dev eth0",
                "route replace 0.0.0.0/0 via 192.168.77.1 dev eth0",
                "192.168.77.5/24 via 192.168.77.1",
            ]
        );
        let none = leased(&[own, mask], "bound");
        assert_eq!(none, ["address replace 192.168.77.5/24 dev eth0", "192.168.77.5/24"]);
        assert_eq!(leased(&[own, mask], "deconfig"), [] as [&str; 0]);
    }
}
