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
mod tests;
