//! The catalog's files, embedded: roles, services, templates.

use fleet::Catalog;
use fleet::catalog::CatalogError;

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// The catalog this program was built with.
///
/// # Errors
/// [`CatalogError`]; a test keeps a program whose catalog is not one from being built.
pub fn embedded() -> Result<Catalog, CatalogError> {
    Catalog::parse(FILES.iter().copied())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_role_has_its_services_and_every_file_its_template() {
        let catalog = super::embedded().unwrap();
        for role in ["control", "compute", "network", "storage"] {
            assert!(catalog.has_role(role), "{role}");
            let roles = [role.to_owned()].into();
            assert!(catalog.units_of(&roles).next().is_some(), "{role} runs nothing");
            assert_eq!(catalog.wants(&roles, "disk.data"), role == "storage", "{role}");
        }
    }
}
