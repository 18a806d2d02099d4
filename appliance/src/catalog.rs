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
            assert!(catalog.units_of(&[role.to_owned()].into()).next().is_some(), "{role} runs nothing");
        }
    }
}
