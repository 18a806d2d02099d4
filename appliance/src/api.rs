//! The local API: HTTP and JSON over the control socket. The command line is its only shipped client.
//!
//! Whoever may open the socket may do everything, its mode and group are the permission; unless the configuration tells
//! people apart, see `permission`.

mod act;
mod adopt;
mod backup;
mod boots;
mod ca;
mod cloud;
mod console;
mod image;
mod journal;
mod look;
mod network;
#[cfg(test)]
mod passwords_tests;
mod permission;
mod power;
mod preflight;
pub mod query;
mod rollout;
mod second;
mod support;
#[cfg(test)]
mod tests;
mod units;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet::Denied;
use fleet::view::{API_VERSION, Problem, item, list};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;

use crate::answers::Answers;
use crate::backup::{BackupError, Copies, Sources};
use crate::ca::SiteCa;
use crate::cast::Casts;
use crate::config::{Operators, Role};
use crate::images::{ImageError, Images};
use crate::join::Joining;
use crate::journal::Peer;
use crate::listen::ListenerState;
use crate::metrics::Metrics;
use crate::notify::{Notifier, SendError};
use crate::power::consoles::NoConsole;
use crate::power::{Consoles, Vault};
use crate::preflight::Preflights;
use crate::support::Places;
use crate::writer::{Core, Refused};
use permission::Person;
use query::{Query, decode};

/// Most bytes of a request that is not an image.
const MAX_BODY: usize = 1 << 20;

/// What the command line talks to.
#[derive(Clone, Debug)]
pub struct Api {
    /// Events in, world out.
    pub core: Core,
    /// The site CA.
    pub ca: Arc<SiteCa>,
    /// One at a time changes it.
    pub rotating: Arc<tokio::sync::Mutex<()>>,
    /// The image store.
    pub images: Arc<Images>,
    /// What is sent to many at once.
    pub casts: Arc<Casts>,
    /// What is known of the network between nodes.
    pub preflights: Arc<Preflights>,
    /// Answers to orders.
    pub answers: Answers,
    /// What seals the passwords of management controllers.
    pub vault: Arc<Vault>,
    /// Serial consoles.
    pub consoles: Consoles,
    /// The listeners, for `status`.
    pub listeners: Vec<Arc<ListenerState>>,
    /// Where the boot files are, for `doctor`, and how servers join that run already.
    pub joining: Joining,
    /// What a backup is made of.
    pub sources: Sources,
    /// The continuous copy, where one is configured.
    pub copies: Option<Arc<Copies>>,
    /// Our own units; absent where there is no systemd (tests).
    pub own: Option<Arc<units::Own>>,
    /// Who may do what.
    pub operators: Arc<Operators>,
    /// Severe things that wait for a second person.
    pub seconds: Arc<Seconds>,
    /// Figures.
    pub metrics: Metrics,
    /// Who tells what is wrong, if anybody is to be told.
    pub notifier: Option<Arc<Notifier>>,
    /// Where our own files are, for a support bundle.
    pub places: Places,
}

pub use second::Seconds;
pub use units::Own;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("there is no {0}")]
    NoRoute(String),
    /// The body or query is not what the route takes.
    #[error("the request is not understood: {0}")]
    Body(String),
    /// More than any request needs.
    #[error("the request is longer than {MAX_BODY} bytes")]
    TooLong,
    /// That is for others to do.
    #[error(
        "{name} {has}, and this needs {needs}: {holders} have it; roles are given under [operators] in \
         rackwright.toml"
    )]
    Forbidden {
        /// Who.
        name: String,
        /// With which role, as the end of a sentence.
        has: String,
        /// The role that it takes.
        needs: &'static str,
        /// Who has it.
        holders: String,
    },
    /// The typed name is not the node's.
    #[error("this erases {disk} on {node}: confirm it with the node's name (--confirm={node})")]
    Unconfirmed {
        /// The node.
        node: String,
        /// The disk.
        disk: String,
    },
    /// What was typed is not how many nodes, and of what.
    #[error("this erases the system disks of {0}: confirm it with their number and group (--confirm={0:?})")]
    Many(String),
    /// The typed name is not that of the node whose place is to be taken.
    #[error(
        "{new} becomes {old}, and what is {old} now is nobody: confirm it with the name of the old one (--confirm={old})"
    )]
    Replaces {
        /// Whose place is taken.
        old: String,
        /// By which server.
        new: String,
    },
    /// The typed name is not that of the node that is to be forgotten.
    #[error("this forgets {0} for good: confirm it with its name (--confirm={0})")]
    Forgets(String),
    /// The typed name is not the site's.
    #[error(
        "this refuses the other site CA, and whoever trusts only that: confirm it with the site's name (--confirm={0})"
    )]
    Refuses(String),
    /// The typed name is not the site's.
    #[error(
        "this gives the cloud other passwords, the administrator's too, and its services are away for minutes; instances run on: \
         confirm it with the site's name (--confirm={0})"
    )]
    Rotates(String),
    /// One person has asked for something severe.
    #[error(
        "this takes two people, and {name} has asked for it now: it is done when another admin asks for the same within an hour \
         ({command})"
    )]
    Alone {
        /// Who.
        name: String,
        /// What the other one types.
        command: String,
    },
    /// The typed name is not the image's.
    #[error("this deletes image {0} for good: confirm it with its name (--confirm={0})")]
    Unnamed(String),
    /// The rules say no, or it could not be saved.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The image is not taken.
    #[error("{}", crate::chain(.0))]
    Image(#[from] ImageError),
    /// A node did not answer in time.
    #[error("{0} did not answer within {1} s: see rackwright node why {0}")]
    Silent(String, u64),
    /// A look for other DHCP servers did not end.
    #[error(
        "nothing can be seen on {0} within {1} s: is a cable in, and the switch on? (rackwright status shows what is \
         listened on)"
    )]
    Unlooked(String, u64),
    /// Nobody has asked for a check.
    #[error("the network between nodes was not checked yet: rackwright network check")]
    Unchecked,
    /// No backup can be made.
    #[error("{}", crate::chain(.0))]
    Backup(#[from] BackupError),
    /// There is a kit already.
    #[error(
        "there is a recovery kit already ({kit}), and it was shown when it was made. If its page is lost, make another one: \
         rackwright backup key --replace {site} (backups that were made before still need the old one)"
    )]
    Kit {
        /// How it is called.
        kit: String,
        /// The site.
        site: String,
    },
    /// Nobody is to be told anything.
    #[error(
        "nobody is to be told anything: write webhook = \"https://…\" under [notify], or [notify.mail], in rackwright.toml"
    )]
    NobodyToTell,
    /// A test message did not arrive.
    #[error("{}", crate::chain(.0))]
    Untold(#[from] SendError),
    /// No console was to be had.
    #[error("the console of {0} does not open: {1}")]
    Console(String, String),
    /// Something of ours is broken.
    #[error("{0}")]
    Broken(String),
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        ApiError::Refused(denied.into())
    }
}

impl From<NoConsole> for ApiError {
    fn from(why: NoConsole) -> Self {
        match why {
            NoConsole::Refused(refused) => ApiError::Refused(refused),
            NoConsole::Fault(node, why) => ApiError::Console(node, why),
        }
    }
}

impl ApiError {
    /// HTTP status and exit code.
    fn codes(&self) -> (StatusCode, u8) {
        match self {
            ApiError::NoRoute(_)
            | ApiError::Unchecked
            | ApiError::Refused(Refused::Denied(Denied::Missing { .. })) => (StatusCode::NOT_FOUND, 3),
            ApiError::Body(_) => (StatusCode::BAD_REQUEST, 2),
            ApiError::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, 2),
            ApiError::Forbidden { .. } => (StatusCode::FORBIDDEN, 11),
            ApiError::Unconfirmed { .. }
            | ApiError::Unnamed(_)
            | ApiError::Forgets(_)
            | ApiError::Refuses(_)
            | ApiError::Rotates(_)
            | ApiError::Many(_)
            | ApiError::Alone { .. }
            | ApiError::Replaces { .. }
            | ApiError::Refused(Refused::Denied(Denied::Unconfirmed { .. } | Denied::Unnamed { .. })) => {
                (StatusCode::CONFLICT, 5)
            }
            ApiError::Refused(Refused::Denied(_)) => (StatusCode::CONFLICT, 4),
            ApiError::Refused(Refused::Stopping) => (StatusCode::SERVICE_UNAVAILABLE, 6),
            ApiError::Refused(Refused::Unsaved(_)) | ApiError::Broken(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, 1)
            }
            ApiError::Image(ImageError::File { .. } | ImageError::NoRoom { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, 1)
            }
            ApiError::Image(_)
            | ApiError::Backup(BackupError::NoKit | BackupError::Kit(_))
            | ApiError::Kit { .. } => (StatusCode::CONFLICT, 4),
            ApiError::Backup(_) => (StatusCode::INSUFFICIENT_STORAGE, 1),
            ApiError::Silent(..) | ApiError::Unlooked(..) => (StatusCode::GATEWAY_TIMEOUT, 6),
            ApiError::NobodyToTell => (StatusCode::CONFLICT, 4),
            ApiError::Untold(_) | ApiError::Console(..) => (StatusCode::BAD_GATEWAY, 1),
        }
    }
}

type Answer = Result<Response<Full<Bytes>>, ApiError>;

impl Api {
    /// Serves the control socket until the process ends.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub async fn serve(self, socket: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        drop(std::fs::remove_file(socket));
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let (api, peer) = (self.clone(), Arc::new(Peer::of(&stream)));
            let credentials = stream.peer_cred().ok();
            tokio::spawn(async move {
                let person = api.person(credentials).await;
                let service = hyper::service::service_fn(move |request| {
                    let (api, peer, person) = (api.clone(), Arc::clone(&peer), person.clone());
                    async move { Ok::<_, Infallible>(api.reply(request, &peer, &person).await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a control connection ended early");
                }
            });
        }
    }

    /// Who has opened the socket. Where people are not told apart nobody is looked up, and the door was the permission.
    async fn person(&self, peer: Option<tokio::net::unix::UCred>) -> Person {
        if !self.operators.tells_apart() {
            return Person { name: String::new(), role: Some(Role::Admin) };
        }
        let operators = Arc::clone(&self.operators);
        let found = tokio::task::spawn_blocking(move || Person::of(peer, &operators)).await;
        found.unwrap_or(Person { name: "somebody".to_owned(), role: None })
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        person: &Person,
    ) -> Response<Full<Bytes>> {
        self.route(request, peer, person).await.unwrap_or_else(|error| refusal(&error))
    }

    async fn route(&self, mut request: Request<Incoming>, peer: &Peer, person: &Person) -> Answer {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let parts = path.trim_matches('/').split('/').map(decode).collect::<Vec<_>>();
        let parts = parts.iter().map(String::as_str).collect::<Vec<_>>();
        let no_route = || ApiError::NoRoute(path.chars().take(120).collect());
        let get = *request.method() == Method::GET;
        if let Err(forbidden) = permission::permit(person, &self.operators, get, &parts) {
            // What somebody wanted changed and may not is written down.
            let api = self.on_behalf(peer, &path, &[]);
            return if get { Err(forbidden) } else { api.settle(Err(forbidden)).await };
        }
        if get {
            return self.look(&parts, &query).await.ok_or_else(no_route)?;
        }
        if *request.method() != Method::POST {
            return Err(no_route());
        }
        if parts.as_slice() == ["v1", "images"] {
            let api = self.on_behalf(peer, &path, &[]);
            return api.settle(api.import(request).await).await;
        }
        let upgrade = console::upgrade(&mut request, &parts);
        let limited = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let body = limited.map_err(|error| match error.is::<LengthLimitError>() {
            true => ApiError::TooLong,
            false => ApiError::Body(error.to_string()),
        })?;
        let body = body.to_bytes();
        let api = self.on_behalf(peer, &path, &body);
        if let ["v1", "nodes", name, "console"] = parts.as_slice() {
            return api.settle(Box::pin(api.console(name, &body, upgrade)).await).await;
        }
        api.settle(api.act(&parts, &body).await.ok_or_else(no_route)?).await
    }
}

fn refusal(error: &ApiError) -> Response<Full<Bytes>> {
    let (status, exit) = error.codes();
    let problem = Problem { api_version: API_VERSION.to_owned(), error: error.to_string(), exit };
    write(status, &problem)
}

fn write<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn one<T: Serialize>(value: T) -> Answer {
    Ok(write(StatusCode::OK, &item(value)))
}

fn rows<T: Serialize>(values: Vec<T>) -> Answer {
    Ok(write(StatusCode::OK, &list(values)))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ApiError::Body(error.to_string()))
}
