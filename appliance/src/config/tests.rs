//! Good files, hostile files, and what the person who wrote them is told.

use std::path::Path;

use fleet::hours::{Days, Hours};

use super::{Config, Dhcp, Flooding, Foreign, Paths, Relayed, load, parse};

const GOOD: &str = r#"
site = "lab"
[[provision]]
interface = "eth1"
address = "10.77.0.1/24"
pool = "10.77.0.100-10.77.0.199"
"#;

fn with(find: &str, put: &str) -> String {
    assert!(GOOD.contains(find), "{find}");
    GOOD.replace(find, put)
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = good(GOOD);
    assert_eq!((config.http_port, config.agents_port), (80, 8443));
    assert_eq!(config.image_keys, Path::new("/etc/rackwright/image-keys"));
    assert_eq!(config.scrub_days, 7);
    assert_eq!(good(&format!("{GOOD}[images]\nscrub_days = 0\n")).scrub_days, 0, "never");
    assert_eq!(good(&format!("{GOOD}[images]\nscrub_days = 365\n")).scrub_days, 365);
    assert_eq!(config.cast_mbit, None);
    assert_eq!(good(&format!("{GOOD}[cast]\nlimit_mbit = 800\n")).cast_mbit, Some(800));
    assert_eq!(good(&format!("{GOOD}[cast]\nlimit_mbit = 0\n")).cast_mbit, Some(0), "never");
    assert_eq!((config.cast_flooding, config.cast_querier), (Flooding::Avoid, true));
    let other = good(&format!("{GOOD}[cast]\nflooding = \"allow\"\nquerier = false\n"));
    assert_eq!((other.cast_flooding, other.cast_querier), (Flooding::Allow, false));
    assert!(config.cast_hours.is_empty() && !config.cast_yields);
    assert!(good(&format!("{GOOD}[cast]\nyields = true\n")).cast_yields);
    assert_eq!(config.copy, None);
    let copied = good(&format!("{GOOD}[backup]\ncopy = \"/mnt/usb\"\n"));
    assert_eq!(copied.copy.as_deref(), Some(Path::new("/mnt/usb")));
    let net = &config.provision[0];
    assert_eq!(
        (net.interface.as_str(), net.address.to_string().as_str(), net.dhcp),
        ("eth1", "10.77.0.1/24", Dhcp::Full)
    );
    let pool = net.pools[0];
    assert_eq!((net.foreign, net.vlan, net.router, net.relayed.len()), (Foreign::Pause, None, None, 0));
    assert_eq!(
        (pool.first().to_string(), pool.last().to_string()),
        ("10.77.0.100".into(), "10.77.0.199".into())
    );
    assert!(pool.contains(pool.last()) && !pool.contains(net.address.addr()));
}

#[test]
fn hours_are_read_as_people_write_them() {
    let of = |days: &str| {
        let text = format!("{GOOD}[[cast.hours]]\nfrom = \"8:00\"\nto = \"24:00\"\nlimit_mbit = 100\n{days}");
        good(&text).cast_hours
    };
    let span = Days::span;
    let table = [
        ("", Days::DAILY),
        ("days = \"daily\"", Days::DAILY),
        ("days = \"mon-fri\"", span(0, 4)),
        ("days = \"Fri-Mon\"", span(4, 0)),
        ("days = \"sun\"", span(6, 6)),
        ("days = \"tue, thu\"", span(1, 1).and(span(3, 3))),
        ("days = [\"tue\", \"thu-sat\"]", span(1, 1).and(span(3, 5))),
    ];
    for (days, wanted) in table {
        let hours = Hours { from: 480, to: 1440, days: wanted, limit_mbit: 100 };
        assert_eq!(of(&format!("{days}\n")), [hours], "{days}");
    }
    let night = "[cast]\nlimit_mbit = 800\n[[cast.hours]]\nfrom='22:30'\nto='06:00'\nlimit_mbit=0\n";
    let config = good(&format!("{GOOD}{night}"));
    let hours = Hours { from: 1350, to: 360, days: Days::DAILY, limit_mbit: 0 };
    assert_eq!((config.cast_mbit, config.cast_hours), (Some(800), vec![hours]));
}

#[test]
fn every_key_can_be_set() {
    let text = format!(
        "{GOOD}dhcp = \"known\"\nanswer_ipv6 = false\n[[provision]]\ninterface = \"eth2\"\naddress = \"10.78.0.1/16\"\ndhcp = \"off\"\n\
         [http]\nport = 8080\n[agents]\nport = 9443\n[trust]\nimage_keys = \"/srv/keys\"\n"
    );
    let config = good(&text);
    assert_eq!(config.provision.iter().map(|p| p.dhcp).collect::<Vec<_>>(), [Dhcp::Known, Dhcp::Off]);
    assert_eq!(config.provision.iter().map(|p| p.answer_ipv6).collect::<Vec<_>>(), [false, true]);
    assert_eq!((config.http_port, config.agents_port), (8080, 9443));
    assert_eq!(config.provision[1].pools, []);
}

#[test]
fn vlans_routers_and_relayed_subnets() {
    let text = with(
        "pool = \"10.77.0.100-10.77.0.199\"",
        "pool = \"10.77.0.9-10.77.0.19, 10.77.0.100-10.77.0.199\"",
    ) + "vlan = 100\nforeign = \"proxy\"\nrouter = \"10.77.0.254\"\ndns = [\"10.77.0.253\"]\n\
           [[provision.relayed]]\nsubnet = \"10.78.0.0/24\"\npool = \"10.78.0.9-10.78.0.99\"\nrelay = \"10.78.0.1\"\n\
           via = \"10.77.0.254\"\n[[provision.relayed]]\nsubnet = \"10.79.0.0/16\"\nrelay = \"10.79.0.1\"\n\
           router = \"10.79.0.2\"\n";
    let config = good(&text);
    let net = &config.provision[0];
    assert_eq!((net.name().as_str(), net.foreign, net.pools.len()), ("eth1.100", Foreign::Proxy, 2));
    assert_eq!((net.router, net.dns.len()), (Some([10, 77, 0, 254].into()), 1));
    let [near, far] = net.relayed.as_slice() else { panic!("two relayed subnets") };
    assert_eq!((near.router, near.via), ([10, 78, 0, 1].into(), Some([10, 77, 0, 254].into())));
    let plain = Relayed { via: None, pools: vec![], ..far.clone() };
    assert_eq!((far, far.router), (&plain, [10, 79, 0, 2].into()));
}

fn odd_networks() -> Vec<Row> {
    let relayed = |keys: &str| format!("{GOOD}[[provision.relayed]]\n{keys}");
    vec![
        ("VLAN 0", format!("{GOOD}vlan = 0\n"), &["line 7", "vlan", "4094"]),
        ("VLAN 4095", format!("{GOOD}vlan = 4095\n"), &["4095"]),
        ("a name too long with its VLAN", with("eth1", "abcdefghijklm") + "vlan = 10\n", &["longer"]),
        ("an unknown way with others", format!("{GOOD}foreign = \"fight\"\n"), &["fight", "pause"]),
        ("a router elsewhere", format!("{GOOD}router = \"10.1.0.1\"\n"), &["router", "10.77.0.0/24"]),
        ("a router in the pool", format!("{GOOD}router = \"10.77.0.150\"\n"), &["router's", "pool"]),
        (
            "four name servers",
            format!("{GOOD}dns = [\"9.9.9.9\", \"9.9.9.8\", \"9.9.9.7\", \"9.9.9.6\"]\n"),
            &["three"],
        ),
        ("pools that overlap", with("199\"", "199, 10.77.0.190-10.77.0.200\""), &["overlaps"]),
        (
            "a relayed subnet that is ours",
            relayed("subnet = \"10.77.0.0/25\"\nrelay = \"10.77.0.5\"\n"),
            &["overlaps"],
        ),
        (
            "a relayed subnet with host bits",
            relayed("subnet = \"10.78.0.5/24\"\nrelay = \"10.78.0.1\"\n"),
            &["10.78.0.0/24"],
        ),
        (
            "a relay elsewhere",
            relayed("subnet = \"10.78.0.0/24\"\nrelay = \"10.79.0.1\"\n"),
            &["relay", "10.78.0.0/24"],
        ),
        ("no relay", relayed("subnet = \"10.78.0.0/24\"\n"), &["relay"]),
        (
            "a relay in the pool",
            relayed("subnet = \"10.78.0.0/24\"\nrelay = \"10.78.0.1\"\npool = \"10.78.0.1-10.78.0.9\"\n"),
            &["relay's"],
        ),
        (
            "a next hop elsewhere",
            relayed("subnet = \"10.78.0.0/24\"\nrelay = \"10.78.0.1\"\nvia = \"10.78.0.1\"\n"),
            &["via", "10.77.0.0/24"],
        ),
        (
            "itself as the next hop",
            relayed("subnet = \"10.78.0.0/24\"\nrelay = \"10.78.0.1\"\nvia = \"10.77.0.1\"\n"),
            &["via", "itself"],
        ),
    ]
}

/// What is wrong, the file, words that the refusal must have.
type Row = (&'static str, String, &'static [&'static str]);

fn odd_forms() -> Vec<Row> {
    vec![
        ("nothing", String::new(), &["line 1", "site"]),
        ("no network", "site = \"lab\"\nprovision = []\n".into(), &["provision", "write"]),
        ("not TOML", "site = \n".into(), &["line 1"]),
        ("a key nobody knows", with("pool =", "pol ="), &["line 6", "pol", "pool"]),
        ("a table nobody knows", format!("{GOOD}[https]\nport = 1\n"), &["line 7", "https"]),
        (
            "a key in the wrong table",
            format!("{GOOD}[http]\nimage_keys = \"/x\"\n"),
            &["line 8", "image_keys"],
        ),
        ("a key twice", format!("{GOOD}pool = \"1\"\n"), &["line 7", "pool"]),
        ("a number for a text", with("\"lab\"", "7"), &["line 2"]),
        ("an empty site", with("lab", ""), &["line 2", "site", "write"]),
        ("a site with a slash", with("lab", "lab/node"), &["line 2", "site", "write"]),
        ("a site in capitals", with("lab", "Lab"), &["lower-case"]),
        ("a site with a hyphen in front", with("lab", "-lab"), &["hyphens"]),
        ("a very long site", with("lab", &"x".repeat(41)), &["40"]),
    ]
}

fn odd_interfaces_and_addresses() -> Vec<Row> {
    vec![
        ("no interface", with("eth1", ""), &["line 4", "interface", "ip link"]),
        ("an interface with a path", with("eth1", "../eth1"), &["line 4", "interface"]),
        ("an interface with a space", with("eth1", "eth 1"), &["interface"]),
        ("an interface that is too long", with("eth1", "abcdefghijklmnop"), &["interface"]),
        (
            "an address without prefix",
            with("10.77.0.1/24", "10.77.0.1"),
            &["line 5", "address", "10.77.0.1/24"],
        ),
        ("an address of version 6", with("10.77.0.1/24", "fd00::1/64"), &["IPv4"]),
        ("a prefix of 33", with("/24", "/33"), &["address"]),
        ("a prefix of 31", with("/24", "/31"), &["/31"]),
        ("a prefix of 0", with("/24", "/0"), &["/0"]),
        ("the network itself", with("10.77.0.1/24", "10.77.0.0/24"), &["network's own"]),
        ("the broadcast address", with("10.77.0.1/24", "10.77.0.255/24"), &["broadcast"]),
        ("loopback", with("10.77.0.1/24", "127.0.0.1/8"), &["reach"]),
        ("multicast", with("10.77.0.1/24", "224.0.0.1/24"), &["reach"]),
    ]
}

fn odd_pools() -> Vec<Row> {
    vec![
        (
            "no pool",
            with("pool = \"10.77.0.100-10.77.0.199\"\n", ""),
            &["pool", "\"10.77.0.2-10.77.0.254\"", "off"],
        ),
        ("a pool of one end", with("100-10.77.0.199", "100"), &["line 6", "range", "write \"10.77.0.2-"]),
        ("a pool backwards", with("100-10.77.0.199", "100-10.77.0.9"), &["before it starts"]),
        (
            "a pool elsewhere",
            with("10.77.0.100-10.77.0.199", "10.1.0.1-10.1.0.9"),
            &["not inside 10.77.0.0/24"],
        ),
        ("a pool up to broadcast", with("199", "255"), &["broadcast"]),
        ("a pool from the network", with("10.77.0.100-", "10.77.0.0-"), &["network's own"]),
        ("a pool with us in it", with("10.77.0.100-", "10.77.0.1-"), &["own address 10.77.0.1"]),
    ]
}

fn odd_hours() -> Vec<Row> {
    let hours = |from: &str, to: &str, rest: &str| {
        format!("{GOOD}[[cast.hours]]\nfrom = \"{from}\"\nto = \"{to}\"\n{rest}\n")
    };
    let on = |days: &str| hours("08:00", "18:00", &format!("limit_mbit = 1\ndays = {days}"));
    vec![
        ("no time", hours("8", "18:00", "limit_mbit = 1"), &["line 8", "cast.hours 1.from", "\"08:00\""]),
        ("the 25th hour", hours("08:00", "25:00", "limit_mbit = 1"), &["line 9", "cast.hours 1.to", "24:00"]),
        ("no such minute", hours("08:60", "18:00", "limit_mbit = 1"), &["line 8", "from"]),
        ("a sign", hours("+8:00", "18:00", "limit_mbit = 1"), &["line 8", "from"]),
        ("it begins when the day is over", hours("24:00", "08:00", "limit_mbit = 1"), &["line 8", "from"]),
        ("no time at all", hours("08:00", "08:00", "limit_mbit = 1"), &["line 9", "at once", "00:00"]),
        ("less than nothing", hours("08:00", "18:00", "limit_mbit = -5"), &["line 10", "limit_mbit", "100"]),
        ("a limit is missing", hours("08:00", "18:00", ""), &["limit_mbit"]),
        ("a day nobody knows", on("\"montag\""), &["line 11", "cast.hours 1.days", "montag", "\"mon-fri\""]),
        ("half a span", on("\"mon-\""), &["days"]),
        ("no day", on("[]"), &["line 11", "days", "daily"]),
        ("an empty day", on("\"\""), &["days"]),
        ("a number", on("5"), &["line 11"]),
        ("control characters", on("\"\\u001b[2J\""), &["days"]),
        (
            "more hours than a week has days and nights",
            GOOD.to_owned() + &"[[cast.hours]]\nfrom='1:00'\nto='2:00'\nlimit_mbit=1\n".repeat(33),
            &["cast.hours", "32"],
        ),
    ]
}

fn odd_companions() -> Vec<Row> {
    let second = |interface: &str, address: &str, pool: &str| {
        format!(
            "{GOOD}[[provision]]\ninterface = \"{interface}\"\naddress = \"{address}\"\npool = \"{pool}\"\n"
        )
    };
    vec![
        ("a way nobody knows", format!("{GOOD}dhcp = \"sometimes\"\n"), &["line 7", "dhcp", "\"known\""]),
        ("port 0", format!("{GOOD}[http]\nport = 0\n"), &["line 8", "http.port", "1 to 65535"]),
        ("port 65536", format!("{GOOD}[agents]\nport = 65536\n"), &["agents.port", "8443"]),
        ("a negative port", format!("{GOOD}[agents]\nport = -1\n"), &["agents.port"]),
        (
            "years between scrubs",
            format!("{GOOD}[images]\nscrub_days = 366\n"),
            &["line 8", "images.scrub_days"],
        ),
        (
            "scrubs before they end",
            format!("{GOOD}[images]\nscrub_days = -1\n"),
            &["images.scrub_days", "0 for never"],
        ),
        (
            "less than nothing on the wire",
            format!("{GOOD}[cast]\nlimit_mbit = -1\n"),
            &["line 8", "cast.limit_mbit", "for example 800"],
        ),
        (
            "what no switch does",
            format!("{GOOD}[cast]\nflooding = \"Allow\"\n"),
            &["line 8", "cast.flooding", "\"avoid\""],
        ),
        ("one port twice", format!("{GOOD}[agents]\nport = 80\n"), &["line 8", "at once"]),
        (
            "keys at a relative path",
            format!("{GOOD}[trust]\nimage_keys = \"keys\"\n"),
            &["line 8", "absolute"],
        ),
        ("copy", format!("{GOOD}[backup]\ncopy = \"usb\"\n"), &["backup.copy", "/mnt/copy"]),
        ("copy outside", format!("{GOOD}[backup]\ncopy = \"/a/../b\"\n"), &["backup.copy"]),
        ("keys outside", format!("{GOOD}[trust]\nimage_keys = \"/a/../../b\"\n"), &["image_keys"]),
        (
            "an interface twice",
            second("eth1", "10.78.0.1/24", "10.78.0.2-10.78.0.9"),
            &["line 8", "provision 2", "already"],
        ),
        (
            "networks that overlap",
            second("eth2", "10.77.1.1/16", "10.77.1.2-10.77.1.9"),
            &["line 9", "overlaps"],
        ),
        (
            "seventeen networks",
            GOOD.to_owned() + &"[[provision]]\ninterface='a'\naddress='b'\n".repeat(16),
            &["sixteen"],
        ),
        ("deep nesting", format!("site = {}", "[".repeat(20_000)), &["line 1"]),
        ("a NUL", with("lab", "la\\u0000b"), &["site"]),
    ]
}

fn odd_mail() -> Vec<Row> {
    let mail = |find: &str, put: &str| {
        let usual = "[notify.mail]\nto = [\"ops@example.net\"]\nfrom = \"rack@example.net\"\nserver = \"mail.example.net\"\n";
        format!("{GOOD}{}", usual.replace(find, put))
    };
    let and = |more: &str| mail("", "") + more;
    vec![
        ("nobody", mail("[\"ops@example.net\"]", "[]"), &["notify.mail.to", "nobody", "write"]),
        ("no address", mail("ops@", "ops at "), &["line 8", "notify.mail.to", "no mail address"]),
        ("a line end", mail("rack@", "rack\\nBcc: all@"), &["line 9", "notify.mail.from"]),
        ("no sender", mail("from = \"rack@example.net\"\n", ""), &["from"]),
        ("a path for a host", mail("mail.example.net", "smtp://mail/x"), &["line 10", "notify.mail.server"]),
        ("a way nobody knows", and("tls = \"maybe\"\n"), &["line 11", "notify.mail.tls", "starttls"]),
        ("half an account", and("user = \"rack\"\n"), &["line 11", "notify.mail.user", "password_file"]),
        (
            "a password for everybody",
            and("tls = \"never\"\nuser = \"r\"\npassword_file = \"/p\"\n"),
            &["line 11", "everybody"],
        ),
        ("a relative file", and("ca_file = \"ca.pem\"\n"), &["notify.mail.ca_file", "absolute"]),
        ("a password in it", and("password = \"x\"\n"), &["line 11", "password"]),
    ]
}

#[test]
fn a_file_that_cannot_be_is_refused_with_line_key_and_cure() {
    for (name, text, words) in [
        odd_forms(),
        odd_interfaces_and_addresses(),
        odd_pools(),
        odd_networks(),
        odd_hours(),
        odd_companions(),
        odd_mail(),
    ]
    .concat()
    {
        let said = parse(&text).expect_err(name).to_string();
        assert!(!said.contains('\n'), "{name}: one line, not {said:?}");
        for word in words {
            assert!(said.contains(word), "{name}: {word:?} is not in {said:?}");
        }
    }
}

#[test]
fn a_key_that_a_terminal_would_obey_is_only_shown() {
    let said = parse("site = \"x\"\nprovision = []\n\"\\u001b[2J\" = 1\n").unwrap_err().to_string();
    assert!(said.contains("unknown field `?[2J`") && !said.contains(char::is_control), "{said:?}");
}

#[test]
fn a_huge_or_absent_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rackwright.toml");
    assert!(load(&path).unwrap_err().to_string().contains("rackwright.toml"));
    std::fs::write(&path, format!("#{}", "x".repeat(70_000))).unwrap();
    let error = load(&path).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("65536"), "{error}");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load(&path).unwrap(), good(GOOD));
}

#[test]
fn one_root_moves_everything() {
    let usual = Paths::under(None);
    assert_eq!(usual.config, Path::new("/etc/rackwright/rackwright.toml"));
    assert_eq!(usual.state_db, Path::new("/var/lib/rackwright/state.db"));
    assert_eq!(usual.socket, Path::new("/run/rackwright/control.sock"));
    let moved = Paths::under(Some(Path::new("/tmp/r")));
    for path in
        [&moved.config, &moved.state_db, &moved.images, &moved.boot, &moved.ca, &moved.journal, &moved.socket]
    {
        assert!(path.starts_with("/tmp/r"), "{}", path.display());
    }
    assert_eq!(
        moved.resolve(Path::new("/etc/rackwright/image-keys")),
        Path::new("/tmp/r/etc/rackwright/image-keys")
    );
    assert_eq!(usual.resolve(Path::new("/srv/keys")), Path::new("/srv/keys"));
}

#[test]
fn servers_are_tested_once_where_the_site_wants_it() {
    use fleet::burn_in::Wish;
    let said = |test: &str| format!("{GOOD}[enrol]\ntest = {test}\n");
    assert_eq!(good(GOOD).first_test, None);
    assert_eq!(good(&said("\"no\"")).first_test, None);
    assert_eq!(good(&said("\"quick\"")).first_test, Some(Wish::quick()));
    assert_eq!(good(&said("\"12h\"")).first_test.unwrap().seconds, 12 * 3600);
    for bad in ["\"\"", "\"long\"", "\"8days\"", "\"0s\"", "\"-1s\"", "5", "true"] {
        let why = parse(&said(bad)).unwrap_err().to_string();
        assert!(why.contains("enrol.test") || why.contains("line "), "{bad}: {why}");
    }
}

#[test]
fn a_cloud_has_the_optional_services_that_there_are_and_were_asked_for() {
    let said = |optional: &str| format!("{GOOD}[cloud]\noptional = {optional}\n");
    assert_eq!(good(GOOD).cloud, None);
    assert!(good(&format!("{GOOD}[cloud]\n")).cloud.unwrap().optional.is_empty());
    let both = good(&said("[\"horizon\", \"heat\", \"heat\"]")).cloud.unwrap().optional;
    assert_eq!(both.into_iter().collect::<Vec<_>>(), ["heat", "horizon"]);
    for bad in ["haet", "nova", "control", ""] {
        let why = parse(&said(&format!("[\"heat\", \"{bad}\"]"))).unwrap_err().to_string();
        let want =
            format!("{bad:?} is not an optional service; write any of \"heat\", \"horizon\", \"swift\"");
        assert!(why.contains("cloud.optional") && why.contains(&want), "{why}");
    }
}

#[test]
fn whoever_wants_an_object_storage_says_how_much_of_each_disk_it_may_have() {
    let said = |optional: &str, objects: &str| format!("{GOOD}[cloud]\noptional = [{optional}]\n{objects}\n");
    let room =
        |objects: &str| good(&said("\"swift\"", &format!("objects = \"{objects}\""))).cloud.unwrap().objects;
    assert_eq!(good(&said("\"heat\"", "")).cloud.unwrap().objects, None);
    assert_eq!(room("1GiB"), Some(1 << 30));
    assert_eq!(room("500GiB"), Some(500 << 30));
    assert_eq!(room("1024TiB"), Some(1 << 50));
    let refused = |optional: &str, objects: &str| {
        let why = parse(&said(optional, objects)).unwrap_err().to_string();
        assert!(why.contains("cloud.objects"), "{optional} {objects}: {why}");
        why
    };
    let why = refused("\"heat\", \"swift\"", "");
    assert!(why.contains("needs room") && why.contains("objects = \"500GiB\""), "{why}");
    let why = refused("\"heat\"", "objects = \"500GiB\"");
    assert!(why.contains("nothing keeps objects") && why.contains("optional = [\"swift\"]"), "{why}");
    for bad in [
        "",
        "GiB",
        "0GiB",
        "00GiB",
        "01GiB",
        "-1GiB",
        "+1GiB",
        "1.5TiB",
        "500",
        "500GB",
        "500 GiB",
        "500gib",
        "1025TiB",
        "1MiB",
        "18446744073709551615GiB",
        "18446744073709551616TiB",
        "5é",
        "é",
        "50%",
        "1GiB; rm -rf /",
        "１GiB",
    ] {
        let why = refused("\"swift\"", &format!("objects = \"{bad}\""));
        assert!(why.contains("whole number of GiB or TiB"), "{bad}: {why}");
    }
    assert!(parse(&said("\"swift\"", "objects = 500")).is_err());
}

#[test]
fn expected_tpms_are_digests_or_names() {
    let said = |list: &str| format!("{GOOD}[enrol]\nexpected_tpms = {list}\n");
    let (one, other) = ("5d".repeat(32), "a7".repeat(32));
    assert!(good(GOOD).expected_tpms.is_empty());
    let listed = good(&said(&format!("[\"{one}\", \"000b{other}\", \"{}\"]", one.to_uppercase())));
    let listed = listed.expected_tpms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(listed, [one.clone(), other]);
    for bad in ["\"\"", "\"5d\"", &format!("\"000c{one}\""), &format!("\"{one}0\""), "\"any\""] {
        let why = parse(&said(&format!("[{bad}]"))).unwrap_err().to_string();
        assert!(why.contains("enrol.expected_tpms"), "{bad}: {why}");
    }
}

#[test]
fn people_with_roles_are_users_and_groups_and_nobody_else() {
    use super::{Role, Whom};
    use fleet::limits::Limits;
    let usual = good(GOOD);
    assert!(!usual.operators.tells_apart(), "as ever");
    assert_eq!(usual.limits, Limits { rebuilds_an_hour: Some(20) });
    let said = "[operators]\nadmin = [\"@ops\"]\noperator = [\"@teachers\", \"alice.w\"]\nviewer = []\n";
    let config = good(&format!("{GOOD}{said}[limits]\nrebuilds_per_hour = 0\n"));
    assert_eq!(config.limits.rebuilds_an_hour, Some(0));
    let group = |name: &str| Whom::Group(name.to_owned());
    let rules = vec![
        (group("ops"), Role::Admin),
        (group("teachers"), Role::Operator),
        (Whom::User("alice.w".to_owned()), Role::Operator),
    ];
    assert_eq!(config.operators.rules, rules);
    assert!(!config.operators.second_person);
    assert!(good(&format!("{GOOD}[operators]\nsecond_person = true\n")).operators.second_person);
    let nobody = good(&format!("{GOOD}[operators]\nadmin = []\n")).operators;
    assert!(nobody.tells_apart() && nobody.role("x", &[]).is_none(), "an empty list is root alone");
    for (bad, wanted) in [
        ("[operators]\nadmin = [\"\"]\n", "a user as \"alice\""),
        ("[operators]\nadmin = [\"@\"]\n", "operators.admin"),
        ("[operators]\nviewer = [\"a b\"]\n", "operators.viewer"),
        ("[operators]\nviewer = [\"-x\"]\n", "operators.viewer"),
        ("[operators]\nviewer = [\"*\"]\n", "operators.viewer"),
        ("[operators]\nsecond_person = \"yes\"\n", "line 8"),
        ("[operators]\nroot = [\"x\"]\n", "root"),
        ("[operators]\nadmin = \"x\"\n", "line 8"),
        ("[limits]\nrebuilds_per_hour = -1\n", "limits.rebuilds_per_hour"),
        ("[limits]\nrebuilds_per_hour = 10001\n", "1 to 10000"),
    ] {
        let why = parse(&format!("{GOOD}{bad}")).unwrap_err().to_string();
        assert!(why.contains(wanted), "{bad}: {why}");
    }
}

const CLOUD: &str = r#"[cloud]
[cloud.external]
subnet = "203.0.113.0/24"
gateway = "203.0.113.1"
pool = "203.0.113.100-203.0.113.199"
vlan = 120
ports = ["52:54:00:77:02:01", "52:54:00:77:02:02"]
"#;

#[test]
fn the_network_outside_of_a_cloud_is_read_and_mistakes_are_told_with_their_line() {
    let cloud = |text: &str| parse(&format!("{GOOD}{text}"));
    let plain = cloud("[cloud]\n").unwrap().cloud.unwrap();
    assert_eq!((plain.region.as_str(), plain.external), ("RegionOne", None));
    let external = cloud(CLOUD).unwrap().cloud.unwrap().external.unwrap();
    assert_eq!((external.subnet.to_string(), external.vlan), ("203.0.113.0/24".to_owned(), Some(120)));
    assert_eq!((external.first.to_string(), external.ports.len()), ("203.0.113.100".to_owned(), 2));
    let untagged = CLOUD.replace("vlan = 120\n", "");
    assert_eq!(cloud(&untagged).unwrap().cloud.unwrap().external.unwrap().vlan, None);
    for (right, wrong, told) in [
        ("subnet = \"203.0.113.0/24\"", "subnet = \"10.77.0.0/16\"", "overlaps 10.77.0.0/24 on \"eth1\""),
        ("subnet = \"203.0.113.0/24\"", "subnet = \"203.0.113.7/24\"", "an address in 203.0.113.0/24"),
        ("gateway = \"203.0.113.1\"", "gateway = \"203.0.112.1\"", "no machine's in 203.0.113.0/24"),
        (
            "gateway = \"203.0.113.1\"",
            "gateway = \"203.0.113.100\"",
            "the router's address 203.0.113.100 is in it",
        ),
        ("-203.0.113.199", "-203.0.113.149, 203.0.113.160-203.0.113.199", "2 ranges"),
        ("vlan = 120", "vlan = 4095", "4095 is no VLAN"),
        ("vlan = 120", "vlan = 0", "0 is no VLAN"),
        ("\"52:54:00:77:02:01\", \"52:54:00:77:02:02\"", "", "an empty list"),
        ("52:54:00:77:02:01", "eth2", "\"eth2\" is no card's address"),
        ("vlan = 120", "vlans = 120", "vlans"),
        ("gateway = \"203.0.113.1\"\n", "", "gateway"),
    ] {
        assert!(CLOUD.contains(right), "{right}");
        let error = cloud(&CLOUD.replacen(right, wrong, 1)).unwrap_err().to_string();
        assert!(error.contains(told) && error.starts_with("line "), "{wrong}: {error}");
    }
}

#[test]
fn the_network_of_tunnels_has_room_for_every_node_and_is_nobody_elses() {
    let cloud = |text: &str| {
        parse(&format!("{GOOD}{CLOUD}[cloud.tunnel]\n{text}")).map(|config| config.cloud.unwrap())
    };
    let tunnel = cloud("subnet = \"10.20.20.0/24\"\n").unwrap().tunnel.unwrap();
    assert_eq!((tunnel.subnet.to_string().as_str(), tunnel.ports.len()), ("10.20.20.0/24", 0));
    let ports = "subnet = \"10.20.0.0/16\"\nports = [\"52:54:00:77:03:01\"]\n";
    assert_eq!(cloud(ports).unwrap().tunnel.unwrap().ports.len(), 1);
    for (text, told) in [
        ("subnet = \"10.77.0.0/24\"", "overlaps 10.77.0.0/24 on \"eth1\""),
        ("subnet = \"203.0.113.0/24\"", "overlaps 203.0.113.0/24 on \"cloud.external\""),
        ("subnet = \"10.20.20.0/25\"", "fewer addresses than 10.77.0.0/24"),
        ("subnet = \"10.20.20.0/24\"\nports = []", "an empty list"),
        ("ports = []", "subnet"),
    ] {
        let error = cloud(text).unwrap_err().to_string();
        assert!(error.contains(told) && error.starts_with("line "), "{text}: {error}");
    }
    let second = "[[provision]]\ninterface = \"eth2\"\naddress = \"10.78.0.1/24\"\npool = \"10.78.0.100-10.78.0.199\"\n";
    let two = parse(&format!("{GOOD}{second}[cloud]\n[cloud.tunnel]\nsubnet = \"10.20.20.0/24\"\n"));
    assert!(two.unwrap_err().to_string().contains("2 provisioning subnets"));
}
