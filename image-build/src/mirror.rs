//! Where this machine gets its Debian packages from, read out of its own apt configuration (both forms of
//! it). The address is used and never stored: it goes into no image and no recipe.

use std::path::{Path, PathBuf};

use crate::files::{self, FileError};

/// Keys that prove Debian's package lists.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from: the archive and, where the machine has it, the security archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Has the release and its updates.
    pub main: String,
    /// Has the security updates.
    pub security: Option<String>,
}

/// Why no mirror was found.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// apt is configured for something else than Debian.
    #[error(
        "no Debian archive among the package sources of this machine ({}); \
         name one with --mirror URI and --security-mirror URI", looked.display()
    )]
    NoDebian {
        /// Where it was looked for.
        looked: PathBuf,
    },
}

/// One package source, from either form of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// The mirror this machine uses, from `/etc/apt` (or another folder laid out like it).
pub fn of_this_machine(apt: &Path) -> Result<Mirror, MirrorError> {
    let mut sources = Vec::new();
    let single = apt.join("sources.list");
    if single.exists() {
        sources.extend(parse_lines(&files::read_text(&single)?));
    }
    let folder = apt.join("sources.list.d");
    for path in if folder.exists() { files::list(&folder)? } else { vec![] } {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_lines(&files::read_text(&path)?)),
            Some("sources") => sources.extend(parse_stanzas(&files::read_text(&path)?)),
            _ => {}
        }
    }
    choose(&sources).ok_or(MirrorError::NoDebian { looked: apt.to_owned() })
}

/// `SOURCES` lines for one release of the mirror, the form apt and mmdebstrap read.
pub fn lines(mirror: &Mirror, release: &str) -> Vec<String> {
    let line = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {suite} main");
    let mut lines = vec![line(&mirror.main, release), line(&mirror.main, &format!("{release}-updates"))];
    if let Some(security) = &mirror.security {
        lines.push(line(security, &format!("{release}-security")));
    }
    lines
}

/// Proxies that apt is told to use on this machine, as the variables every program understands. mmdebstrap's apt
/// reads none of the machine's configuration, but these.
pub fn proxies(apt_config_dump: &str) -> Vec<(&'static str, String)> {
    let variable = |name: &str| match name {
        "Acquire::http::Proxy" => Some("http_proxy"),
        "Acquire::https::Proxy" => Some("https_proxy"),
        _ => None,
    };
    let setting = |line: &str| {
        let (name, value) = line.trim_end_matches(';').split_once(' ')?;
        let value = value.trim_matches('"');
        variable(name).filter(|_| value.contains("://")).map(|variable| (variable, value.to_owned()))
    };
    apt_config_dump.lines().filter_map(setting).collect()
}

/// The mirror that a text names, in either form.
#[doc(hidden)]
pub fn fuzzing(text: &str) -> [Option<Mirror>; 2] {
    [choose(&parse_lines(text)), choose(&parse_stanzas(text))]
}

/// A source is Debian's archive when it offers a release of that name in component `main`.
fn choose(sources: &[Source]) -> Option<Mirror> {
    const RELEASES: [&str; 7] = ["bookworm", "trixie", "forky", "stable", "testing", "sid", "unstable"];
    let first = |suffix: &str| {
        let offers = |source: &&Source| {
            let name = source.suite.strip_suffix(suffix).unwrap_or_default();
            RELEASES.contains(&name) && source.components.iter().any(|component| component == "main")
        };
        sources.iter().find(offers).map(|source| source.uri.clone())
    };
    Some(Mirror { main: first("")?, security: first("-security") })
}

/// The one-line form: `deb [options] URI suite component...`.
fn parse_lines(text: &str) -> Vec<Source> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let rest = line.strip_prefix("deb")?.strip_prefix(char::is_whitespace)?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source { uri: words.next()?, suite: words.next()?, components: words.collect() })
}

/// The deb822 form: stanzas of `Field: value` lines, continued by leading blanks.
fn parse_stanzas(text: &str) -> Vec<Source> {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas = text.split(|line| line.trim().is_empty());
    stanzas.flat_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let words = |wanted: &str| -> Vec<String> {
        let mut found = Vec::new();
        let mut inside = false;
        for line in lines {
            let continued = line.starts_with([' ', '\t']);
            let value = match line.split_once(':') {
                Some((field, value)) if !continued => {
                    inside = field.trim().eq_ignore_ascii_case(wanted);
                    value
                }
                _ => line,
            };
            if inside {
                found.extend(value.split_whitespace().map(str::to_owned));
            }
        }
        found
    };
    let off =
        words("Enabled").iter().any(|word| ["no", "false", "0"].contains(&word.to_lowercase().as_str()));
    if off || !words("Types").iter().any(|word| word == "deb") {
        return vec![];
    }
    let (uris, components) = (words("URIs"), words("Components"));
    let suites = words("Suites");
    let pairs = suites.iter().flat_map(|suite| uris.iter().map(move |uri| (uri, suite)));
    pairs
        .map(|(uri, suite)| Source { uri: uri.clone(), suite: suite.clone(), components: components.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(main: &str, security: Option<&str>) -> Option<Mirror> {
        Some(Mirror { main: main.into(), security: security.map(str::to_owned) })
    }

    #[test]
    fn both_forms_of_sources_are_understood() {
        let deb822 = "# c\nTypes: deb deb-src\nURIs: http://a.test/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main\n contrib\nSigned-By:\n -----BEGIN\n .\n\nTypes: deb\n\
                      URIs: http://a.test/sec\nSuites: bookworm-security\nComponents: main\n";
        assert_eq!(choose(&parse_stanzas(deb822)), mirror("http://a.test/debian", Some("http://a.test/sec")));
        let lines = "deb-src http://x.test/ trixie main\n deb [arch=amd64 signed-by=/k] http://a.test/d/ trixie \
                     main # c\ndeb http://a.test/s trixie-security main\n";
        assert_eq!(choose(&parse_lines(lines)), mirror("http://a.test/d/", Some("http://a.test/s")));
    }

    #[test]
    fn what_is_not_debian_or_not_on_is_passed_over() {
        for text in [
            "",
            "deb",
            "deb [broken http://a.test trixie main",
            "deb http://a.test/ubuntu jammy main",
            "deb http://a.test/debian trixie-backports main",
            "deb http://a.test/debian trixie contrib",
            "#deb http://a.test/debian trixie main",
        ] {
            assert_eq!(choose(&parse_lines(text)), None, "{text}");
        }
        let off = "Enabled: no\nTypes: deb\nURIs: http://a.test/\nSuites: trixie\nComponents: main\n";
        assert_eq!(choose(&parse_stanzas(off)), None);
        assert_eq!(choose(&parse_stanzas("Types: deb-src\nURIs: u\nSuites: trixie\nComponents: main")), None);
        assert_eq!(choose(&parse_stanzas(":::\n\n Suites: trixie\nURIs")), None);
    }

    #[test]
    fn proxies_are_read() {
        let dump = "APT \"\";\nAcquire::http::Proxy \"http://p.test:3142\";\nAcquire::https::Proxy \"DIRECT\";\n\
                    Acquire::http::Proxy::d.test \"http://x/\";\nAcquire::https::Proxy\n";
        assert_eq!(proxies(dump), [("http_proxy", "http://p.test:3142".to_owned())]);
    }

    #[test]
    fn a_machine_without_debian_sources_is_told_what_to_do() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let error = of_this_machine(work.path()).unwrap_err().to_string();
        assert!(error.contains("--mirror URI"), "{error}");
    }
}
