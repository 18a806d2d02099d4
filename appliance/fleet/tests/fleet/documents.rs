//! State documents: data in, files, units and tasks out.

use fleet::{Catalog, Event, converge};

use crate::rack::Rack;

#[test]
fn a_document_changes_exactly_when_its_content_does() {
    let (mut rack, node, _) = Rack::active("control");
    let first = rack.only().document.generation;
    rack.reports(node, "active").unwrap();
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.only().document.generation, first);
    rack.bring(Event::Rename { node, name: "ctl".parse().unwrap() }).unwrap();
    assert_eq!(rack.only().document.generation, first + 1);
    let document = converge(&rack.fleet, &rack.site(), &rack.catalog, rack.only()).unwrap();
    assert_eq!(document.name, "ctl");
    assert!(document.files[0].content.contains("10.77.0.100 ctl"), "{}", document.files[0].content);
}

#[test]
fn a_catalog_that_contradicts_itself_is_refused() {
    let service = "name='a'\nsummary=''\n[[files]]\npath='/x'\nmode='0644'\nowner='r:r'\ntemplate='none'";
    let task = "[[tasks]]\nname='t'\nguard=[]\nargv=[]\ntimeout_seconds=1\nbefore_units=true";
    let cases: [(&str, Vec<(&str, String)>); 5] = [
        (
            "a role without its service",
            vec![("roles/a.toml", "name='a'\nsummary=''\nservices=['b']".to_owned())],
        ),
        ("a file without its template", vec![("services/a.toml", service.to_owned())]),
        ("a task twice", vec![("services/a.toml", format!("name='a'\nsummary=''\n{task}\n{task}"))]),
        (
            "an unknown key",
            vec![("roles/a.toml", "name='a'\nsummary=''\nservices=[]\ncolour='red'".to_owned())],
        ),
        ("a file that belongs nowhere", vec![("notes.txt", String::new())]),
    ];
    for (what, files) in cases {
        let files = files.iter().map(|(path, text)| (*path, text.as_str()));
        assert!(Catalog::parse(files).is_err(), "{what}");
    }
}
