//! What people write: the configuration, the catalog and its templates, the CA's file.

use std::collections::BTreeSet;

use appliance::ca::fuzzing::file;
use appliance::config::{ConfigError, Dhcp, parse};
use fleet::catalog::CatalogError;
use fleet::converge::Unconvertible;
use fleet::hours::DAY;
use fleet::{Catalog, Fleet, Node};

use crate::Reached;
use crate::row::site;

/// What is believed is possible; what is refused is refused in one line.
pub(crate) fn run(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let config = match parse(&text) {
        Ok(config) => config,
        Err(why) => {
            let line = match &why {
                ConfigError::Form { line, .. } | ConfigError::Value { line, .. } => *line,
                ConfigError::Read { .. } => 0,
            };
            assert!(line <= text.lines().count() + 1, "line {line}");
            assert!(!why.to_string().chars().any(char::is_control), "{:?}", why.to_string());
            return Reached::Refusal;
        }
    };
    assert!(config.http_port != 0 && config.agents_port != 0 && config.http_port != config.agents_port);
    assert!(config.image_keys.is_absolute() && (1..=16).contains(&config.provision.len()));
    assert!(config.cast_hours.len() <= 32 && config.cast_mbit.is_none_or(|mbit| mbit <= 1_000_000));
    for hours in &config.cast_hours {
        assert!(
            hours.from < DAY && hours.to <= DAY && hours.from != hours.to && hours.limit_mbit <= 1_000_000
        );
        assert!((0..7).any(|day| hours.days.has(day)));
    }
    for (number, one) in config.provision.iter().enumerate() {
        assert!((1..=15).contains(&one.interface.len()) && !one.interface.contains('/'));
        assert!((8..=30).contains(&one.address.prefix_len()));
        assert!(!one.pools.is_empty() || matches!(one.dhcp, Dhcp::Off | Dhcp::Proxy));
        for pool in &one.pools {
            assert!(pool.first() <= pool.last() && !pool.contains(one.address.addr()));
            assert!(one.address.contains(&pool.first()) && one.address.contains(&pool.last()));
            assert!(!pool.contains(one.address.network()) && !pool.contains(one.address.broadcast()));
        }
        for other in config.provision.iter().skip(number + 1) {
            assert!(one.name() != other.name() && !one.address.contains(&other.address.network()));
        }
        for (number, relayed) in one.relayed.iter().enumerate() {
            assert!(relayed.subnet.contains(&relayed.relay) && relayed.subnet.contains(&relayed.router));
            assert!(relayed.via.is_none_or(|via| one.address.contains(&via)));
            assert!(relayed.pools.iter().all(|pool| relayed.subnet.contains(&pool.first())));
            let others = one.relayed.iter().skip(number + 1);
            assert!(others.clone().all(|other| !relayed.subnet.contains(&other.subnet)));
        }
    }
    Reached::Inside
}

/// The README's, one with everything, one without networks, one with terminal sequences in keys and values.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let short = "site = \"school\"\n\n[[provision]]\ninterface = \"eno2\"\naddress = \"10.77.0.1/24\"\n\
                 pool = \"10.77.0.100-10.77.0.199\"\ndhcp = \"full\"\n";
    let long = format!(
        "{short}[[provision]]\ninterface = \"eno3\"\naddress = \"10.78.0.1/30\"\ndhcp = \"off\"\n[http]\nport = 8080\n\
         [agents]\nport = 9443\n[trust]\nimage_keys = \"/etc/keys\"\n[cast]\nlimit_mbit = 800\nyields = true\n\
         [[cast.hours]]\nfrom = \"22:00\"\nto = \"6:00\"\ndays = [\"mon\", \"fri-sun\"]\nlimit_mbit = 100\n"
    );
    let hostile = "site = \"\\u001b[2J\"\nprovision = []\n\"\\u001b[2J\" = 1\n";
    vec![short.into(), long.into_bytes(), b"site = \"x\"\nprovision = []\n".to_vec(), hostile.into()]
}

/// A catalog of files that stand one after the other, each after a line `# FILE path`.
pub(crate) fn catalog(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let files = text.split("# FILE ").skip(1).map(|file| file.split_once('\n').unwrap_or((file, "")));
    let catalog = match Catalog::parse(files) {
        Ok(catalog) => catalog,
        Err(CatalogError::Toml { file, .. }) => {
            assert!(text.contains(&file));
            return Reached::Refusal;
        }
        Err(why @ CatalogError::Content { .. }) => {
            assert!(!why.to_string().is_empty());
            return Reached::Refusal;
        }
    };
    let optional = catalog.optional().into_iter().map(str::to_owned).collect();
    let catalog = catalog.with_optional(optional);
    let roles: BTreeSet<String> = catalog.roles().map(|role| role.name.clone()).collect();
    assert!(roles.iter().all(|role| catalog.has_role(role)) && !catalog.has_role("base"));
    let services = catalog.services_of(&roles);
    let names: BTreeSet<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names.len(), services.len(), "a service twice");
    let count: usize = services.iter().map(|service| service.units.len()).sum();
    assert_eq!(catalog.units_of(&roles).count(), count);
    let document = fleet::converge(&Fleet::default(), &site(), &catalog, &node(roles));
    Reached::when(document.is_ok())
}

/// Roles, services and a template; a service that is not there; a task twice.
pub(crate) fn catalog_seeds() -> Vec<Vec<u8>> {
    let role = "# FILE roles/base.toml\nname='base'\nsummary=''\nservices=['a']\n\
                # FILE roles/control.toml\nname='control'\nsummary=''\nservices=['a', 'b']\noptional=[]\n";
    let a = "# FILE services/a/service.toml\nname='a'\nsummary=''\n[[files]]\npath='/etc/hosts'\nmode='0644'\n\
             owner='root:root'\ntemplate='hosts'\n# FILE services/a/hosts\n${node.address} ${node.name}\n";
    let b = "# FILE services/b/service.toml\nname='b'\nsummary=''\npackages=['x']\n[[units]]\nname='b.service'\nenabled=true\n\
             running=true\n[[tasks]]\nname='t'\nguard=['/bin/false']\nargv=['/bin/${node.name}']\n\
             timeout_seconds=5\nbefore_units=true\n";
    let twice = b.replace("services/b/", "services/c/").replace("name='b'", "name='c'");
    let all = [
        format!("{role}{a}{b}"),
        format!("{role}{a}"),
        format!("{role}{a}{b}{twice}"),
        "# FILE x".to_owned(),
    ];
    all.map(String::into_bytes).into()
}

/// A template: what is no placeholder stays as it is, and each placeholder becomes its value, once.
pub(crate) fn template(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let files = [
        ("roles/base.toml", "name='base'\nsummary=''\nservices=['a']"),
        (
            "services/a/service.toml",
            "name='a'\nsummary=''\n[[files]]\npath='/etc/a'\nmode='0644'\nowner='root:root'\ntemplate='a'",
        ),
        ("services/a/a", &text),
    ];
    let catalog = Catalog::parse(files).expect("any text is a template");
    match fleet::converge(&Fleet::default(), &site(), &catalog, &node(BTreeSet::new())) {
        Ok(document) => {
            let content = document.files.first().map(|file| file.content.clone()).expect("one file");
            assert_eq!(Some(content), filled(&text));
            Reached::Inside
        }
        Err(Unconvertible::Open(_)) => {
            assert!(text.contains("${"));
            Reached::Refusal
        }
        Err(Unconvertible::Missing { name, .. }) => {
            assert!(text.contains(&format!("${{{name}}}")));
            Reached::Refusal
        }
    }
}

/// The text with its placeholders filled, in other words.
fn filled(text: &str) -> Option<String> {
    let mut parts = text.split("${");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}')?;
        out.push_str(match name {
            "node.name" => "n1",
            "node.address" => "10.77.0.100",
            "rack.subnet" => "10.77.0.0/24",
            "rack.controller" | "rack.control" => "10.77.0.1",
            "rack.hosts" => "",
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

/// Values that there are, that there are not, and braces that do not close.
pub(crate) fn template_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "${node.address} ${node.name}\n${rack.subnet} ${rack.controller} ${rack.control}$${rack.hosts}\n",
        "plain $text } {\n",
        "${disk.data}",
        "${none}",
        "${node.name",
        "${${node.name}}",
    ];
    texts.map(Into::into).into()
}

/// A node that has no hardware.
fn node(roles: BTreeSet<String>) -> Node {
    let text = format!(
        r#"{{"id":"{}","name":"n1","state":{{"state":"active"}},"since":1,"heard":1,"discovered":1,"roles":[],
        "inventory":{{"cpu":{{"model":"","threads":1,"arch":"","virtualisation":false}},"memory_bytes":1,"nics":[],
        "disks":[],"smbios":{{"vendor":"","product":"","serial":"","uuid":"","bios":""}},"firmware":"bios","bmc":null}},
        "boot":{{"mac":"52:54:00:ab:cd:05","address":"10.77.0.100","path":"bios-pxe"}},"claim":null,"deploy":null,
        "run":null,"generation":1,"installed":null,"wishes":{{"stopped":[],"restarts":{{}}}},
        "document":{{"generation":1,"digest":null}},"orders":[],"last_order":0,"report":null,"reported":null}}"#,
        "ab".repeat(16)
    );
    let node: Node = serde_json::from_str(&text).expect("a row of this file");
    Node { roles, ..node }
}

/// The CA's file is a key and a certificate, or damaged; never anything else.
pub(crate) fn ca_file(data: &[u8]) -> Reached {
    match file(&String::from_utf8_lossy(data)) {
        Ok((_, certificate)) => {
            assert!(!certificate.is_empty());
            Reached::Inside
        }
        Err(why) => {
            assert!(!why.is_empty() && !why.chars().any(char::is_control), "{why:?}");
            Reached::Refusal
        }
    }
}

/// A whole file, one without a key, one with two, one with something else in it.
pub(crate) fn ca_file_seeds() -> Vec<Vec<u8>> {
    let pem = |label: &str, der: &str| format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n");
    let der = data_encoding::HEXLOWER.decode(KEY.as_bytes()).expect("hexadecimal of this file");
    let key = pem("PRIVATE KEY", &data_encoding::BASE64.encode(&der));
    let certificate = pem("CERTIFICATE", "AAAA");
    let all = [
        format!("{key}{certificate}"),
        certificate.clone(),
        format!("{key}{key}{certificate}"),
        format!("{certificate}{}", pem("PUBLIC KEY", "AAAA")),
    ];
    all.map(String::into_bytes).into()
}

/// PKCS#8 of the P-256 key 1, whose public half is the curve's generator (SEC 2, 2.4.2): nobody's secret.
const KEY: &str = "\
    308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b02010104200000000000000000000000000000\
    000000000000000000000000000000000001a144034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a1\
    3945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
