//! What management controllers say, and what is said about them.

use appliance::power::ipmi::{Said, read};
use appliance::power::redfish::fuzzing::anything;
use appliance::power::sol;
use fleet::power::frame::{Frame, Frames};
use fleet::power::{Address, User};

use crate::Reached;

/// No link of a Redfish answer leads away, and no text of it obeys a terminal's rules.
pub(crate) fn redfish(data: &[u8]) -> Reached {
    Reached::when(anything(data))
}

/// A root, a collection, a system, refusals.
pub(crate) fn redfish_seeds() -> Vec<Vec<u8>> {
    let texts = [
        r##"{"Systems":{"@odata.id":"/redfish/v1/Systems"},"Links":{"Sessions":{"@odata.id":"/redfish/v1/S"}}}"##,
        r##"{"Members":[{"@odata.id":"/redfish/v1/Systems/1"},{"@odata.id":"//evil/redfish/"}]}"##,
        r##"{"PowerState":"On","UUID":"x","Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["Pxe"]},
            "Actions":{"#ComputerSystem.Reset":{"target":"/redfish/v1/R","ResetType@Redfish.AllowableValues":["On"]}}}"##,
        r##"{"error":{"message":"no","@Message.ExtendedInfo":[{"MessageId":"Base.1.8.SessionLimitExceeded"}]}}"##,
        r##"{"@odata.id":"/redfish/../../etc","@odata.etag":"W/\"1\""}"##,
    ];
    texts.map(Into::into).into()
}

/// What `ipmi-raw` prints: bytes only as it prints them, and never a control character in what is told of the rest.
pub(crate) fn ipmi(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let (out, err) = text.split_once('\0').unwrap_or((&text, ""));
    match read(0x01, out, err) {
        Said::Bytes(code, bytes) => {
            let line =
                bytes.iter().fold(format!("rcvd: 01 {code:02x}"), |line, byte| format!("{line} {byte:02x}"));
            assert_eq!(out.trim_end().to_ascii_lowercase(), line);
            Reached::Inside
        }
        Said::NoSuite => Reached::Refusal,
        Said::Fault(fault) => {
            assert!(!fault.why().chars().any(char::is_control), "{fault:?}");
            Reached::Refusal
        }
    }
}

/// An answer, refusals of the program.
pub(crate) fn ipmi_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "rcvd: 01 00 21 00 40 \n",
        "rcvd: 01 D5 \n",
        "\0ipmi-raw: password invalid\n",
        "\0ipmi_ctx_open_outofband_2_0: internal IPMI error\n",
    ];
    texts.map(Into::into).into()
}

/// What `ipmiconsole` prints when the line does not open, or ends: never a control character in what is told of it.
pub(crate) fn console(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let ended = sol::ended(&text);
    assert!(!ended.why().chars().any(char::is_control), "{ended:?}");
    match (sol::read(&text, false), sol::read(&text, true)) {
        (sol::Refusal::Fault(fault), _) => {
            assert!(!fault.why().chars().any(char::is_control), "{fault:?}");
            Reached::Inside
        }
        (sol::Refusal::NoSuite, best) => {
            assert_eq!(best, sol::Refusal::NoSuite);
            Reached::Refusal
        }
    }
}

/// Refusals, ends.
pub(crate) fn console_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "[error received]: password invalid\n",
        "[error received]: cipher suite id unavailable\n",
        "\r\n[SOL session stolen]\r\n\r\n[closing the connection]\r\n",
        "sh: 1: exec: ipmiconsole: not found\n",
    ];
    texts.map(Into::into).into()
}

/// Frames come out as they went in, however they are cut; what is none ends it.
pub(crate) fn frames(data: &[u8]) -> Reached {
    let whole = Frames::default().take(data);
    let mut cut = Frames::default();
    let pieces = data.chunks(7).map(|piece| cut.take(piece)).collect::<Result<Vec<_>, _>>();
    assert_eq!(whole.is_ok(), pieces.is_ok());
    let Ok(frames) = whole else { return Reached::Refusal };
    assert_eq!(pieces.unwrap_or_default().concat(), frames);
    let again = frames.iter().flat_map(Frame::encode).collect::<Vec<_>>();
    assert_eq!(Frames::default().take(&again), Ok(frames.clone()));
    Reached::when(!frames.is_empty())
}

/// Every kind of frame, and the end of one.
pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let frames = [Frame::Bytes(b"login: \x1b[2J".to_vec()), Frame::Break, Frame::Note("bob".to_owned())];
    let mut seeds = frames.iter().map(Frame::encode).collect::<Vec<_>>();
    seeds.push([Frame::Break.encode(), Frame::End("gone".to_owned()).encode(), vec![0, 0]].concat());
    seeds.push(vec![9, 0, 0]);
    seeds
}

/// What may be an argument of a program never looks like an option, and is read as it was written.
pub(crate) fn address(data: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(data) else { return Reached::Refusal };
    let harmless = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]_@".contains(&byte);
        !text.starts_with('-') && !text.is_empty() && text.bytes().all(fits)
    };
    let user = text.parse::<User>();
    if let Ok(user) = &user {
        assert!(harmless(user.as_str()), "{user:?}");
    }
    let Ok(address) = text.parse::<Address>() else { return Reached::when(user.is_ok()) };
    assert!(harmless(&address.to_string()), "{address}");
    assert_eq!(address.to_string().parse::<Address>(), Ok(address));
    Reached::Inside
}

/// Addresses, users, options.
pub(crate) fn address_seeds() -> Vec<Vec<u8>> {
    ["10.0.0.5:623", "[fe80::1]:443", "bmc-n1.lab", "-h", "ADMIN", "a;b", "n[1-9]"].map(Into::into).into()
}
