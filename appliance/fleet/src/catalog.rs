//! Roles and services as data: what a node of a role runs. Parsed from TOML that the daemon embeds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// All roles and services.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    roles: BTreeMap<String, Role>,
    services: BTreeMap<String, Service>,
    templates: BTreeMap<String, String>,
}

/// What a node can be for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Services in the order they start.
    pub services: Vec<String>,
}

/// One base or cloud component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Debian packages that the image carries for it.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Configuration files.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Units in start order.
    #[serde(default)]
    pub units: Vec<UnitEntry>,
    /// Guarded commands.
    #[serde(default)]
    pub tasks: Vec<TaskEntry>,
}

/// One file, made from a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Absolute path.
    pub path: String,
    /// Octal permission bits.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// A name in the catalog's templates.
    pub template: String,
}

/// One unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitEntry {
    /// `chrony.service`.
    pub name: String,
    /// Started by the next boot.
    pub enabled: bool,
    /// Running now.
    pub running: bool,
}

/// One guarded command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEntry {
    /// Unique among all services.
    pub name: String,
    /// Exit status 0: done already.
    pub guard: Vec<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Killed after so many seconds.
    pub timeout_seconds: u32,
    /// Before the units, or after them.
    pub before_units: bool,
}

/// Why the catalog is not one.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file is not the TOML it should be.
    #[error("reading {file} of the catalog")]
    Toml {
        /// The file.
        file: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Something is named that is not there, or twice.
    #[error("{file} of the catalog: {what}")]
    Content {
        /// The file.
        file: String,
        /// What.
        what: String,
    },
}

impl Catalog {
    /// The catalog of these files: `(path below the catalog folder, content)`.
    ///
    /// # Errors
    /// [`CatalogError`], naming the file.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, CatalogError> {
        let mut catalog = Catalog::default();
        for (path, text) in files {
            let toml = |source| CatalogError::Toml { file: path.to_owned(), source: Box::new(source) };
            match path.split_once('/') {
                Some(("roles", _)) => {
                    let role: Role = toml::from_str(text).map_err(toml)?;
                    catalog.roles.insert(role.name.clone(), role);
                }
                Some(("services", _)) => {
                    let service: Service = toml::from_str(text).map_err(toml)?;
                    catalog.services.insert(service.name.clone(), service);
                }
                Some(("templates", name)) => {
                    catalog.templates.insert(name.to_owned(), text.to_owned());
                }
                _ => {
                    let what = "is in none of roles/, services/, templates/".to_owned();
                    return Err(CatalogError::Content { file: path.to_owned(), what });
                }
            }
        }
        catalog.check()?;
        Ok(catalog)
    }

    fn check(&self) -> Result<(), CatalogError> {
        let wrong = |file: String, what: String| Err(CatalogError::Content { file, what });
        for role in self.roles.values() {
            if let Some(name) = role.services.iter().find(|name| !self.services.contains_key(*name)) {
                return wrong(format!("roles/{}", role.name), format!("there is no service {name:?}"));
            }
        }
        let mut tasks = BTreeSet::new();
        for service in self.services.values() {
            let file = format!("services/{}", service.name);
            if let Some(entry) = service.files.iter().find(|f| !self.templates.contains_key(&f.template)) {
                return wrong(file, format!("there is no template {:?}", entry.template));
            }
            if let Some(task) = service.tasks.iter().find(|task| !tasks.insert(task.name.clone())) {
                return wrong(file, format!("task {:?} is there twice", task.name));
            }
        }
        Ok(())
    }

    /// Whether an operator can give this role; `base` is every node's.
    pub fn has_role(&self, role: &str) -> bool {
        role != "base" && self.roles.contains_key(role)
    }

    /// All roles that an operator can give.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().filter(|role| role.name != "base")
    }

    /// The services of a node with these roles, in start order, the base first, none twice. A control node serves time,
    /// so it does not run the base's client beside it: a role that lists a service with the same unit wins.
    pub fn services_of(&self, roles: &BTreeSet<String>) -> Vec<&Service> {
        let named = roles.iter().filter_map(|name| self.roles.get(name));
        let all = self.roles.get("base").into_iter().chain(named);
        let mut seen = BTreeSet::new();
        let services = all.flat_map(|role| &role.services).filter_map(|name| self.services.get(name));
        let services = services.filter(|service| seen.insert(service.name.clone())).collect::<Vec<_>>();
        let clashes = |index: usize, service: &Service| {
            services.iter().skip(index + 1).any(|later| {
                later.files.iter().any(|file| service.files.iter().any(|own| own.path == file.path))
            })
        };
        services.iter().enumerate().filter(|(i, s)| !clashes(*i, s)).map(|(_, s)| *s).collect()
    }

    /// Units of a node with these roles, in start order.
    pub fn units_of(&self, roles: &BTreeSet<String>) -> impl Iterator<Item = &str> {
        self.services_of(roles).into_iter().flat_map(|service| &service.units).map(|unit| unit.name.as_str())
    }

    /// Whether any file or task of these roles has the placeholder `${name}`.
    pub fn wants(&self, roles: &BTreeSet<String>, name: &str) -> bool {
        let placeholder = format!("${{{name}}}");
        self.services_of(roles).iter().any(|service| {
            let templates = service.files.iter().map(|file| self.template(&file.template));
            let tasks = service.tasks.iter().flat_map(|task| task.guard.iter().chain(&task.argv));
            templates.chain(tasks.map(String::as_str)).any(|text| text.contains(&placeholder))
        })
    }

    /// A template's text.
    pub fn template(&self, name: &str) -> &str {
        self.templates.get(name).map_or("", String::as_str)
    }
}
