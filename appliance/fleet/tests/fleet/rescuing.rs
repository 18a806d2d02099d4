//! A node into its operator's hands and back, from every state in which one is needed.

use fleet::certificate::{Stage, authorise};
use fleet::job::JobState;
use fleet::plan::PlanState;
use fleet::rescue::Wish;
use fleet::{Denied, Event, Reply, State, Time, boot_task, notice, patience, view};
use protocol::{Answer, HostKey, JobId, Key, NodeId, Phase, Progress, Report, RescueJob, SshKey, Task};
use pxe::script::BootTask;

use crate::rack::{MAC, OTHER_MAC, Rack, progress};

const SSH: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab";

impl Rack {
    fn rescue(&mut self, node: NodeId) -> Result<(), Denied> {
        let confirmed = Some(self.fleet.nodes[&node].name.to_string());
        let keys = vec![SSH.parse::<SshKey>().unwrap()];
        self.bring(Event::Rescue { node, wish: Box::new(Wish { keys, confirmed, force: false }) }).map(drop)
    }

    fn unconfirmed(&mut self, node: NodeId) -> Result<(), Denied> {
        let wish = Wish { keys: Vec::new(), confirmed: None, force: false };
        self.bring(Event::Rescue { node, wish: Box::new(wish) }).map(drop)
    }

    fn ends(&mut self, node: NodeId) -> Result<(), Denied> {
        self.bring(Event::EndRescue { node }).map(drop)
    }

    /// What the ramdisk is told to do.
    fn task(&mut self, node: NodeId) -> Task {
        match self.asks(node).unwrap().reply {
            Reply::Task(task) => task,
            other => panic!("{other:?}"),
        }
    }

    fn rescued(&mut self, node: NodeId) -> RescueJob {
        match self.task(node) {
            Task::Rescue(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    /// Whether the rescue goes on.
    fn tells_of_rescue(&mut self, node: NodeId, job: JobId) -> bool {
        let told = protocol::Rescue { job, host_key: Some(HostKey::of([1; 32])), trouble: None };
        self.bring(Event::Rescued { node, told }).unwrap().reply == Reply::GoOn(true)
    }

    fn goes_home(&self) -> bool {
        boot_task(&self.fleet, &MAC.parse().unwrap()) == BootTask::LocalDisk
    }

    fn waits_for(&self) -> String {
        patience::wait(&self.fleet, self.only()).map(|wait| wait.reason).unwrap_or_default()
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.bring(Event::Tick).unwrap();
    }

    fn is_ordered(&self) -> bool {
        self.only().orders.iter().any(|order| order.kind.redeploys())
    }

    /// Its run certificate, whether it opens anything.
    fn run_opens(&self) -> bool {
        let mut run = self.fleet.certificates.values().filter(|row| row.stage == Stage::Run);
        run.any(|row| authorise(&self.fleet, Some(&row.fingerprint), Stage::Run, self.now).is_ok())
    }
}

#[test]
fn an_active_node_hands_a_ticket_in_is_mended_and_is_who_it_was() {
    let (mut rack, node, _) = Rack::active("control");
    let before = rack.only().clone();
    let refused = rack.unconfirmed(node).unwrap_err();
    assert!(
        matches!(&refused, Denied::Unnamed { name, .. } if *name == before.name.to_string()),
        "{refused}"
    );
    rack.rescue(node).unwrap();
    assert_eq!(rack.state(), "rescue");
    assert!(rack.is_ordered() && rack.goes_home(), "a power cut would cost an approval");
    assert!(rack.waits_for().contains("its own system to restart"), "{}", rack.waits_for());
    rack.rescue(node).unwrap_err();

    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    assert!(!rack.goes_home());
    rack.hello(5, MAC, true).unwrap();
    let job = rack.rescued(node);
    assert_eq!(job.keys.iter().map(SshKey::comment).collect::<Vec<_>>(), ["alice@lab"]);
    assert!(rack.tells_of_rescue(node, job.job) && rack.tells_of_rescue(node, job.job));
    assert!(!rack.tells_of_rescue(node, JobId([9; 8])), "another's rescue is over");
    let waits = rack.waits_for();
    assert!(waits.contains("ssh root@10.77.0.100 (host key SHA256:") && waits.contains("--end"), "{waits}");
    let shown = view::node_view(&rack.fleet, &rack.site(), rack.only(), rack.now).rescue.unwrap();
    assert_eq!(
        (shown.from.as_str(), shown.keys.as_slice()),
        ("active", &["ssh-ed25519 alice@lab".to_owned()][..])
    );
    assert!(shown.host_key.unwrap().starts_with("SHA256:") && shown.entered.is_some());
    // A power cut in the middle of it: the ramdisk again, by the ticket that is on the disk.
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.rescued(node), job);
    assert!(
        rack.run_opens() && rack.only().generation == before.generation,
        "its system keeps its certificate"
    );

    rack.ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: None });
    assert!(!rack.tells_of_rescue(node, job.job), "the ramdisk is told with its next word");
    assert_eq!(rack.task(node), Task::Reboot, "and when it asks");
    assert!(rack.goes_home());
    rack.reports(node, "failed").unwrap();
    assert_eq!(rack.only().state, State::Active, "as it was before, whether its units are up or not");
    assert_eq!((rack.only().run, rack.only().generation), (before.run, before.generation));
    rack.ends(node).unwrap_err();
}

#[test]
fn one_that_is_silent_is_switched_off_and_on_and_shows_a_code_once_more() {
    let (mut rack, node, _) = Rack::active("control");
    rack.later(100);
    rack.rescue(node).unwrap();
    assert!(!rack.goes_home() && !rack.is_ordered(), "nobody could hand a ticket in");
    assert!(rack.waits_for().contains("rackwright node power cycle n1"), "{}", rack.waits_for());
    rack.hello(4, MAC, false).unwrap();
    assert!(rack.waits_for().contains("compare the code"), "{}", rack.waits_for());
    assert!(rack.run_opens());
    let generation = rack.only().generation;
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(4, MAC, true).unwrap();
    let job = rack.rescued(node);
    assert!(rack.tells_of_rescue(node, job.job));
    assert!(rack.run_opens() && rack.only().generation == generation, "the same server, the same system");
    rack.ends(node).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn a_first_boot_that_hangs_is_mended_and_enrols_with_the_key_on_its_disk() {
    let (mut rack, node, written) = Rack::imaging("control");
    rack.verified(node, written).unwrap();
    assert_eq!(rack.state(), "booting");
    rack.rescue(node).unwrap();
    assert!(!rack.goes_home());
    // The ramdisk finds the seed, and with it the key that was approved: nobody compares a code.
    rack.hello(1, MAC, true).unwrap();
    let job = rack.rescued(node);
    assert!(rack.tells_of_rescue(node, job.job));
    assert_eq!(rack.fleet.jobs[&written].state, JobState::Verified, "its first boot is awaited");
    // Longer than a certificate lasts, and is remembered after that.
    rack.later(3 * 86_400);
    assert!(rack.fleet.certificates.values().any(|row| row.stage == Stage::Deploy));
    rack.ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: Some(written) });
    rack.enrols(node, 9).unwrap();
    assert_eq!(rack.only().state, State::Enrolling { job: Some(written) });
    rack.reports(node, "active").unwrap();
    assert_eq!((rack.state(), &rack.fleet.jobs[&written].state), ("active", &JobState::Done));
}

#[test]
fn one_that_needs_attention_is_mended_and_what_was_half_written_stays_so() {
    // Its first boot never came.
    let (mut rack, node, written) = Rack::imaging("control");
    rack.verified(node, written).unwrap();
    rack.later(26 * 60);
    assert_eq!((rack.state(), rack.only().state.phase()), ("attention", "booting"));
    rack.rescue(node).unwrap();
    rack.ends(node).unwrap();
    assert_eq!(rack.state(), "attention", "nothing has happened to it");
    rack.rescue(node).unwrap();
    rack.hello(1, MAC, true).unwrap();
    let job = rack.rescued(node);
    rack.tells_of_rescue(node, job.job);
    rack.ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: Some(written) });

    // Its disk fails in the middle of an image.
    let (mut rack, node, written) = Rack::imaging("control");
    let failed = Some("a bad sector".to_owned());
    let told = Progress { failed, ..progress(written, Phase::Write, 5) };
    rack.bring(Event::Progressed { node, progress: told }).unwrap();
    rack.rescue(node).unwrap();
    assert!(!rack.goes_home(), "half of a system is not booted");
    let job = rack.rescued(node);
    rack.tells_of_rescue(node, job.job);
    rack.ends(node).unwrap();
    assert_eq!((rack.state(), rack.only().state.phase()), ("attention", "imaging"));
    assert!(!rack.goes_home());
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.state(), "imaging");
}

#[test]
fn a_ready_server_is_taken_at_once_and_starts_anew_afterwards() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    rack.rescue(node).unwrap();
    assert!(matches!(rack.fleet.plans[&plan.id].state, PlanState::Withdrawn { .. }));
    rack.plan(node).unwrap_err();
    rack.apply(&plan.id).unwrap_err();
    let job = rack.rescued(node);
    rack.tells_of_rescue(node, job.job);
    rack.ends(node).unwrap();
    assert_eq!(rack.state(), "inspecting");
    assert!(!rack.tells_of_rescue(node, job.job), "it restarts");
    rack.hello(2, MAC, false).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(2, MAC, true).unwrap();
    assert!(matches!(rack.task(node), Task::Wait { .. }));
    assert_eq!(rack.state(), "ready");

    rack.rescue(node).unwrap();
    rack.ends(node).unwrap();
    assert_eq!(rack.state(), "ready", "its ramdisk had not begun");
}

#[test]
fn a_ticket_that_does_not_come_is_waited_for_and_then_not_any_more() {
    let (mut rack, node, _) = Rack::active("control");
    rack.rescue(node).unwrap();
    rack.later(60);
    assert!(rack.goes_home());
    rack.later(31);
    assert!(!rack.goes_home() && !rack.is_ordered(), "it is silent");
    // It was only slow: its own system is up, and is told once more.
    rack.reports(node, "active").unwrap();
    assert!(rack.goes_home() && rack.is_ordered());
    for _ in 0..10 {
        rack.later(61);
        rack.reports(node, "active").unwrap();
    }
    rack.later(1);
    assert!(!rack.goes_home(), "it says what it is told, and does nothing");
    rack.reports(node, "active").unwrap();
    let order = rack.only().redeploy.unwrap();
    let error = Some("no ticket could be written".to_owned());
    let answers = vec![Answer { order, lines: Vec::new(), error }];
    rack.bring(Event::Reported { node, report: Box::new(Report { answers, ..Report::default() }) }).unwrap();
    assert_eq!(rack.state(), "rescue");
    let waits = rack.waits_for();
    assert!(waits.contains("no ticket could be written") && waits.contains("power cycle"), "{waits}");
    assert!(!rack.goes_home());
    rack.reports(node, "active").unwrap();
    assert!(!rack.goes_home(), "it is not asked for what it can't");
    rack.ends(node).unwrap();
    assert!(rack.goes_home() && !rack.is_ordered());
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn who_gives_it_up_before_it_has_begun_has_its_system_stay() {
    let (mut rack, node, _) = Rack::active("control");
    rack.rescue(node).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.ends(node).unwrap();
    assert!(rack.goes_home() && !rack.is_ordered());
    assert!(rack.only().deploy.is_none(), "a ticket that nobody waits for lets nobody in");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn another_part_voids_the_system_and_what_it_waited_for() {
    let (mut rack, node, written) = Rack::imaging("control");
    rack.verified(node, written).unwrap();
    rack.rescue(node).unwrap();
    rack.hello(1, OTHER_MAC, true).unwrap();
    assert!(rack.only().claim.as_ref().unwrap().clash.is_some());
    rack.bring(Event::Approve { node, name: None, roles: None, moved: true }).unwrap();
    assert!(rack.fleet.jobs[&written].state.ended());
    rack.ends(node).unwrap();
    assert_eq!(rack.state(), "inspecting");
}

#[test]
fn nobody_is_called_but_a_long_one_is_told() {
    let (mut rack, node, _) = Rack::active("control");
    rack.later(100);
    rack.rescue(node).unwrap();
    let kinds = |rack: &Rack| {
        let all = notice::notices(&rack.fleet, rack.now);
        all.into_iter().map(|notice| (notice.kind, notice.text)).collect::<Vec<_>>()
    };
    assert!(kinds(&rack).is_empty(), "it was silent before, and is looked after now");
    rack.later(26 * 60);
    assert_eq!(rack.state(), "rescue", "it waits for its operator");
    let told = kinds(&rack);
    assert!(told.len() == 1 && told[0].0 == "rescue" && told[0].1.contains("power cycle"), "{told:?}");
    rack.hello(4, MAC, false).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(4, MAC, true).unwrap();
    let job = rack.rescued(node);
    rack.tells_of_rescue(node, job.job);
    assert!(kinds(&rack).is_empty());
    rack.now = Time(rack.now.0 + 86_400_000);
    rack.tells_of_rescue(node, job.job);
    let told = kinds(&rack);
    assert!(told.len() == 1 && told[0].1.contains("in rescue since"), "{told:?}");
}

#[test]
fn one_in_other_hands_is_refused_with_the_way_out() {
    let (mut rack, node, _) = Rack::imaging("control");
    let text = rack.rescue(node).unwrap_err().to_string();
    assert!(text.contains("its disk is being written"), "{text}");
    let (mut rack, node, _) = Rack::active("control");
    rack.bring(Event::Hold { node, why: "lent".to_owned() }).unwrap();
    let text = rack.rescue(node).unwrap_err().to_string();
    assert!(text.contains("rackwright node release n1"), "{text}");
    rack.bring(Event::Release { node }).unwrap();
    rack.rescue(node).unwrap();
    rack.bring(Event::Hold { node, why: "lent".to_owned() }).unwrap_err();
    let text = rack.bring(Event::Service { node, why: "a DIMM".to_owned() }).unwrap_err().to_string();
    assert!(text.contains("rackwright node rescue n1 --end"), "{text}");
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    let text = rack.rescue(node).unwrap_err().to_string();
    assert!(text.contains("rackwright node approve n1"), "{text}");
}
