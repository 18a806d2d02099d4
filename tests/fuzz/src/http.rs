//! What is ours of an HTTP request: its path, its `Range`, the query and the names of the local API.

use appliance::api::query::{Query, decode};
use appliance::listen::range::{Part, part};
use hyper::header::{HeaderMap, HeaderValue, RANGE};
use pxe::files::{Resolved, StoreFile, Transport, resolve};

use crate::Reached;
use crate::input::Input;

/// Whatever hyper takes for a path, only names of the table lead to a file.
pub(crate) fn path(data: &[u8]) -> Reached {
    let Ok(uri) = hyper::Uri::try_from(data) else { return Reached::Refusal };
    let resolved = resolve(uri.path().as_bytes(), Transport::Http);
    if let Resolved::Static(file) = resolved {
        assert!(StoreFile::ALL.contains(&file));
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        assert_eq!(parts.join("/"), file.client_name());
    }
    Reached::when(!matches!(resolved, Resolved::Refused(_)))
}

/// Paths with queries, escapes, a host, dots.
pub(crate) fn path_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "/boot/vmlinuz",
        "/boot/vmlinuz?x=/../..",
        "http://10.77.0.1/sb//grubx64.efi",
        "/boot/52-54-00-ab-cd-0f/script.ipxe",
        "/boot/%2e%2e/vmlinuz",
        "/../../etc/shadow",
        "*",
    ];
    texts.map(Into::into).into()
}

/// A part lies in its file.
pub(crate) fn range(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let length = input.u64() >> (input.byte() % 64);
    let mut headers = HeaderMap::new();
    for line in input.rest().split(|octet| *octet == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(RANGE, value);
        }
    }
    match part(&headers, length) {
        Part::Whole => Reached::Refusal,
        Part::Some { offset, length: part } => {
            assert!(part > 0 && offset.checked_add(part).is_some_and(|end| end <= length));
            Reached::Inside
        }
        Part::Beyond => Reached::Inside,
    }
}

/// Ranges as clients write them, and as nobody should.
pub(crate) fn range_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "bytes=0-99",
        "bytes=10-",
        "bytes=-18446744073709551615",
        "bytes=18446744073709551615-18446744073709551616",
        "bytes=5-4",
        "bytes=0-1\nbytes=2-3",
        "octets=0-1",
    ];
    texts.map(|text| [&100_u64.to_le_bytes()[..], &[0], text.as_bytes()].concat()).into()
}

/// Decoding undoes encoding, and takes nothing for an escape that is none.
pub(crate) fn query(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let query = Query::parse(&text);
    let keys: Vec<&str> =
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, _)| key).collect();
    for key in &keys {
        assert!(query.text(key).is_none_or(|value| !value.is_empty()));
        assert!(query.number(key, 7) == 7 || query.text(key).is_some());
    }
    assert_eq!(decode(&escaped(&text)), text, "encoded, and decoded again");
    assert_eq!(decode(&text), by_the_rfc(text.as_bytes()), "{text:?}");
    Reached::when(!keys.is_empty())
}

/// Every octet as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// RFC 3986 §2.1 in other words: `%` and two hexadecimal digits are an octet; what only begins like that is a `?`.
fn by_the_rfc(mut octets: &[u8]) -> String {
    let mut out = Vec::new();
    while let [first, rest @ ..] = octets {
        octets = rest;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, rest) = octets.split_at(octets.len().min(2));
        octets = rest;
        let value = data_encoding::HEXUPPER_PERMISSIVE.decode(digits).ok();
        out.push(
            value.filter(|_| digits.len() == 2).and_then(|value| value.first().copied()).unwrap_or(b'?'),
        );
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Queries of the command line; escapes that are cut or none.
pub(crate) fn query_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "after=12&limit=100&wait=30&node=n1",
        "node=52%3a54%3A00",
        "a=%&b=%4&c=%zz&d=%F0%9F&e",
        "lines=-1&=x&",
    ];
    texts.map(Into::into).into()
}
