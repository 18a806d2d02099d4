//! The catalog, as far as images go: which packages a role needs. Everything else in it is the controller's.

use std::collections::{BTreeMap, BTreeSet};
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
    /// There is no such role, or optional service.
    #[error(
        "{name:?} is no role in {}, and no optional service of the roles asked for; optional services, where the role cloud is among \
         them: {}; roles: {}", catalog.display(), listed(optional), listed(known)
    )]
    NoRole {
        /// The one asked for.
        name: String,
        /// Where it was looked for.
        catalog: PathBuf,
        /// The optional services that there are.
        optional: Vec<String>,
        /// The roles that there are.
        known: Vec<String>,
    },
}

// Other fields are not this program's to judge: fleet's parser refuses what is misspelt.
#[derive(Debug, Deserialize)]
struct Role {
    services: Vec<String>,
    #[serde(default)]
    cloud: Vec<String>,
    #[serde(default)]
    optional: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(default)]
    packages: Vec<String>,
    /// What an operator asks for to have it, where that has several services.
    part_of: Option<String>,
}

/// The packages of all that an image carries: these roles, the base that every node has, and those of the roles' optional services that
/// are named beside them, as a manifest does; sorted.
pub fn packages(catalog: &Path, carried: &[String]) -> Result<Vec<String>, CatalogError> {
    let known = known_roles(catalog)?;
    let is_cloud = carried.iter().any(|name| name == CLOUD);
    let (mut services, mut optional) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for role in carried.iter().filter(|name| known.contains(name)).map(String::as_str).chain([BASE]) {
        let role: Role = recipe::load(&catalog.join(format!("roles/{role}.toml")), "--catalog")?;
        services.extend(role.services);
        if is_cloud {
            services.extend(role.cloud);
            for name in role.optional {
                let asked_for = load(catalog, &name)?.part_of.unwrap_or_else(|| name.clone());
                optional.entry(asked_for).or_default().insert(name);
            }
        }
    }
    for name in carried.iter().filter(|name| !known.contains(name)) {
        let Some(parts) = optional.get(name) else {
            let (name, optional) = (name.clone(), optional.into_keys().collect());
            return Err(CatalogError::NoRole { name, catalog: catalog.to_owned(), optional, known });
        };
        services.extend(parts.iter().cloned());
    }
    let mut packages = BTreeSet::new();
    for service in services {
        packages.extend(load(catalog, &service)?.packages);
    }
    Ok(packages.into_iter().collect())
}

fn load(catalog: &Path, service: &str) -> Result<Service, CatalogError> {
    Ok(recipe::load(&catalog.join(format!("services/{service}/service.toml")), "--catalog")?)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
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
    fn an_optional_service_is_carried_where_it_is_asked_for_of_a_role_that_has_it() {
        let of = |carried: &[&str]| {
            packages(&shipped(), &carried.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let has = |carried: &[&str]| of(carried).unwrap().iter().any(|name| name == "heat-engine");
        assert!(has(&["control", "cloud", "heat"]) && has(&["cloud", "control", "heat", "horizon"]));
        assert!(!has(&["control", "cloud"]) && !has(&["control", "cloud", "horizon"]));
        let error = of(&["control", "cloud", "haet"]).unwrap_err().to_string();
        assert!(
            error.starts_with("\"haet\" is no role") && error.contains(": heat, horizon, swift; roles:"),
            "{error}"
        );
        // One name, and of each role what it has of it.
        let of_swift = |carried: &[&str]| {
            let all = of(carried).unwrap();
            ["swift-proxy", "swift-object", "xfsprogs"].map(|name| all.iter().any(|package| package == name))
        };
        assert_eq!(of_swift(&["control", "cloud", "swift"]), [true, false, false]);
        assert_eq!(of_swift(&["storage", "cloud", "swift"]), [false, true, true]);
        assert_eq!(of_swift(&["control", "storage", "cloud", "swift"]), [true; 3]);
        assert_eq!(of_swift(&["control", "storage", "cloud", "heat"]), [false; 3]);
        for carried in [["control", "heat", "heat"], ["cloud", "network", "heat"]] {
            let error = of(&carried).unwrap_err().to_string();
            assert!(error.contains("among them: none; roles: cloud, compute"), "{error}");
        }
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
