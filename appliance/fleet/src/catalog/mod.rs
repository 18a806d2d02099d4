//! Roles and services as data: what a node of a role runs. Parsed from TOML that the daemon embeds.

mod entry;
mod order;

use std::collections::{BTreeMap, BTreeSet};

pub use entry::{CheckEntry, FileEntry, Identity, LeaveEntry, Role, Service, TaskEntry, UnitEntry};

/// What every node runs.
const BASE: &str = "base";
/// What the other roles run of the cloud; the name that an image has among its roles when it carries that.
pub const CLOUD: &str = "cloud";

/// All roles and services.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    roles: BTreeMap<String, Role>,
    services: BTreeMap<String, Service>,
    /// By `SERVICE/FILE`.
    templates: BTreeMap<String, String>,
    is_cloud: bool,
    /// What the operator asked for of the optional services.
    chosen: BTreeSet<String>,
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
            let wrong = |what: &str| CatalogError::Content { file: path.to_owned(), what: what.to_owned() };
            match path.split('/').collect::<Vec<_>>().as_slice() {
                ["roles", _] => {
                    let role: Role = toml::from_str(text).map_err(toml)?;
                    catalog.roles.insert(role.name.clone(), role);
                }
                ["services", folder, "service.toml"] => {
                    let service: Service = toml::from_str(text).map_err(toml)?;
                    if service.name != *folder {
                        return Err(wrong("the service has another name than its folder"));
                    }
                    catalog.services.insert(service.name.clone(), service);
                }
                ["services", folder, file] => {
                    catalog.templates.insert(format!("{folder}/{file}"), text.to_owned());
                }
                _ => return Err(wrong("is neither roles/FILE nor services/NAME/FILE")),
            }
        }
        catalog.check()?;
        Ok(catalog)
    }

    /// The catalog of a rack that is a cloud: its roles run what they have of it.
    #[must_use]
    pub fn of_cloud(self, is_cloud: bool) -> Self {
        Self { is_cloud, ..self }
    }

    /// Whether the rack is a cloud.
    pub fn is_cloud(&self) -> bool {
        self.is_cloud
    }

    /// The catalog of a rack whose operator asked for these of [`Catalog::optional`]: its roles run what they have of them in a cloud.
    #[must_use]
    pub fn with_optional(self, chosen: BTreeSet<String>) -> Self {
        Self { chosen, ..self }
    }

    /// What not every cloud has, but those whose operator asks for it: services, or what several of them are part of.
    pub fn optional(&self) -> BTreeSet<&str> {
        self.roles.values().flat_map(|role| &role.optional).map(|name| self.asked_for(name)).collect()
    }

    /// By which name an operator asks for this optional service.
    fn asked_for<'a>(&'a self, service: &'a str) -> &'a str {
        self.services.get(service).and_then(|service| service.part_of.as_deref()).unwrap_or(service)
    }

    /// By which name an operator asks for this service; none: every cloud has it.
    pub fn choice<'a>(&'a self, service: &'a Service) -> Option<&'a str> {
        self.is_optional(&service.name).then(|| self.asked_for(&service.name))
    }

    fn is_chosen(&self, service: &str) -> bool {
        self.chosen.contains(self.asked_for(service))
    }

    /// Those that the operator asked for and the role has.
    fn chosen_of<'a>(&'a self, role: &'a Role) -> impl Iterator<Item = &'a String> {
        role.optional.iter().filter(|name| self.is_cloud && self.is_chosen(name))
    }

    fn check(&self) -> Result<(), CatalogError> {
        let wrong = |file: String, what: String| Err(CatalogError::Content { file, what });
        let is_unknown = |name: &&String| !self.services.contains_key(*name);
        for role in self.roles.values() {
            let file = format!("roles/{}", role.name);
            let named = role.services.iter().chain(&role.cloud).chain(&role.optional);
            if let Some(name) = named.into_iter().find(is_unknown) {
                return wrong(file, format!("there is no service {name:?}"));
            }
            // An image has both among its roles, by their names.
            let mut asked = role.optional.iter().map(|name| self.asked_for(name));
            if let Some(name) = asked.find(|name| self.roles.contains_key(*name)) {
                return wrong(file, format!("{name:?} is an optional service, and a role"));
            }
            if let Some(name) = role.services.iter().chain(&role.cloud).find(|name| self.is_optional(name)) {
                return wrong(file, format!("{name:?} is optional for one role, and not for this one"));
            }
        }
        let mut tasks = BTreeSet::new();
        for service in self.services.values() {
            let file = format!("services/{}", service.name);
            if let Some(what) = self.fault(service, &mut tasks) {
                return wrong(file, what);
            }
        }
        match order::circle(&self.services) {
            Some(name) => wrong(format!("services/{name}"), "it needs itself, by way of others".to_owned()),
            None => Ok(()),
        }
    }

    /// What is wrong with a service. `tasks` has the names of all tasks so far.
    fn fault<'a>(&self, service: &'a Service, tasks: &mut BTreeSet<&'a str>) -> Option<String> {
        let is_unknown = |name: &&String| !self.services.contains_key(*name);
        let template = |entry: &&FileEntry| !self.templates.contains_key(&place(service, &entry.template));
        let absent = service.files.iter().find(template);
        let absent = absent.map(|entry| format!("there is no template {:?}", entry.template));
        let twice = service.tasks.iter().find(|task| !tasks.insert(&task.name));
        let twice = twice.map(|task| format!("task {:?} is there twice", task.name));
        let named = service.needs.iter().chain(&service.after);
        let named = named.chain(service.files.iter().flat_map(|file| &file.restarts));
        let unknown = named.into_iter().find(is_unknown).map(|name| format!("there is no service {name:?}"));
        let beyond =
            service.needs.iter().find(|need| self.is_optional(need) && !self.is_optional(&service.name));
        let beyond = beyond.map(|need| format!("it needs {need:?}, which not every cloud has"));
        let homeless = !service.databases.is_empty() && service.account.is_none();
        let homeless = homeless.then(|| "it has databases and no account".to_owned());
        let part = service.part_of.is_some() && !self.is_optional(&service.name);
        let part = part.then(|| "it is part of what an operator asks for, and every cloud has it".to_owned());
        let kinds = service.check.as_ref().is_some_and(|check| check.kinds() != 1);
        let kinds = kinds.then(|| "its check is not one of http, tcp, command".to_owned());
        // What a node is active with comes up together, and nobody waits for it or has it leave.
        let is_base = self.roles.values().any(|role| role.services.contains(&service.name));
        let ignored = is_base && (service.check.is_some() || service.leave.is_some());
        let ignored = ignored.then(|| {
            "it is one that a node is active with, and of those neither check nor leave is looked at"
                .to_owned()
        });
        absent.or(twice).or(unknown).or(beyond).or(homeless).or(part).or(kinds).or(ignored)
    }

    /// Whether an operator can give this role; `base` is every node's, `cloud` the whole rack's.
    pub fn has_role(&self, role: &str) -> bool {
        role != BASE && role != CLOUD && self.roles.contains_key(role)
    }

    /// All roles that an operator can give.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().filter(|role| self.has_role(&role.name))
    }

    /// What an image for these roles must be made for.
    pub fn image_roles(&self, roles: &BTreeSet<String>) -> BTreeSet<String> {
        let chosen =
            roles.iter().filter_map(|name| self.roles.get(name)).flat_map(|role| self.chosen_of(role));
        let chosen = chosen.map(|name| self.asked_for(name).to_owned());
        roles.iter().cloned().chain(chosen).chain(self.is_cloud.then(|| CLOUD.to_owned())).collect()
    }

    /// Every service that some node of the rack can have: all but the optional ones that nobody asked for.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        let is_left_out = |name: &str| self.is_optional(name) && !self.is_chosen(name);
        self.services.values().filter(move |service| !is_left_out(&service.name))
    }

    /// Whether the service is there only where the operator asks for it.
    pub fn is_optional(&self, service: &str) -> bool {
        self.roles.values().any(|role| role.optional.iter().any(|name| name == service))
    }

    /// Whether the service is of the cloud, and comes up after all that a node is active with.
    pub fn is_of_cloud(&self, service: &str) -> bool {
        self.is_cloud && !self.roles.values().any(|role| role.services.iter().any(|name| name == service))
    }

    /// The services of a node with these roles, in start order, the base first, what is needed before what needs it, none twice. A control
    /// node serves time, so it does not run the base's client beside it: a role that lists a service with the same file wins.
    pub fn services_of(&self, roles: &BTreeSet<String>) -> Vec<&Service> {
        let named = roles.iter().filter_map(|name| self.roles.get(name)).collect::<Vec<_>>();
        let all = self.roles.get(BASE).into_iter().chain(named.iter().copied());
        let of_cloud = named.iter().filter(|_| self.is_cloud);
        let of_cloud = of_cloud.flat_map(|role| role.cloud.iter().chain(self.chosen_of(role)));
        let names = all.flat_map(|role| &role.services).chain(of_cloud);
        let mut seen = BTreeSet::new();
        let services = names.filter_map(|name| self.services.get(name));
        let services = services.filter(|service| seen.insert(service.name.clone())).collect::<Vec<_>>();
        let clashes = |index: usize, service: &Service| {
            services.iter().skip(index + 1).any(|later| {
                later.files.iter().any(|file| service.files.iter().any(|own| own.path == file.path))
            })
        };
        let kept = services.iter().enumerate().filter(|(i, s)| !clashes(*i, s)).map(|(_, s)| *s);
        order::by_need(kept.collect())
    }

    /// Units of a node with these roles, in start order.
    pub fn units_of(&self, roles: &BTreeSet<String>) -> impl Iterator<Item = &str> {
        self.services_of(roles).into_iter().flat_map(|service| &service.units).map(|unit| unit.name.as_str())
    }

    /// Whether any file or task of these roles has the placeholder `${name}`.
    pub fn wants(&self, roles: &BTreeSet<String>, name: &str) -> bool {
        let placeholder = format!("${{{name}}}");
        self.services_of(roles).iter().any(|service| {
            let templates = service.files.iter().map(|file| self.template(service, &file.template));
            let tasks = service.tasks.iter().flat_map(|task| task.guard.iter().chain(&task.argv));
            templates.chain(tasks.map(String::as_str)).any(|text| text.contains(&placeholder))
        })
    }

    /// Whether a service makes the accounts of all others, and so says which passwords are right.
    pub fn keeps_accounts(&self, service: &Service) -> bool {
        let texts = service.files.iter().map(|file| self.template(service, &file.template));
        let all = ["${cloud.databases}", "${cloud.identity}"];
        texts.into_iter().any(|text| all.iter().any(|name| text.contains(name)))
    }

    /// The text of a template of a service.
    pub fn template(&self, service: &Service, name: &str) -> &str {
        self.templates.get(&place(service, name)).map_or("", String::as_str)
    }
}

fn place(service: &Service, template: &str) -> String {
    format!("{}/{template}", service.name)
}
