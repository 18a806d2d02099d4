//! Answers files: written, read, and as somebody hostile would write them.

use setup::{
    Code, Context, Id, Message, Problem, QUESTIONS, Session, TOPOLOGIES, file, outcome, schema, update,
};

use crate::machines::{one, two, with};

/// The codes and lines of everything that is wrong with a file.
fn wrong(text: &str) -> Vec<(Code, Option<usize>)> {
    let problems = match file::read(text) {
        Err(problems) => problems,
        Ok((answers, lines)) => {
            file::located(setup::problems(&Context { answers: &answers, facts: None }), &lines)
        }
    };
    problems.into_iter().map(|problem: Problem| (problem.code, problem.line)).collect()
}

#[test]
fn a_dumped_file_makes_the_same_machine_byte_for_byte() {
    for facts in [one(), two()] {
        for topology in TOPOLOGIES {
            for language in ["en", "zh-TW", "zh-CN"] {
                let session = with(
                    facts.clone(),
                    &[
                        (Id::Language, language),
                        (Id::Topology, topology.choice.word),
                        (Id::TimeServers, "10.0.0.9"),
                    ],
                );
                let text = file::write(&session.context());
                let (answers, lines) = file::read(&text).unwrap();
                assert_eq!(lines.len(), session.applicable().count());
                let mut again = Session::answered(answers);
                update(&mut again, Message::Looked(facts.clone()));
                assert_eq!(outcome(&again.context()), outcome(&session.context()));
                assert_eq!(wrong(&text), []);
            }
        }
    }
}

#[test]
fn hostile_files_are_refused_with_code_and_line() {
    let good = "[management]\ninterface = \"eno2\"\n";
    for (text, told) in [
        ("", vec![(Code::Needed, None)]),
        (good, vec![]),
        ("management = {interface = \"eno2\"}\n[uplink]\n", vec![]),
        ("site = ", vec![(Code::NotToml, Some(1))]),
        ("\n\nsite = \"a\"\nsite = \"b\"", vec![(Code::NotToml, Some(4))]),
        ("\u{0}", vec![(Code::NotToml, Some(1))]),
        ("sitte = \"a\"", vec![(Code::MisspeltKey, Some(1))]),
        ("[management]\naddres = \"a\"", vec![(Code::MisspeltKey, Some(2))]),
        ("[network]\npool = \"a\"", vec![(Code::MisspeltKey, Some(2))]),
        ("zzz = 1\n\"\\u001b[2J\" = 2", vec![(Code::UnknownKey, Some(1)), (Code::UnknownKey, Some(2))]),
        ("[management.interface]\nx = 1", vec![(Code::WrongType, Some(1))]),
        ("site = []", vec![(Code::WrongType, Some(1))]),
        ("site = 2026-01-01", vec![(Code::WrongType, Some(1))]),
        ("site = true", vec![(Code::WrongType, Some(1))]),
        ("[management]\ninterface = \"eno2\"\nvlan = 7", vec![]),
        ("[management]\ninterface = \"eno2\"\nvlan = 4095", vec![(Code::BadVlan, Some(3))]),
        ("[management]\ninterface = \"eno2\"\nvlan = -1", vec![(Code::BadVlan, Some(3))]),
        ("site = \"x y\"\n[management]\ninterface = \"eno2\"", vec![(Code::BadSite, Some(1))]),
        ("[management]\ninterface = \"$(id)\"", vec![(Code::BadInterface, Some(2))]),
        ("[management]\ninterface = \"eno2\"\naddress = \"192.168.1.9/24\"", vec![(Code::Overlap, None)]),
        (
            "[tunnel]\nnetwork = \"1.0.0.0/8\"\n[management]\ninterface = \"eno2\"",
            vec![(Code::Unused, Some(2))],
        ),
    ] {
        assert_eq!(wrong(text), told, "{text:?}");
    }
    assert_eq!(wrong(&"#\n".repeat(40_000)), [(Code::TooLarge, None)]);
    let deep = format!("site = {}", "[".repeat(5000));
    assert_eq!(wrong(&deep), [(Code::NotToml, Some(1))]);
}

#[test]
fn every_key_is_in_the_schema_and_none_beside() {
    let schema = schema::schema();
    assert_eq!(schema["additionalProperties"], false);
    for question in QUESTIONS {
        let path = format!("/properties/{}", question.key.replace('.', "/properties/"));
        let property = schema.pointer(&path).unwrap_or_else(|| panic!("{path}"));
        assert!(property["description"].is_string());
    }
    let count = |value: &serde_json::Value| value["properties"].as_object().map_or(1, |map| map.len());
    let top = schema["properties"].as_object().unwrap();
    assert_eq!(top.values().map(count).sum::<usize>(), QUESTIONS.len());
}
