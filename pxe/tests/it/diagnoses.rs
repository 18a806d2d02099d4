//! Every rule against a boot that fails so, and against boots that do not.

use std::collections::BTreeSet;

use pxe::Time;
use pxe::dhcp::{Arch, Why};
use pxe::diagnose::{Certainty, Facts, Finding, MOST_FINDINGS, RULES, diagnose};
use pxe::trace::{Answer, Plain, Stage, Step, What};

use crate::corpus::{BEGIN, cases, trace};

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_trace_yields_its_rule_first() {
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.rule != "healthy") {
        let findings = diagnose(&trace(&case.steps), &case.facts, case.now);
        if findings.first().is_none_or(|finding| finding.rule != case.rule) {
            wrong.push(format!("{}: {} expected, found {:?}", case.name, case.rule, ids(&findings)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_trace_and_every_trace_a_rule() {
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(rules.len(), RULES.len(), "a rule twice");
    assert!(rules.len() >= 25);
    let cases = cases();
    let of_cases: BTreeSet<&str> = cases.iter().map(|case| case.rule.as_str()).collect();
    let missing: Vec<_> = rules.difference(&of_cases).collect();
    let unknown: Vec<_> = of_cases.difference(&rules).filter(|rule| **rule != "healthy").collect();
    assert!(missing.is_empty() && unknown.is_empty(), "no trace: {missing:?}, no rule: {unknown:?}");
}

#[test]
fn a_healthy_boot_yields_nothing_at_any_moment_and_for_ever_after() {
    for case in cases().iter().filter(|case| case.rule == "healthy") {
        for count in 0..=case.steps.len() {
            let steps = &case.steps[..count];
            let at = steps.last().map_or(BEGIN, |step| step.at.0);
            // Until the next step comes, and at the latest when an operator would begin to wonder.
            let next = case.steps.get(count).map_or(at + 8_000_000, |step| step.at.0.min(at + 8_000_000));
            for now in [at, at + 1000, next - 1] {
                let findings = diagnose(&trace(steps), &case.facts, Time(now.max(at)));
                assert!(findings.is_empty(), "{} after {count} steps: {:?}", case.name, findings);
            }
        }
    }
}

#[test]
fn a_break_is_not_seen_before_its_time_and_stays() {
    for case in cases().iter().filter(|case| case.rule != "healthy") {
        let whole = trace(&case.steps);
        let later = diagnose(&whole, &case.facts, Time(case.now.0 + 3_600_000));
        assert_eq!(
            later.first().map(|finding| finding.rule),
            Some(case.rule.as_str()),
            "{} an hour later",
            case.name
        );
    }
}

#[test]
fn a_storm_is_what_comes_within_a_minute_not_what_came_in_all() {
    let stranger = cases().into_iter().find(|case| case.name == "stranger-for-an-hour").unwrap();
    let storms = |times: u64, every: u64| {
        let again = |n: u64| Step { at: Time(BEGIN + n * every), ..stranger.steps[0].clone() };
        let steps: Vec<_> = (0..times).map(again).collect();
        let trace = trace(&steps);
        assert_eq!(trace.len(), 1, "a silence that repeats itself is one step");
        let found = diagnose(&trace, &stranger.facts, again(times).at);
        found.into_iter().find(|finding| finding.rule == "retry-storm").map(|finding| finding.what)
    };
    let heard = |count: u64| Some(format!("it sends DHCP without pause: {count} messages within a minute"));
    assert_eq!(storms(121, 30_000), None);
    assert_eq!(storms(23, 2_000), None);
    assert_eq!(storms(24, 2_000), heard(24));
    assert_eq!(storms(40, 1_000), heard(40));
    assert_eq!(storms(1_801, 2_000), heard(30));
    let whole = diagnose(&trace(&stranger.steps), &stranger.facts, stranger.now);
    assert_eq!(ids(&whole), ["stranger-not-answered"]);
}

#[test]
fn a_machine_without_a_loader_is_named_and_advised_alike_in_the_answer_and_in_the_finding() {
    let asked = cases().into_iter().find(|case| case.name == "arch-unsupported").unwrap();
    let step = |arch: u16| {
        let why = if matches!(arch, 11 | 19) { Why::NoArm64Files } else { Why::ArchUnsupported(arch) };
        let mut step = asked.steps[0].clone();
        let What::Dhcp(dhcp) = &mut step.what else { panic!("no message") };
        (dhcp.arch, dhcp.answer) = (Some(arch), Answer::silence(&why));
        (step, why)
    };
    for arch in (0..=50).filter(|arch| !matches!(arch, 0 | 7 | 9 | 16 | 17)) {
        let (name, advice) = (Arch(arch).name(), Arch(arch).advice());
        let (step, why) = step(arch);
        let why = why.to_string();
        assert_eq!(Plain::new(&why).as_str(), why, "cut short in the black box");
        assert!(matches!(arch, 11 | 19) || why.ends_with(&format!("{arch} ({name}; {advice})")), "{why}");
        let found = diagnose(&trace(&[step]), &asked.facts, asked.now);
        assert_eq!(ids(&found), ["arch-unsupported"]);
        assert!(found[0].what.starts_with(&format!("it is {name} (option 93 says {arch})")), "{found:?}");
        assert_eq!(
            (&found[0].why, found[0].fix.as_str()),
            (&format!("The answer was silence: {why}."), advice)
        );
    }
}

#[test]
fn findings_can_be_read_at_night() {
    for case in cases() {
        let findings = diagnose(&trace(&case.steps), &case.facts, case.now);
        assert!(findings.len() <= MOST_FINDINGS);
        assert!(
            findings.is_sorted_by_key(|finding| finding.certainty),
            "{}: {:?}",
            case.name,
            ids(&findings)
        );
        for Finding { rule, what, why, fix, .. } in &findings {
            for (text, longest) in [(what, 140), (why, 300), (fix, 260)] {
                assert!((10..=longest).contains(&text.len()), "{rule}: {} {text:?}", text.len());
                assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{rule}: {text:?}");
                assert!(!text.contains("  ") && !text.contains(".."), "{rule}: {text:?}");
            }
            assert!(why.ends_with('.'), "{rule}: {why:?}");
        }
    }
}

#[test]
fn a_trace_says_how_far_each_boot_came() {
    let reached = |name: &str| {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        trace(&case.steps).attempts().map(pxe::trace::Attempt::reached).collect::<Vec<_>>()
    };
    assert_eq!(reached("healthy-uefi-pxe"), [Stage::Agent]);
    assert_eq!(reached("healthy-bios-pxe"), [Stage::Agent]);
    assert_eq!(reached("healthy-local-disk"), [Stage::System]);
    assert_eq!(reached("disk-does-not-boot"), [Stage::Disk; 3]);
    assert_eq!(reached("loader-loop"), [Stage::Loader; 3]);
}

#[test]
fn steps_are_kept_as_they_are_written_down() {
    for case in cases() {
        for step in &case.steps {
            let json = serde_json::to_string(step).unwrap();
            assert_eq!(&serde_json::from_str::<pxe::trace::Step>(&json).unwrap(), step, "{json}");
            assert!(!step.what.arrived().is_empty());
            let silent = matches!(step.what, What::Link { .. } | What::Foreign { .. });
            assert_eq!(step.what.answered().is_empty(), silent, "{json}");
        }
    }
}

#[test]
fn nothing_is_said_of_a_card_that_was_never_heard() {
    let facts = Facts { deaf: vec!["dhcp: no interface".into()], ..Facts::default() };
    assert_eq!(diagnose(&trace(&[]), &facts, Time(BEGIN)), []);
}

#[test]
fn certain_comes_before_likely() {
    assert!(Certainty::Certain < Certainty::Likely && Certainty::Likely < Certainty::Possible);
}
