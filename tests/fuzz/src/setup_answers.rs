//! Answers to set-up: in a file, and as the record of a set-up that goes on.

use setup::{
    Context, Language, Message, Session, Severity, Stage, file, outcome, plain, problems, record, update,
};

use crate::Reached;

/// What set-up takes, the daemon takes; what it refuses it can say in three languages, without obeying what was written.
pub(crate) fn answers(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let (answers, lines) = match file::read(&text) {
        Ok(read) => read,
        Err(wrong) => {
            assert!(!wrong.is_empty());
            told(&wrong);
            return Reached::Refusal;
        }
    };
    assert!(lines.values().all(|line| *line <= text.lines().count() + 1));
    let context = Context { answers: &answers, facts: None };
    let found = file::located(problems(&context), &lines);
    told(&found);
    if found.iter().any(|problem| problem.severity() == Severity::Stop) {
        return Reached::Refusal;
    }
    let made = outcome(&context);
    let configuration = made.files.last().map(|file| file.content.clone()).unwrap_or_default();
    if let Err(why) = appliance::config::parse(&configuration) {
        panic!("{why}\n{configuration}");
    }
    // Its own answers make the same.
    let dumped = file::write(&context);
    let (again, _) = file::read(&dumped).unwrap_or_else(|wrong| panic!("{wrong:?}\n{dumped}"));
    assert_eq!(outcome(&Context { answers: &again, facts: None }), made, "{dumped}");
    Reached::Inside
}

fn told(found: &[setup::Problem]) {
    for language in Language::ALL {
        for line in plain::complain(found, language, 80) {
            assert!(setup::width(&line) <= 80 && !line.chars().any(char::is_control), "{line:?}");
        }
    }
}

/// Any record is a set-up that goes on.
pub(crate) fn recorded(data: &[u8]) -> Reached {
    let messages = record::read(&String::from_utf8_lossy(data));
    let mut session = Session::replay(&messages);
    update(&mut session, Message::Resume);
    assert!(session.stage() != Stage::Writing && session.stage() != Stage::Left);
    for columns in [80, 10] {
        let shown = [plain::show(&session, columns), plain::explain(&session, columns)].concat();
        assert!(shown.iter().all(|line| setup::width(line) <= columns), "{shown:?}");
    }
    let written: String =
        messages.iter().map(record::line).fold(record::HEAD.to_owned(), |all, line| all + &line);
    assert_eq!(record::read(&written), messages);
    Reached::when(!messages.is_empty())
}

/// Little, everything, a VLAN as a number, a key that is none, a network that overlaps, terminal sequences.
pub(crate) fn answers_seeds() -> Vec<Vec<u8>> {
    let least = "[management]\ninterface = \"eno2\"\n";
    let all = "language = \"zh-TW\"\nsite = \"lab\"\ntopology = \"advanced-1\"\n[uplink]\ninterface = \"eno1\"\n\
               method = \"static\"\naddress = \"192.168.1.9/24\"\ngateway = \"192.168.1.1\"\n[management]\nvlan = 100\n\
               interface = \"eno1\"\naddress = \"10.10.10.1/24\"\ndhcp = \"known\"\npool = \"10.10.10.9-10.10.10.99\"\n\
               [tunnel]\nnetwork = \"10.20.20.0/24\"\nvlan = \"20\"\n[external]\nnetwork = \"192.168.1.0/24\"\n\
               pool = \"192.168.1.200-192.168.1.240\"\n[time]\nservers = \"192.168.1.1, 192.168.1.2\"\n";
    let texts = [
        least.to_owned(),
        all.to_owned(),
        all.replace("known", "proxy"),
        format!("{least}addres = \"10.0.0.1/30\"\n"),
        format!("{least}address = \"10.0.0.1/30\"\n"),
        format!("{least}[tunnel]\nnetwork = \"10.10.0.0/16\"\n"),
        "site = \"\\u001b[2J\"\n\"\\u001b[2J\" = 1\n".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}

/// A set-up that was confirmed, one that was left, one that breaks off, one of another form.
pub(crate) fn recorded_seeds() -> Vec<Vec<u8>> {
    let card = r#"{"name":"eno1","mac":null,"link":true,"addresses":["10.0.0.9/24"],"gateway":{"address":"10.0.0.1","answers":false},"dhcp":["10.0.0.1"]}"#;
    let looked = format!(
        "{}{{\"looked\":{{\"interfaces\":[{card}],\"disk\":1,\"memory\":1,\"now\":1}}}}\n",
        record::HEAD
    );
    let said = "{\"answer\":\"zh-CN\"}\n\"back\"\n{\"answer\":\"\"}\n{\"jump\":\"management.vlan\"}\n{\"answer\":\"7\"}\n";
    let texts = [
        format!("{looked}{said}\"confirm\"\n{{\"not-written\":\"full\"}}\n\"leave\"\n\"resume\"\n"),
        format!("{looked}{said}{{\"earlier\":{{\"site\":\"a\"}}}}\n\"help\"\n\"leave\"\n"),
        format!("{looked}{{\"answer\":\"ba"),
        "{\"rackwright-setup\":2}\n".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}
