//! What a Redfish service says, read once: every field is optional, wrong or hostile until it was looked at.

use fleet::power::{Act, Device, Fault, Observed};
use serde_json::Value;

/// Where every service begins; the only path that is known beforehand.
pub(super) const ROOT: &str = "/redfish/v1/";
/// No link is longer, in bytes.
const LONGEST_LINK: usize = 512;
/// No collection that is read has more.
const MOST_MEMBERS: usize = 64;

/// A system, as far as its power goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SystemView {
    pub(super) state: Observed,
    uuid: String,
    serial: String,
    reset: Option<String>,
    /// What the reset action takes; none: it does not say.
    kinds: Option<Vec<String>>,
    /// What it boots from once; none: it does not say.
    devices: Option<Vec<String>>,
    can_boot_once: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    Look,
    Reset { target: String, kind: &'static str },
    Boot { target: &'static str },
}

impl SystemView {
    /// Whether it says that it is the server with these.
    pub(super) fn is(&self, uuid: &str, serial: &str) -> bool {
        let same = |theirs: &str, ours: &str| !ours.is_empty() && theirs.eq_ignore_ascii_case(ours);
        same(&self.uuid, uuid) || same(&self.serial, serial)
    }
}

/// A path of this service: below `/redfish/`, of harmless characters, without a step up. Anything else would take the
/// password to where nobody meant it to go.
fn path(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~:@%+=,()'".contains(&byte);
    let good = text.len() <= LONGEST_LINK
        && text.starts_with("/redfish/")
        && text.bytes().all(fits)
        && !text.contains("//")
        && !text.split('/').any(|part| part == "." || part == "..");
    good.then(|| text.to_owned())
}

/// A place as `Location` says it: a path, or the whole address of this very host.
pub(super) fn same_host(text: &str, host: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").map(|rest| rest.strip_prefix(host));
    match rest {
        None => path(text),
        Some(rest) => path(rest?),
    }
}

/// The link of an object.
pub(super) fn link(value: &Value) -> Result<String, Fault> {
    let text = value.get("@odata.id").and_then(Value::as_str).unwrap_or_default();
    path(text).ok_or_else(|| Fault::Refused("a link of it leads out of /redfish/: not followed".to_owned()))
}

/// The collection of systems.
pub(super) fn systems(root: &Value) -> Result<String, Fault> {
    link(root.get("Systems").ok_or_else(|| Fault::Refused("it has no systems".to_owned()))?)
}

/// The collection of managers.
pub(super) fn managers(root: &Value) -> Result<String, Fault> {
    link(root.get("Managers").ok_or_else(|| Fault::Refused("it has no managers".to_owned()))?)
}

/// The ways to the serial console that a manager names (DSP0268, `Manager.SerialConsole`); none where it is switched off.
pub(super) fn ways(manager: &Value) -> Vec<String> {
    let console = manager.get("SerialConsole");
    let on = console.and_then(|console| console.get("ServiceEnabled")).and_then(Value::as_bool);
    let ways = console.and_then(|console| console.get("ConnectTypesSupported")).and_then(Value::as_array);
    let known =
        |way: &Value| way.as_str().filter(|way| ["SSH", "IPMI", "Telnet"].contains(way)).map(str::to_owned);
    if on == Some(false) { Vec::new() } else { ways.into_iter().flatten().filter_map(known).collect() }
}

/// What a person does who wants the console of a server whose controller is reached by Redfish.
pub(super) fn way(ways: &[String], host: &str, user: &str) -> String {
    let has = |wanted: &str| ways.iter().any(|way| way == wanted);
    let ipmi = "say that it is reached by IPMI (rackwright node bmc set NODE --kind ipmi)";
    let ssh = format!("log in there yourself (ssh {user}@{host})");
    let what = match (has("IPMI"), has("SSH")) {
        (true, true) => format!("its controller offers it by IPMI and by SSH: {ipmi}, or {ssh}"),
        (true, false) => format!("its controller offers it by IPMI: {ipmi}"),
        (false, true) => format!("its controller offers it by SSH: {ssh}"),
        (false, false) => format!("its controller names no way to it; if it has IPMI, {ipmi}"),
    };
    format!("Redfish carries no console, and {what}")
}

/// The collection of sessions; none where there is no session service.
pub(super) fn sessions(root: &Value) -> Result<Option<String>, Fault> {
    root.pointer("/Links/Sessions").map(link).transpose()
}

/// The links of a collection.
pub(super) fn members(list: &Value) -> Result<Vec<String>, Fault> {
    let members = list.get("Members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if members.is_empty() || members.len() > MOST_MEMBERS {
        return Err(Fault::Refused(format!("it has {} systems", members.len())));
    }
    members.iter().map(link).collect()
}

/// The ETag that is in an object itself.
pub(super) fn etag(value: &Value) -> Option<String> {
    header(value.get("@odata.etag")?.as_str()?)
}

/// A text that may stand in a header.
pub(super) fn header(text: &str) -> Option<String> {
    let good = (1..=512).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    good.then(|| text.to_owned())
}

/// A system.
pub(super) fn system(value: &Value) -> Result<SystemView, Fault> {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
        text.chars().take(128).collect::<String>()
    };
    let words = |value: Option<&Value>| {
        let words = value?.as_array()?.iter().take(64).filter_map(Value::as_str);
        Some(words.map(|word| word.chars().take(64).collect()).collect::<Vec<String>>())
    };
    let state = match value.get("PowerState").and_then(Value::as_str) {
        Some("On") => Observed::On,
        Some("Off") => Observed::Off,
        Some(_) | None => Observed::Unknown,
    };
    let reset = value.pointer("/Actions/#ComputerSystem.Reset");
    let target = reset.and_then(|reset| reset.get("target")).and_then(Value::as_str);
    let target = target.map(|target| {
        path(target)
            .ok_or_else(|| Fault::Refused("its reset leads out of /redfish/: not followed".to_owned()))
    });
    let boot = value.get("Boot").filter(|boot| boot.is_object());
    Ok(SystemView {
        state,
        uuid: text("UUID"),
        serial: text("SerialNumber"),
        reset: target.transpose()?,
        kinds: words(reset.and_then(|reset| reset.get("ResetType@Redfish.AllowableValues"))),
        devices: words(boot.and_then(|boot| boot.get("BootSourceOverrideTarget@Redfish.AllowableValues"))),
        can_boot_once: boot.is_some(),
    })
}

/// The first of these words that it takes.
fn taken(offered: Option<&Vec<String>>, wanted: &[&'static str]) -> Result<&'static str, Fault> {
    let fits = |word: &&&'static str| offered.is_none_or(|offered| offered.iter().any(|own| own == **word));
    let found = wanted.iter().find(fits).copied();
    found.ok_or_else(|| Fault::Refused(format!("it does not offer {}", wanted.join(" or "))))
}

/// How an act is done to this system.
pub(super) fn choose(act: Act, system: &SystemView) -> Result<Chosen, Fault> {
    let reset = |wanted: &[&'static str]| {
        let target = system.reset.clone().ok_or_else(|| Fault::Refused("it offers no reset".to_owned()))?;
        Ok(Chosen::Reset { target, kind: taken(system.kinds.as_ref(), wanted)? })
    };
    match act {
        Act::Status | Act::Test | Act::Wake => Ok(Chosen::Look),
        Act::On => reset(&["On", "ForceOn"]),
        Act::SoftOff => reset(&["GracefulShutdown"]),
        Act::HardOff => reset(&["ForceOff"]),
        Act::Cycle => reset(&["ForceRestart", "PowerCycle"]),
        Act::Boot { device } => {
            let wanted = match device {
                Device::Pxe => "Pxe",
                Device::Disk => "Hdd",
                Device::Bios => "BiosSetup",
            };
            if !system.can_boot_once {
                return Err(Fault::Refused("it can't set the next boot".to_owned()));
            }
            Ok(Chosen::Boot { target: taken(system.devices.as_ref(), &[wanted])? })
        }
    }
}

/// Whether a refusal says that all sessions are taken.
pub(super) fn is_session_limit(body: &Value) -> bool {
    let messages = body.pointer("/error/@Message.ExtendedInfo").and_then(Value::as_array);
    let ids = messages.map(Vec::as_slice).unwrap_or_default().iter().take(16);
    let mut ids = ids.filter_map(|message| message.get("MessageId").and_then(Value::as_str));
    ids.any(|id| {
        let words = ["SessionLimitExceeded", "CreateLimitReached", "RAC0218", "MaximumSession"];
        words.iter().any(|word| id.contains(word))
    })
}

/// What a status that is no success means.
pub(super) fn fault(status: u16, body: &Value) -> Fault {
    let said = body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    let said = said.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(120).collect::<String>();
    let why =
        if said.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {said}") };
    match status {
        401 | 403 => Fault::Login(format!("it does not take this user and password ({why})")),
        300..=399 => {
            Fault::Refused(format!("{why}, which leads elsewhere: not followed, nothing was sent there"))
        }
        // 409 after power-off, 404 until its parent was read, 5xx during its own restart: it can do it later.
        404 | 408 | 409 | 412 | 423 | 425 | 429 | 500 | 502 | 503 | 504 => Fault::Busy(why),
        _ => Fault::Refused(why),
    }
}

/// Reads any bytes as everything that they could be; whether anything was found in them. For fuzzing: it must end, and
/// never give a path that leads away.
pub fn anything(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
    let acts =
        [Act::Status, Act::On, Act::SoftOff, Act::HardOff, Act::Cycle, Act::Boot { device: Device::Pxe }];
    let targets = acts.iter().filter_map(|act| match choose(*act, &system(&value).ok()?).ok()? {
        Chosen::Reset { target, .. } => Some(target),
        Chosen::Look | Chosen::Boot { .. } => None,
    });
    let links = [systems(&value).ok(), sessions(&value).ok().flatten(), link(&value).ok()];
    let members = members(&value).unwrap_or_default();
    let all = links.into_iter().flatten().chain(members).chain(targets).collect::<Vec<_>>();
    for path in &all {
        let up = path.split('/').any(|part| part == "..");
        assert!(path.starts_with("/redfish/") && !path.contains("//") && !up, "{path}");
    }
    for status in [200, 302, 401, 503] {
        assert!(!fault(status, &value).why().chars().any(char::is_control));
    }
    is_session_limit(&value) | etag(&value).is_some() | !all.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_link_leads_away() {
        for text in
            ["/redfish/v1/Systems", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", "/redfish/v1/A(1)"]
        {
            assert_eq!(path(text).as_deref(), Some(text));
        }
        for text in [
            "",
            "/",
            "/redfish",
            "//evil/redfish/",
            "https://evil/redfish/v1",
            "/redfish//evil",
            "/redfish/../etc",
            "/redfish/./x",
            "/redfish/v1?x=1",
            "/redfish/v1#x",
            "/redfish/\r\nHost: evil",
            "/redfish/ x",
            "redfish/v1",
            "/redfish/\u{e4}",
            "/redfish/a\\b",
            "/x/redfish/v1",
        ] {
            assert_eq!(path(text), None, "{text:?}");
            assert!(link(&json!({ "@odata.id": text })).is_err(), "{text:?}");
            let system_with = json!({"Actions": {"#ComputerSystem.Reset": {"target": text}}});
            assert!(system(&system_with).is_err(), "{text:?}");
        }
        assert_eq!(same_host("https://bmc1/redfish/v1/S/1", "bmc1").as_deref(), Some("/redfish/v1/S/1"));
        assert_eq!(same_host("https://bmc1.evil/redfish/v1/S/1", "bmc1"), None);
        assert_eq!(same_host("https://evil/redfish/v1/S/1", "bmc1"), None);
        assert_eq!(same_host("http://bmc1/redfish/v1/S/1", "bmc1"), None);
    }

    #[test]
    fn hostile_answers_are_read_without_harm() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let table = [
            "",
            "null",
            "[]",
            "1e999",
            "{}",
            &deep,
            r#"{"Systems":[]}"#,
            r#"{"Systems":{"@odata.id":7}}"#,
            r#"{"Members":{}}"#,
            r#"{"Members":[1,null]}"#,
            r#"{"PowerState":["On"]}"#,
            r#"{"Boot":"x"}"#,
            r##"{"Actions":{"#ComputerSystem.Reset":[]}}"##,
            r#"{"error":{"message":"\u001b[2J"}}"#,
            r#"{"error":{"@Message.ExtendedInfo":{"MessageId":"x"}}}"#,
            r#"{"@odata.etag":"a\r\nb"}"#,
        ];
        for text in table {
            anything(text.as_bytes());
        }
        assert_eq!(etag(&json!({"@odata.etag": "a\r\nb"})), None);
        for state in [json!("on"), json!("PoweringOn"), json!(1), json!(null)] {
            assert_eq!(system(&json!({ "PowerState": state })).unwrap().state, Observed::Unknown, "{state}");
        }
    }

    #[test]
    fn only_what_is_offered_is_chosen() {
        let view = |kinds: &[&str]| {
            let reset = json!({"target": "/redfish/v1/R", "ResetType@Redfish.AllowableValues": kinds});
            system(&json!({"Actions": {"#ComputerSystem.Reset": reset}})).unwrap()
        };
        let kind = |act, kinds: &[&str]| match choose(act, &view(kinds)) {
            Ok(Chosen::Reset { kind, .. }) => Some(kind),
            Ok(Chosen::Look | Chosen::Boot { .. }) | Err(_) => None,
        };
        assert_eq!(kind(Act::On, &["ForceOn", "On"]), Some("On"));
        assert_eq!(kind(Act::On, &["ForceOn"]), Some("ForceOn"));
        assert_eq!(kind(Act::Cycle, &["PowerCycle"]), Some("PowerCycle"));
        assert_eq!(kind(Act::SoftOff, &["ForceOff"]), None);
        assert_eq!(kind(Act::HardOff, &["GracefulShutdown"]), None);
        assert!(choose(Act::Boot { device: Device::Pxe }, &view(&["On"])).is_err());
        for (status, is_login) in [(401, true), (403, true), (503, false), (302, false), (200, false)] {
            assert_eq!(matches!(fault(status, &Value::Null), Fault::Login(_)), is_login);
        }
        let limit =
            json!({"error": {"@Message.ExtendedInfo": [{"MessageId": "Base.1.8.SessionLimitExceeded"}]}});
        assert!(is_session_limit(&limit) && !is_session_limit(&Value::Null));
    }
}
