//! Every rule finds what it is about, leaves alone what looks like it, and is satisfied when it was obeyed.

use std::collections::BTreeSet;

use image_build::lint::find::{find, find_in_volume};
use image_build::lint::rule::{Find, Rule, Strip};
use image_build::lint::strip::strip;
use image_build::lint::{Outcome, Refused, Report, examine};

use super::{Files, cases, everything, lay, open, rules};
use crate::tool::work;

/// The names of the rules that find something.
fn found(rules: &[Rule], files: &Files) -> Vec<String> {
    let work = work();
    lay(work.path(), files);
    let tree = open(work.path());
    let (hits, troubles) = find(rules, &tree);
    assert!(troubles.is_empty(), "{troubles:?}");
    hits.iter().map(|hit| hit.rule.id.clone()).collect()
}

#[test]
fn every_rule_about_paths_has_a_case_that_it_finds_and_one_that_it_leaves_alone() {
    let mut cases = cases();
    for rule in rules().into_iter().filter(Rule::is_about_paths) {
        let case = cases.remove(&rule.id).unwrap_or_else(|| panic!("no case for the rule {}", rule.id));
        assert!(!case.hit.is_empty() && !case.clean.is_empty(), "{}", rule.id);
        let one = std::slice::from_ref(&rule);
        for (path, content) in &case.hit {
            let file = Files::from([(path.clone(), content.clone())]);
            assert!(path.ends_with('/') || found(one, &file) == [rule.id.clone()], "{}: {path}", rule.id);
        }
        assert!(found(one, &case.clean).is_empty(), "{} finds what is clean", rule.id);
    }
    assert!(cases.is_empty(), "cases of rules that are no more: {:?}", cases.keys());
}

#[test]
fn every_rule_about_volumes_finds_its_marks_and_nothing_beside_them() {
    let rules = rules();
    let mut seen = 0;
    for rule in rules.iter().filter(|rule| rule.find == Find::Volume) {
        for mark in rule.marks() {
            let at = usize::try_from(mark.at).unwrap();
            let mut volume = vec![0; at + 4096];
            volume[at..at + mark.bytes.len()].copy_from_slice(&mark.bytes);
            let ids: Vec<_> =
                find_in_volume(&rules, &volume).unwrap().iter().map(|(rule, _)| &rule.id).collect();
            assert_eq!(ids, [&rule.id]);
            volume.remove(0);
            volume[at..].fill(0);
            assert!(find_in_volume(&rules, &volume).unwrap().is_empty(), "{}", rule.id);
            volume.truncate(at + mark.bytes.len() - 1);
            assert!(find_in_volume(&rules, &volume).unwrap().is_empty(), "{}", rule.id);
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn a_stripped_tree_has_only_what_a_person_must_decide() {
    let rules = rules();
    let work = work();
    lay(work.path(), &everything());
    let tree = open(work.path());
    let before: BTreeSet<_> = find(&rules, &tree).0.iter().map(|hit| hit.rule.id.clone()).collect();
    let all = rules.iter().filter(|rule| rule.is_about_paths());
    assert_eq!(before, all.map(|rule| rule.id.clone()).collect());
    assert_eq!(strip(&rules, &BTreeSet::new(), &tree), Vec::<String>::new());
    let left: Vec<_> = find(&rules, &tree).0.iter().map(|hit| hit.rule.strip).collect();
    assert!(left.iter().all(|strip| *strip == Strip::Nothing), "{left:?}");
    let read = |path: &str| std::fs::read_to_string(work.path().join(path)).unwrap();
    assert_eq!(read("etc/machine-id"), "uninitialized\n");
    assert_eq!(read("etc/iscsi/initiatorname.iscsi"), "GenerateName=yes\n");
    assert_eq!(read("etc/libvirt/libvirtd.conf"), "a = 1\nb = 2\n");
    assert_eq!(read("etc/shadow"), "root:!:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nu:!:1:::::");
    assert_eq!(read("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n");
    assert_eq!(read("etc/default/grub"), "GRUB_CMDLINE_LINUX=\"quiet splash\"\n");
    assert_eq!(read("etc/sysconfig/network-scripts/ifcfg-eth0"), "DEVICE=eth0\nONBOOT=yes");
    assert_eq!(read("etc/hostname"), "");
    assert!(work.path().join("var/lib/rackwright-agent").is_dir());
    assert!(work.path().join("tmp").is_dir() && !work.path().join("var/tmp/d").exists());
}

#[test]
fn bytes_that_are_no_text_survive_a_replacement() {
    let work = work();
    let path = work.path().join("etc/hosts");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"# caf\xe9\n127.0.1.1 x\n\xff\x00\n").unwrap();
    assert!(strip(&rules(), &BTreeSet::new(), &open(work.path())).is_empty());
    assert_eq!(std::fs::read(&path).unwrap(), b"# caf\xe9\n\xff\x00\n");
}

#[test]
fn what_is_kept_stays_and_is_said() {
    let (rules, work) = (rules(), work());
    lay(work.path(), &everything());
    let keep = BTreeSet::from(["authorized-keys".to_owned()]);
    assert!(strip(&rules, &keep, &open(work.path())).is_empty());
    assert!(work.path().join("root/.ssh/authorized_keys").exists());
    let mut report = examine(work.path(), &rules).unwrap();
    assert!(report.refused() && Refused::check(&report).unwrap_err().to_string().contains("authorized-keys"));
    report.keep(Some(&keep));
    assert!(!report.refused() && Refused::check(&report).is_ok());
    assert!(report.kept().contains(&"authorized-keys"));
    assert!(report.to_string().contains("KEPT      authorized-keys"), "{report}");
    assert!(report.to_string().contains("because you said so: authorized-keys"), "{report}");
}

#[test]
fn the_report_fits_eighty_columns_and_says_the_same_in_json() {
    let (rules, work) = (rules(), work());
    lay(work.path(), &everything());
    lay(
        work.path(),
        &Files::from([("/etc/os-release".into(), "PRETTY_NAME=\"Some \u{1b}[2J OS\"\n".into())]),
    );
    let mut report = examine(work.path(), &rules).unwrap();
    report.source = "disk.img".into();
    assert_eq!(report.system, "Some \\u{1b}[2J OS");
    let text = report.to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.ends_with('\n') && text.contains("REFUSED   machine-id"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["apiVersion"], "rackwright/v1");
    assert_eq!(json["refused"], true);
    let findings = json["item"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), report.findings.len());
    for finding in findings {
        assert!(finding["why"].as_str().is_some_and(|why| !why.is_empty()));
        assert!(finding["places"][0].as_str().is_some_and(|place| place.starts_with('/')), "{finding}");
        assert_eq!(finding["outcome"], "found");
    }
    report.keep(None);
    assert!(!report.refused() && report.findings.iter().all(|one| one.outcome == Outcome::Kept));
    assert!(Report::default().to_string().contains("no system was found"));
}
