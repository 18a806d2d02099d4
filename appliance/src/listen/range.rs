//! Which part of a file a request wants (RFC 9110 §14): one range of bytes, or all of it.

use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};

/// The part to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All: no range was asked for, or one that may be ignored (several at once, another unit, nonsense).
    Whole,
    /// These bytes; at least one.
    Some {
        /// Of the first.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// A range beyond the end: 416.
    Beyond,
}

/// The part of a file of `length` bytes that these headers ask for. Total.
pub fn part(headers: &HeaderMap, length: u64) -> Part {
    // We give no validator, so the condition of If-Range cannot hold (RFC 9110 §13.1.5).
    if headers.contains_key(IF_RANGE) || headers.get_all(RANGE).iter().count() != 1 {
        return Part::Whole;
    }
    let text = headers.get(RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let ends = text.trim().strip_prefix("bytes=").and_then(|set| set.trim().split_once('-'));
    let Some((first, last)) = ends else { return Part::Whole };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => within(first, last, length),
        (Some(first), None) if last.is_empty() => within(first, u64::MAX, length),
        (None, Some(count)) if first.is_empty() => match (count.min(length), length) {
            (0, _) => Part::Beyond,
            (count, length) => Part::Some { offset: length - count, length: count },
        },
        _ => Part::Whole,
    }
}

/// Decimal digits and nothing else; saturating, because more than any file has is the end.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn within(first: u64, last: u64, length: u64) -> Part {
    if first >= length {
        return Part::Beyond;
    }
    Part::Some { offset: first, length: last.min(length - 1) - first + 1 }
}

/// The headers that say which part is sent.
pub(super) fn describe(headers: &mut HeaderMap, part: Part, length: u64) {
    let (sent, range) = match part {
        Part::Whole => (length, None),
        Part::Some { offset, length: part } => {
            (part, Some(format!("bytes {offset}-{}/{length}", offset + part - 1)))
        }
        Part::Beyond => (0, Some(format!("bytes */{length}"))),
    };
    headers.insert(CONTENT_LENGTH, sent.into());
    if let Some(range) = range.and_then(|text| text.try_into().ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, IF_RANGE, RANGE};

    use super::Part::{Beyond, Some, Whole};
    use super::{Part, part};

    fn of(range: &str, length: u64) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        part(&headers, length)
    }

    #[test]
    fn ranges_as_clients_write_them_and_as_nobody_should() {
        let some = |offset, length| Some { offset, length };
        let table = [
            ("bytes=0-0", some(0, 1)),
            ("bytes=0-99", some(0, 100)),
            ("bytes=10-", some(10, 90)),
            ("bytes=99-99", some(99, 1)),
            ("bytes=50-200", some(50, 50)),
            ("bytes=-1", some(99, 1)),
            ("bytes=-500", some(0, 100)),
            ("bytes=0-18446744073709551615", some(0, 100)),
            ("bytes=0-99999999999999999999999999", some(0, 100)),
            ("bytes=100-", Beyond),
            ("bytes=100-200", Beyond),
            ("bytes=99999999999999999999999999-", Beyond),
            ("bytes=-0", Beyond),
            ("bytes=5-4", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes=a-b", Whole),
            ("bytes=0x1-5", Whole),
            ("bytes=+1-5", Whole),
            ("bytes=1-5,7-9", Whole),
            ("bytes=1--5", Whole),
            ("octets=1-5", Whole),
            ("1-5", Whole),
            ("", Whole),
        ];
        for (range, wanted) in table {
            assert_eq!(of(range, 100), wanted, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Beyond);
        assert_eq!(of("bytes=-5", 0), Beyond);
    }

    #[test]
    fn conditions_and_repeats_are_not_ranges() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=1-5".parse().unwrap());
        headers.insert(IF_RANGE, "\"etag\"".parse().unwrap());
        assert_eq!(part(&headers, 100), Whole);
        let mut headers = HeaderMap::new();
        headers.append(RANGE, "bytes=1-5".parse().unwrap());
        headers.append(RANGE, "bytes=6-9".parse().unwrap());
        assert_eq!(part(&headers, 100), Whole);
        assert_eq!(part(&HeaderMap::new(), 100), Whole);
    }
}
