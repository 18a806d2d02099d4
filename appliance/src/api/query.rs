//! The parts of a request's URI that stand for text: percent-decoding (RFC 3986 §2.1) and the query.

/// A request's query: pairs in the order they came. What has no `=` is no pair.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the `?`. Total.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), decode(value))).collect())
    }

    /// The first value of a key; an empty one is none.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// The same as a number; what is none counts as absent.
    #[must_use]
    pub fn number(&self, key: &str, otherwise: u64) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }
}

/// Percent-decoding, for names with a colon or a slash in them. What is no escape or no UTF-8 becomes a `?` or a
/// replacement character: the name is then nobody's.
#[must_use]
pub fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = (byte == b'%').then(|| [bytes.next(), bytes.next()]);
        match hex {
            Some([Some(high), Some(low)]) => {
                // Not `from_str_radix`, which takes a sign for a digit.
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
                out.push(digit(high).zip(digit(low)).map_or(b'?', |(high, low)| high << 4 | low));
            }
            Some(_) => out.push(b'?'),
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Query, decode};

    #[test]
    fn escapes_and_what_only_looks_like_one() {
        let table = [
            ("n1", "n1"),
            ("52%3a54%3A00", "52:54:00"),
            ("%e6%95%99", "教"),
            ("a%2Fb+c", "a/b+c"),
            ("%", "?"),
            ("%4", "?"),
            ("%zz", "?"),
            ("%+1", "?"),
            ("%-1", "?"),
            ("%41%", "A?"),
            ("%ff", "\u{fffd}"),
        ];
        for (text, decoded) in table {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }

    #[test]
    fn a_query_is_its_first_values() {
        let query = Query::parse("after=12&node=n%31&node=n2&empty=&lines=-1&x");
        assert_eq!((query.number("after", 0), query.text("node")), (12, Some("n1")));
        assert_eq!((query.text("empty"), query.text("x"), query.number("lines", 50)), (None, None, 50));
    }
}
