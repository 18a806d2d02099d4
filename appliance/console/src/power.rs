//! `rackwright node power`, `node boot`, `node bmc`.

use std::io::Read;
use std::path::Path;

use fleet::view::{PowerView, RequestRow};
use serde_json::{Value, json};

use crate::cli::{BmcCommand, BootDevice, Kind, PowerCommand, Severe, Waiting};
use crate::client::Answer;
use crate::failure::{Failure, exit};
use crate::node::path;
use crate::session::Session;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, or_dash};

/// Milliseconds within which a look or a test has ended: one request after another, each 60 s at most.
const LOOK_MS: u64 = 150_000;
/// No password is longer, in bytes; with the end of its line.
const LONGEST_PASSWORD: u64 = 1024;

pub(crate) async fn power(session: &mut Session, verb: PowerCommand) -> Result<u8, Failure> {
    match verb {
        PowerCommand::On { node, waiting } => {
            let answer = session.client.post(&path(&node, "power"), &json!({ "wish": "on" })).await?;
            follow(session, &node, &answer, waiting).await
        }
        PowerCommand::Off { node, hard, severe, waiting } => {
            severely(session, &node, json!({ "wish": "off", "hard": hard }), severe, waiting).await
        }
        PowerCommand::Cycle { node, severe, waiting } => {
            severely(session, &node, json!({ "wish": "cycle" }), severe, waiting).await
        }
        PowerCommand::Status { node } => status(session, &node).await,
        PowerCommand::Cancel { node } => {
            let answer = session.client.post(&path(&node, "power-cancel"), &json!({})).await?;
            show(session, &answer)
        }
    }
}

pub(crate) async fn boot(
    session: &mut Session,
    node: &str,
    device: BootDevice,
    waiting: Waiting,
) -> Result<u8, Failure> {
    let device = match device {
        BootDevice::Pxe => "pxe",
        BootDevice::Disk => "disk",
        BootDevice::Bios => "bios",
    };
    let body = json!({ "wish": "boot", "device": device });
    let answer = session.client.post(&path(node, "power"), &body).await?;
    follow(session, node, &answer, waiting).await
}

pub(crate) async fn bmc(session: &mut Session, verb: BmcCommand) -> Result<u8, Failure> {
    match verb {
        BmcCommand::Set { node, kind, addr, user, password_file, fingerprint } => {
            let kind = match kind {
                Kind::Redfish => "redfish",
                Kind::Ipmi => "ipmi",
                Kind::Wol => "wol",
                Kind::Manual => "manual",
            };
            // Only where there is somebody to log in as.
            let password = match (&user, &password_file) {
                (None, None) => None,
                (_, file) => Some(password(session, &node, file.as_deref())?),
            };
            let fields = [
                ("kind", Some(kind.to_owned())),
                ("address", addr),
                ("user", user),
                ("password", password),
                ("fingerprint", fingerprint),
            ];
            let fields =
                fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
            let body = fields.collect::<Value>();
            let answer = session.client.post(&path(&node, "bmc"), &body).await?;
            show(session, &answer)
        }
        BmcCommand::Show { node } => {
            let answer = session.client.get(&path(&node, "power")).await?;
            show(session, &answer)
        }
        BmcCommand::Test { node } => test(session, &node).await,
        BmcCommand::Forget { node } => {
            let answer = session.client.post(&path(&node, "bmc-forget"), &json!({})).await?;
            show(session, &answer)
        }
    }
}

/// Asks what is severe; when it wants the name, asks the person for it, and asks again.
async fn severely(
    session: &mut Session,
    node: &str,
    mut body: Value,
    severe: Severe,
    waiting: Waiting,
) -> Result<u8, Failure> {
    say(&mut body, "force", json!(severe.force));
    say(&mut body, "confirm", json!(severe.confirm));
    let asks = severe.confirm.is_none() && session.terminal.asks;
    let answer = match session.client.post(&path(node, "power"), &body).await {
        Err(Failure::Refused { error, exit: exit::UNCONFIRMED }) if asks => {
            let what = error.split(": confirm it").next().unwrap_or(&error).to_owned();
            let typed = session.ask(&format!("{what}. Type the node's name to continue: "))?;
            say(&mut body, "confirm", json!(typed.unwrap_or_default()));
            session.client.post(&path(node, "power"), &body).await?
        }
        other => other?,
    };
    follow(session, node, &answer, waiting).await
}

fn say(body: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = body {
        fields.insert(name.to_owned(), value);
    }
}

/// Stays with the first request of the answer until it has ended.
async fn follow(session: &mut Session, node: &str, answer: &Answer, waiting: Waiting) -> Result<u8, Failure> {
    let view = answer.item::<PowerView>()?;
    let Some(mut request) = view.requests.first().cloned() else { return show(session, answer) };
    if waiting.no_wait {
        session.note(&format!("{}: {}; rackwright node power status {node}", view.node, request.wish));
        session.show(answer, |_, _| Ok(format!("{}\n", request.id)))?;
        return Ok(exit::OK);
    }
    let begun = session.elapsed_ms();
    let patience = u64::try_from(waiting.timeout.as_millis()).unwrap_or(u64::MAX);
    let mut told = String::new();
    loop {
        let text = format!("{}: {}", request.wish, request.text);
        if text != told && request.ended.is_none() {
            session.note(&format!("{}: {} waits for {}", view.node, request.wish, request.text));
        }
        told = text;
        if request.ended.is_some() {
            return ended(session, node, &view.node, request).await;
        }
        if session.elapsed_ms().saturating_sub(begun) >= patience {
            let seconds = waiting.timeout.as_secs();
            return Err(Failure::Powering { node: view.node, wish: request.wish, seconds });
        }
        tokio::time::sleep(session.pause).await;
        match session.client.get(&path(node, "power")).await {
            Ok(answer) => {
                let rows = answer.item::<PowerView>()?.requests;
                let row = rows.into_iter().find(|row| row.id == request.id);
                request = row.ok_or_else(|| gone(&view.node, &request))?;
            }
            // The daemon may be restarting; what was asked is durable.
            Err(failure) if failure.is_absence() => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn gone(node: &str, request: &RequestRow) -> Failure {
    let why =
        "nobody knows of it any more: its way of power was taken away, or many came after it".to_owned();
    Failure::Power { node: node.to_owned(), wish: request.wish.clone(), why }
}

async fn ended(session: &mut Session, node: &str, name: &str, request: RequestRow) -> Result<u8, Failure> {
    if request.state != "done" {
        return Err(Failure::Power { node: name.to_owned(), wish: request.wish, why: request.text });
    }
    if session.json() {
        let answer = session.client.get(&path(node, "power")).await?;
        session.show(&answer, |_, _| Ok(String::new()))?;
    } else {
        session.print(&format!("{name}: {} is done: {}\n", request.wish, request.text))?;
    }
    Ok(exit::OK)
}

/// Has the controller asked, where there is one, and shows all.
async fn status(session: &mut Session, node: &str) -> Result<u8, Failure> {
    let known = session.client.get(&path(node, "power")).await?;
    let view = known.item::<PowerView>()?;
    if view.address.is_none() || view.locked.is_some() {
        return show(session, &known);
    }
    let answer = looked(session, node, "power-look").await?;
    show(session, &answer)
}

async fn test(session: &mut Session, node: &str) -> Result<u8, Failure> {
    let answer = looked(session, node, "bmc-test").await?;
    let view = answer.item::<PowerView>()?;
    show(session, &answer)?;
    let bad = view.findings.iter().any(|finding| finding.ok == Some(false));
    Ok(if bad || view.trouble.is_some() || view.locked.is_some() { exit::UNHEALTHY } else { exit::OK })
}

/// Begins a look and waits for its end.
async fn looked(session: &mut Session, node: &str, verb: &str) -> Result<Answer, Failure> {
    let mut answer = session.client.post(&path(node, verb), &json!({})).await?;
    let begun = session.elapsed_ms();
    session.note("asking its management controller");
    while answer.item::<PowerView>()?.looking && session.elapsed_ms().saturating_sub(begun) < LOOK_MS {
        tokio::time::sleep(session.pause / 4).await;
        answer = session.client.get(&path(node, "power")).await?;
    }
    Ok(answer)
}

fn show(session: &mut Session, answer: &Answer) -> Result<u8, Failure> {
    let now = session.now();
    session.show(answer, |answer, look| Ok(render(&answer.item::<PowerView>()?, look, now)))?;
    Ok(exit::OK)
}

/// All that is known, a line each.
pub(crate) fn render(view: &PowerView, look: &Look, now: u64) -> String {
    let mut lines = vec![("node", view.find.clone())];
    let account =
        [view.address.as_deref(), view.user.as_deref()].map(|text| text.unwrap_or_default().to_owned());
    let [address, user] = account;
    let by =
        if address.is_empty() { view.kind.clone() } else { format!("{} at {address} as {user}", view.kind) };
    lines.push(("power by", by));
    if let Some(fingerprint) = &view.fingerprint {
        lines.push(("certificate", format!("SHA-256 {fingerprint}")));
    }
    let at = view.state_at.as_ref().map(|at| format!(", {} ago", ago(at, now))).unwrap_or_default();
    if !address.is_empty() {
        lines.push(("it says", format!("{}{at}", view.state)));
    }
    lines.extend(view.console.iter().map(|text| ("console", text.clone())));
    lines.push(("agent heard", format!("{} ago", ago(&view.heard, now))));
    let troubles = [("locked", &view.locked), ("trouble", &view.trouble)];
    lines.extend(troubles.into_iter().filter_map(|(label, text)| Some((label, text.clone()?))));
    for finding in &view.findings {
        let mark = match finding.ok {
            Some(true) => "ok",
            Some(false) => "BAD",
            None => "?",
        };
        lines.push(("tested", format!("{}: {mark}: {}", finding.check, finding.text)));
    }
    let mut text = lines.iter().map(|(label, line)| format!("{label:<12} {line}\n")).collect::<String>();
    if !view.requests.is_empty() {
        text.push('\n');
        text.push_str(&requests(&view.requests, now).render(look));
    }
    text
}

fn requests(rows: &[RequestRow], now: u64) -> Table {
    let mut table = Table::new(&["STATE", "AGE", "WISH", "BY", "DETAIL"]);
    for row in rows {
        table.row([
            Cell::state(&row.state),
            ago(&row.asked, now).into(),
            row.wish.clone().into(),
            row.way.clone().into(),
            or_dash(&row.text).into(),
        ]);
    }
    table
}

/// The password: of the file, or typed without being shown. Never from the arguments, which everybody on this machine
/// can read.
fn password(session: &mut Session, node: &str, file: Option<&Path>) -> Result<String, Failure> {
    let reading = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::Reading { path, source }
    };
    let text = match file {
        Some(path) => {
            let mut text = String::new();
            let source: Box<dyn Read> = match path.as_os_str() == "-" {
                true => Box::new(std::io::stdin()),
                false => Box::new(std::fs::File::open(path).map_err(reading(path))?),
            };
            source.take(LONGEST_PASSWORD).read_to_string(&mut text).map_err(reading(path))?;
            text
        }
        None if session.terminal.asks => {
            let hidden = Hidden::begin();
            let typed = session.ask(&format!("Password of the management controller of {node}: "));
            drop(hidden);
            session.note("");
            typed?.unwrap_or_default()
        }
        None => {
            return Err(Failure::Unconfirmed {
                what: "there is no password, and nobody can be asked".to_owned(),
                next: "give it in a file, or on standard input: --password-file -".to_owned(),
            });
        }
    };
    // The end of the line is the file's; anything else is the password's.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        let Ok(before) = rustix::termios::tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let set =
            rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Flush, &quiet);
        Self(set.ok().map(|()| before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = rustix::termios::OptionalActions::Now;
            // There is nothing left to do about a terminal that went away.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), now, before);
        }
    }
}
