//! A cloud: keystone's token and catalog, and requests to the services of the catalog.

use std::collections::BTreeMap;

use bytes::Bytes;
use fleet::view::CloudAccess;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::fault::Fault;
use super::rest::{Call, Reply, send};

const JSON: &str = "application/json";

/// What a cloud may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Compute,
    Image,
    Network,
    Volumes,
    Objects,
}

impl Service {
    const ALL: [Service; 5] =
        [Service::Compute, Service::Image, Service::Network, Service::Volumes, Service::Objects];
    /// Without these there is no instance.
    pub(super) const NEEDED: [Service; 3] = [Service::Compute, Service::Image, Service::Network];

    pub(super) fn word(self) -> &'static str {
        match self {
            Service::Compute => "compute",
            Service::Image => "image",
            Service::Network => "network",
            Service::Volumes => "block storage",
            Service::Objects => "object storage",
        }
    }

    /// Its types in catalogs, the usual one first.
    fn types(self) -> &'static [&'static str] {
        match self {
            Service::Compute => &["compute"],
            Service::Image => &["image"],
            Service::Network => &["network"],
            Service::Volumes => &["block-storage", "volumev3", "block-store"],
            Service::Objects => &["object-store"],
        }
    }

    /// What comes between the catalog's URL and a path.
    fn version(self) -> &'static str {
        match self {
            Service::Image => "/v2",
            Service::Network => "/v2.0",
            Service::Compute | Service::Volumes | Service::Objects => "",
        }
    }
}

/// A way to the services.
#[derive(Debug)]
pub(super) struct Cloud {
    access: CloudAccess,
    token: Option<String>,
    project: String,
    endpoints: BTreeMap<Service, String>,
}

impl Cloud {
    pub(super) fn new(access: CloudAccess) -> Cloud {
        Cloud { access, token: None, project: String::new(), endpoints: BTreeMap::new() }
    }

    /// Gets a token and the catalog.
    pub(super) async fn log_in(&mut self) -> Result<(), Fault> {
        let CloudAccess { auth_url, region, username, project, domain, password } = &self.access;
        let user = json!({"name": username, "domain": {"name": domain}, "password": password});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"name": project, "domain": {"name": domain}}});
        let body = json!({"auth": {"identity": identity, "scope": scope}}).to_string();
        let url = format!("{}/auth/tokens", auth_url.trim_end_matches('/'));
        let call = Call { method: Method::POST, url: &url, token: None, content: JSON, body: body.into() };
        let what = "asking keystone for a token";
        let reply = send(call).await?.succeeded(what)?;
        let answer = reply.json(what)?;
        self.endpoints = endpoints(&answer, region);
        self.project = text(&answer, &["token", "project", "id"]).to_owned();
        self.token = Some(reply.token.ok_or_else(|| Fault::new("keystone's answer has no token in it"))?);
        Ok(())
    }

    pub(super) fn region(&self) -> &str {
        &self.access.region
    }

    /// The id of the project that everything is made in.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    pub(super) fn has(&self, service: Service) -> bool {
        self.endpoints.contains_key(&service)
    }

    pub(super) async fn get(&mut self, service: Service, path: &str) -> Result<Value, Fault> {
        self.call(service, Method::GET, path, None).await
    }

    pub(super) async fn post(&mut self, service: Service, path: &str, body: Value) -> Result<Value, Fault> {
        self.call(service, Method::POST, path, Some(body)).await
    }

    pub(super) async fn put(&mut self, service: Service, path: &str, body: Value) -> Result<Value, Fault> {
        self.call(service, Method::PUT, path, Some(body)).await
    }

    /// Deletes; what is not there is deleted.
    pub(super) async fn delete(&mut self, service: Service, path: &str) -> Result<(), Fault> {
        match self.call(service, Method::DELETE, path, None).await {
            Err(fault) if !fault.is(404) => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn call(
        &mut self,
        service: Service,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Fault> {
        let what = format!("{method} {path} ({})", service.word());
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        // What a deletion is answered with is nobody's business.
        let is_read = method != Method::DELETE;
        let reply = self.raw(service, method, path, (JSON, body)).await?;
        if is_read { reply.json(&what) } else { Ok(Value::Null) }
    }

    /// A request whose body is of another kind than JSON; a success. A token that has run out is replaced once.
    pub(super) async fn raw(
        &mut self,
        service: Service,
        method: Method,
        path: &str,
        (content, body): (&'static str, Bytes),
    ) -> Result<Reply, Fault> {
        let what = format!("{method} {path} ({})", service.word());
        let missing = || Fault::new(format!("the catalog has no {} service", service.word()));
        let url = format!("{}{path}", self.endpoints.get(&service).ok_or_else(missing)?);
        let method = || method.clone();
        let first =
            Call { method: method(), url: &url, token: self.token.as_deref(), content, body: body.clone() };
        let reply = send(first).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return reply.succeeded(&what);
        }
        self.log_in().await?;
        let again = Call { method: method(), url: &url, token: self.token.as_deref(), content, body };
        send(again).await?.succeeded(&what)
    }
}

/// The public endpoints of a region, from keystone's answer.
fn endpoints(answer: &Value, region: &str) -> BTreeMap<Service, String> {
    let entries = list(answer, &["token", "catalog"]);
    let of = |kind: &str| {
        let entries = entries.iter().filter(|entry| text(entry, &["type"]) == kind);
        let mut endpoints = entries.flat_map(|entry| list(entry, &["endpoints"]));
        let is_it = |endpoint: &&Value| {
            text(endpoint, &["interface"]) == "public"
                && [text(endpoint, &["region_id"]), text(endpoint, &["region"])].contains(&region)
        };
        endpoints.find(is_it).map(|endpoint| text(endpoint, &["url"]).to_owned())
    };
    let found = Service::ALL.into_iter().filter_map(|service| {
        let url = service.types().iter().find_map(|kind| of(kind))?;
        let (url, version) = (url.trim_end_matches('/'), service.version());
        let version = if url.ends_with(version) { "" } else { version };
        Some((service, format!("{url}{version}")))
    });
    found.collect()
}

/// The text at a place of an answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a place of an answer; empty where there is none.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The id of what was made.
pub(super) fn id_of(answer: &Value, path: &[&str]) -> Result<String, Fault> {
    let id = text(answer, path);
    let none = || Fault::new(format!("the answer has no {}", path.join(".")));
    if id.is_empty() { Err(none()) } else { Ok(id.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_endpoint_of_the_region_is_the_one() {
        let endpoint = |interface: &str, region: &str, url: &str| json!({"interface": interface, "region_id": region, "url": url});
        let catalog = json!([
            {"type": "image", "endpoints": [
                endpoint("internal", "R", "http://internal:9292"),
                endpoint("public", "other", "http://other:9292"),
                endpoint("public", "R", "http://ours:9292/"),
            ]},
            {"type": "network", "endpoints": [endpoint("public", "R", "http://ours:9696/v2.0")]},
            {"type": "volumev3", "endpoints": [endpoint("public", "R", "http://old:8776/v3/p")]},
            {"type": "block-storage", "endpoints": [endpoint("public", "R", "http://ours:8776/v3/p")]},
            {"type": "compute", "endpoints": [endpoint("admin", "R", "http://ours:8774/v2.1")]},
            {"type": 7, "endpoints": {}},
            "garbage",
        ]);
        let found = endpoints(&json!({"token": {"catalog": catalog}}), "R");
        let found = found.iter().map(|(service, url)| (*service, url.as_str())).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                (Service::Image, "http://ours:9292/v2"),
                (Service::Network, "http://ours:9696/v2.0"),
                (Service::Volumes, "http://ours:8776/v3/p"),
            ]
        );
        for garbage in [json!(null), json!([]), json!({"token": []}), json!({"token": {"catalog": 7}})] {
            assert!(endpoints(&garbage, "R").is_empty(), "{garbage}");
        }
    }
}
