//! Three languages, and texts in all of them.

use serde::{Deserialize, Serialize};

/// A language that people are spoken to in. Keys, words of choices and codes are never translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Chinese in traditional characters, in the words of Taiwan.
    #[serde(rename = "zh-TW")]
    Traditional,
    /// Chinese in simplified characters, in the words of the mainland.
    #[serde(rename = "zh-CN")]
    Simplified,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 3] = [Language::English, Language::Traditional, Language::Simplified];

    /// The tag, as in the answers file.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Traditional => "zh-TW",
            Language::Simplified => "zh-CN",
        }
    }

    /// The language of a tag or of a locale's name: `zh-TW`, `zh_HK.UTF-8`, `en_GB`. None when it is another one.
    #[must_use]
    pub fn of(name: &str) -> Option<Language> {
        let plain = name.split(['.', '@']).next().unwrap_or_default().replace('_', "-").to_ascii_lowercase();
        let mut parts = plain.split('-');
        match (parts.next(), parts.next()) {
            (Some("en" | "c" | "posix"), _) => Some(Language::English),
            (Some("zh"), Some("tw" | "hk" | "mo" | "hant")) => Some(Language::Traditional),
            (Some("zh"), _) => Some(Language::Simplified),
            _ => None,
        }
    }
}

/// One text in the three languages. `{name}` stands for what is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    en: &'static str,
    tw: &'static str,
    cn: &'static str,
}

impl Text {
    /// In English, in traditional and in simplified characters.
    #[must_use]
    pub const fn new(en: &'static str, tw: &'static str, cn: &'static str) -> Text {
        Text { en, tw, cn }
    }

    /// The same everywhere.
    #[must_use]
    pub const fn same(text: &'static str) -> Text {
        Text::new(text, text, text)
    }

    /// In one of them.
    #[must_use]
    pub fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Traditional => self.tw,
            Language::Simplified => self.cn,
        }
    }

    /// In one of them, each `{name}` replaced once; what is put in is not looked at again.
    #[must_use]
    pub fn filled(self, language: Language, values: &[(&str, &str)]) -> String {
        let mut parts = self.of(language).split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let found = part.split_once('}').and_then(|(name, rest)| {
                values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, rest))
            });
            match found {
                Some((value, rest)) => {
                    text.push_str(value);
                    text.push_str(rest);
                }
                None => {
                    text.push('{');
                    text.push_str(part);
                }
            }
        }
        text
    }
}
