//! What a TPM proves, what it does not, and who is held for want of it.

use fleet::event::Standing;
use fleet::tpm::{Question, ek_of};
use fleet::view::{node_row, node_view};
use fleet::{Denied, Event, Node, Outcome, Reply};
use protocol::{EcPoint, Ek, NodeId, Tpm, TpmKeys, TpmSecret};

use crate::rack::{MAC, OTHER_MAC, Rack, hello};

/// The TPM of this number; 0: the agent says nothing of it.
pub(crate) fn tpm(number: u8) -> Option<Tpm> {
    let (endorsement, attestation) = (EcPoint([number; 64]), EcPoint([number ^ 0x80; 64]));
    (number > 0).then_some(Tpm::Keys(TpmKeys { endorsement, attestation, answer: None }))
}

fn ek(number: u8) -> Ek {
    ek_of(&EcPoint([number; 64]))
}

struct Said {
    node: NodeId,
    standing: Standing,
    question: Option<Question>,
    granted: bool,
}

impl Said {
    fn waits_for(&self, words: &str) {
        assert!(!self.granted, "nothing is granted");
        assert!(
            matches!(&self.standing, Standing::Waiting(why) if why.contains(words)),
            "{words}: {:?}",
            self.standing
        );
    }
}

impl Rack {
    fn says(&mut self, (key, mac): (u8, &str), tpm: Option<Tpm>, answered: Option<TpmSecret>) -> Said {
        let hello = Box::new(protocol::Hello { tpm, ..hello(key, mac) });
        let Outcome { reply, effects, .. } =
            self.bring(Event::Hello { hello, proven: true, answered }).unwrap();
        let Reply::Hello { node, nonce: _, standing, question } = reply else { panic!("{reply:?}") };
        Said { node, standing, question: question.map(|question| *question), granted: !effects.is_empty() }
    }

    /// Says hello until there is no question left, and answers each.
    fn proves(&mut self, who: (u8, &str), number: u8) -> Said {
        let mut said = self.says(who, tpm(number), None);
        for _ in 0..4 {
            let Some(question) = said.question else {
                // The first hello of a key has no proof yet, so nothing is asked of it.
                said = self.says(who, tpm(number), None);
                if said.question.is_none() {
                    break;
                }
                continue;
            };
            said = self.says(who, tpm(number), Some(question.secret));
            if said.question.is_none() {
                break;
            }
        }
        said
    }

    fn lets_in(&mut self, node: NodeId, moved: bool) -> Result<Outcome, Denied> {
        self.bring(Event::Approve { node, name: None, roles: None, moved })
    }

    fn evidence(&self, node: &Node) -> String {
        node_row(&self.fleet, &self.site(), node, self.now).evidence
    }

    /// A node that was let in with this TPM.
    fn with_tpm(number: u8) -> (Rack, NodeId) {
        let mut rack = Rack::new();
        let node = rack.proves((1, MAC), number).node;
        rack.lets_in(node, false).unwrap();
        let said = rack.proves((1, MAC), number);
        assert!(said.granted, "{:?}", said.standing);
        assert_eq!(rack.only().tpm.ek, Some(ek(number)));
        (rack, node)
    }
}

#[test]
fn a_certificate_is_given_once_for_each_answer() {
    let mut rack = Rack::new();
    let who = (1, MAC);
    assert_eq!(rack.says(who, tpm(7), None).question, None, "a key without proof has nothing asked");
    assert_eq!(rack.evidence(rack.only()), "none");
    let question = rack.says(who, tpm(7), None).question.unwrap();
    assert_eq!(rack.says(who, tpm(7), None).question, Some(question), "asked again, it is the same question");
    let wrong = rack.says(who, tpm(7), Some(TpmSecret([9; 32])));
    assert_eq!((wrong.question, rack.evidence(rack.only())), (Some(question), "none".to_owned()));
    let said = rack.says(who, tpm(7), Some(question.secret));
    assert_eq!(said.question, None);
    said.waits_for("compare the code");
    assert_eq!(rack.evidence(rack.only()), "tpm");
    rack.lets_in(said.node, false).unwrap();
    // What was answered before it was let in counts no more.
    let said = rack.says(who, tpm(7), Some(question.secret));
    said.waits_for("asking its TPM");
    let again = said.question.unwrap();
    assert_ne!(again.secret, question.secret);
    assert!(rack.says(who, tpm(7), Some(again.secret)).granted);
    let replayed = rack.says(who, tpm(7), Some(again.secret));
    replayed.waits_for("asking its TPM");
    assert_eq!(rack.evidence(rack.only()), "tpm");
}

#[test]
fn a_server_without_a_tpm_is_let_in_by_its_code_and_says_why() {
    for said in [None, Some(Tpm::Lacks("there is no TPM 2.0".to_owned()))] {
        let (mut rack, who) = (Rack::new(), (1, MAC));
        let node = rack.says(who, said.clone(), None).node;
        rack.lets_in(node, false).unwrap();
        assert!(rack.says(who, said.clone(), None).granted);
        let view = node_view(&rack.fleet, &rack.site(), rack.only(), rack.now);
        assert_eq!((view.row.evidence.as_str(), view.tpm.tpm), ("code", None));
        let lacks = view.tpm.lacks.unwrap();
        assert_eq!(lacks.contains("there is no TPM 2.0"), said.is_some(), "{lacks}");
    }
}

#[test]
fn a_tpm_that_stops_in_the_middle_keeps_nobody_out() {
    let (mut rack, who) = (Rack::new(), (1, MAC));
    let node = rack.says(who, tpm(7), None).node;
    rack.lets_in(node, false).unwrap();
    rack.says(who, tpm(7), None).waits_for("asking its TPM");
    assert!(rack.says(who, Some(Tpm::Lacks("it does not answer".to_owned())), None).granted);
    assert_eq!(rack.evidence(rack.only()), "code");
}

#[test]
fn who_was_let_in_with_a_tpm_is_nobody_without_it() {
    let lacks = || Some(Tpm::Lacks("there is no TPM 2.0".to_owned()));
    // The same key: the disk was moved, or the board is another one. And another key from its NIC.
    for key in [1, 2] {
        for (other, words) in [(None, "does not speak"), (lacks(), "does not speak"), (tpm(8), "another one")]
        {
            let (mut rack, node) = Rack::with_tpm(7);
            let state = rack.state();
            let said = rack.says((key, MAC), other.clone(), None);
            said.waits_for(words);
            assert_eq!((said.node, rack.state()), (node, state));
            let refused = rack.lets_in(node, false).unwrap_err();
            assert!(refused.to_string().contains("--moved"), "{refused}");
            assert_eq!(rack.only().tpm.ek, Some(ek(7)), "what is known of it is not rewritten");
            // The real one goes on meanwhile.
            assert!(rack.proves((1, MAC), 7).granted);
        }
    }
}

#[test]
fn a_board_that_was_changed_is_the_same_node_when_a_person_says_so() {
    let (mut rack, node) = Rack::with_tpm(7);
    rack.proves((2, MAC), 8).waits_for("another one");
    rack.lets_in(node, true).unwrap();
    assert!(rack.proves((2, MAC), 8).granted);
    assert_eq!((rack.only().id, rack.only().tpm.ek), (node, Some(ek(8))));
    rack.says((1, MAC), tpm(7), None).waits_for("another one");
}

#[test]
fn a_board_without_a_tpm_takes_the_place_of_one_with_it() {
    let (mut rack, node) = Rack::with_tpm(7);
    let lacks = || Some(Tpm::Lacks("there is no TPM 2.0".to_owned()));
    rack.says((2, MAC), lacks(), None).waits_for("does not speak");
    rack.lets_in(node, true).unwrap();
    assert!(rack.says((2, MAC), lacks(), None).granted);
    assert_eq!((rack.only().tpm.ek, rack.evidence(rack.only())), (None, "code".to_owned()));
}

#[test]
fn two_servers_with_one_tpm_are_held_apart() {
    let (mut rack, node) = Rack::with_tpm(7);
    // No NIC of it is known, so there would be a new node.
    rack.says((2, OTHER_MAC), tpm(7), None).waits_for("has the TPM of n1");
    assert_eq!(rack.only().id, node);
    // One that was there first, without a TPM, and has this one now.
    let (mut rack, _) = Rack::with_tpm(7);
    let second = rack.says((2, OTHER_MAC), None, None).node;
    rack.says((2, OTHER_MAC), tpm(7), None).waits_for("its TPM is that of n1");
    let refused = rack.lets_in(second, false).unwrap_err();
    assert!(matches!(refused, Denied::Conflict(_)), "{refused}");
    // Moved from one to the other: the first is let in by its code from now on.
    rack.proves((2, OTHER_MAC), 7);
    rack.lets_in(second, true).unwrap();
    assert!(rack.proves((2, OTHER_MAC), 7).granted);
    assert_eq!(rack.fleet.nodes[&second].tpm.ek, Some(ek(7)));
    assert_eq!(rack.fleet.nodes.values().filter(|node| node.tpm.ek.is_some()).count(), 1);
}

#[test]
fn of_two_strangers_with_one_tpm_the_second_is_held() {
    let mut rack = Rack::new();
    let first = rack.proves((1, MAC), 7).node;
    rack.says((2, OTHER_MAC), tpm(7), None);
    let second = rack.proves((2, OTHER_MAC), 7);
    second.waits_for("its TPM is that of n1");
    rack.lets_in(second.node, false).unwrap_err();
    rack.lets_in(first, false).unwrap();
}

#[test]
fn an_expected_tpm_lets_a_new_server_in_and_nothing_else_does() {
    let mut rack = Rack::new();
    rack.fleet.expected_tpms = [ek(7)].into();
    // Said, and not proven.
    rack.says((1, MAC), tpm(7), None);
    rack.says((1, MAC), tpm(7), None).waits_for("compare the code");
    assert_eq!(rack.state(), "discovered");
    let said = rack.proves((1, MAC), 7);
    assert!(said.granted, "{:?}", said.standing);
    assert_eq!(rack.evidence(rack.only()), "expected");
    // Another TPM waits for a person, and so does a known node with another key.
    rack.proves((2, OTHER_MAC), 8).waits_for("compare the code");
    rack.proves((3, MAC), 7).waits_for("known here, but with a new key");
}

#[test]
fn a_rejected_server_has_no_tpm_here() {
    let (mut rack, node) = Rack::with_tpm(7);
    rack.bring(Event::Reject { node, why: "a visitor".to_owned() }).unwrap();
    assert_eq!(rack.only().tpm.ek, None);
}
