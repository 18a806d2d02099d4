//! The catalog, as far as images go: which packages a role needs. Everything else in it is the controller's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::{self, FileError};
use crate::recipe::{self, RecipeError};

/// The role of every node.
const BASE: &str = "base";
/// Among the roles of an image: it carries what they run where the rack is a cloud.
const CLOUD: &str = "cloud";

/// Why there is no list of packages.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file of the catalog is missing or wrong.
    #[error(transparent)]
    Read(#[from] RecipeError),
    /// A folder of the catalog is missing.
    #[error("no catalog; run this from the top folder of the project, or name its folder with --catalog")]
    NoCatalog {
        /// Why not.
        source: FileError,
    },
    /// There is no such role.
    #[error("there is no role {role:?} in {}; there are: {}", catalog.display(), known.join(", "))]
    NoRole {
        /// The one asked for.
        role: String,
        /// Where it was looked for.
        catalog: PathBuf,
        /// What there is.
        known: Vec<String>,
    },
}

// Other fields are not this program's to judge: fleet's parser refuses what is misspelt.
#[derive(Debug, Deserialize)]
struct Role {
    services: Vec<String>,
    #[serde(default)]
    cloud: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(default)]
    packages: Vec<String>,
}

/// The packages of these roles and of the base that every node has; sorted.
pub fn packages(catalog: &Path, roles: &[String]) -> Result<Vec<String>, CatalogError> {
    let known = known_roles(catalog)?;
    if let Some(role) = roles.iter().find(|role| !known.contains(role)) {
        return Err(CatalogError::NoRole { role: role.clone(), catalog: catalog.to_owned(), known });
    }
    let mut packages = BTreeSet::new();
    for role in roles.iter().map(String::as_str).chain([BASE]) {
        let role: Role = recipe::load(&catalog.join(format!("roles/{role}.toml")), "--catalog")?;
        let of_cloud = if roles.iter().any(|role| role == CLOUD) { role.cloud } else { Vec::new() };
        for service in role.services.into_iter().chain(of_cloud) {
            let path = catalog.join(format!("services/{service}/service.toml"));
            let service: Service = recipe::load(&path, "--catalog")?;
            packages.extend(service.packages);
        }
    }
    Ok(packages.into_iter().collect())
}

/// The roles one can ask for.
fn known_roles(catalog: &Path) -> Result<Vec<String>, CatalogError> {
    let paths = files::list(&catalog.join("roles")).map_err(|source| CatalogError::NoCatalog { source })?;
    let stems = paths.iter().filter_map(|path| path.file_stem());
    Ok(stems.map(|stem| stem.to_string_lossy().into_owned()).filter(|name| name != BASE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/catalog")
    }

    #[test]
    fn roles_bring_their_packages_and_the_base() {
        let of = |roles: &[&str]| {
            packages(&shipped(), &roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        let has = |roles: &[&str], package: &str| of(roles).iter().any(|name| name == package);
        assert!(has(&["control"], "mariadb-server") && has(&["control"], "chrony"));
        assert!(has(&["network"], "openvswitch-switch") && !has(&["network"], "mariadb-server"));
        assert!(has(&["network", "storage"], "tgt") && has(&["network", "storage"], "openvswitch-switch"));
    }

    #[test]
    fn an_unknown_role_is_refused_with_those_there_are() {
        for role in ["contrl", "base", "", "../services/tgt"] {
            let error = packages(&shipped(), &[role.to_owned()]).unwrap_err().to_string();
            assert!(error.ends_with("cloud, compute, control, network, storage"), "{error}");
        }
        let error = packages(Path::new("/nonexistent"), &[]).unwrap_err().to_string();
        assert!(error.contains("--catalog"), "{error}");
    }
}
