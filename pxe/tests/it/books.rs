//! What the black box forgets, and what it keeps.

use pxe::trace::{
    Answer, Book, By, Class, Dhcp, End, Fetch, MOST_CARDS, MOST_STEPS, Message, STEPS, Stage, Step, Task,
    What,
};
use pxe::{Mac, Time};

use crate::corpus::{BEGIN, mac, trace};

fn card(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac::new([2, 1, a, b, c, d]).unwrap()
}

fn at(seconds: u64) -> Time {
    Time(BEGIN + seconds * 1000)
}

fn dhcp(message: Message, class: Class, answer: Answer) -> What {
    What::Dhcp(Box::new(Dhcp {
        message,
        port: 67,
        interface: "eno2".into(),
        xid: 1,
        secs: 0,
        class,
        vendor: None,
        ipxe: None,
        arch: Some(7),
        uuid: None,
        relay: None,
        requested: None,
        uses: None,
        server: None,
        answer,
    }))
}

fn ack(last: u8) -> What {
    let address = Some([10, 77, 0, last].into());
    dhcp(Message::Request, Class::Pxe, Answer::Ack { address, boot: Some("sb/shimx64.efi".into()) })
}

fn whole(name: &str) -> What {
    What::Fetch(Box::new(Fetch::tftp(name, End::Whole { bytes: 9 })))
}

#[test]
fn a_flood_of_strangers_forgets_strangers_and_no_node() {
    let mut book = Book::default();
    for number in 0..1000 {
        book.note(card(number), || true, Step::new(at(0), ack(1)));
    }
    for number in 1000..20_000 {
        book.note(card(number), || false, Step::new(at(u64::from(number)), ack(2)));
        let looked = number % 97 == 0;
        assert!(!looked || (book.cards().count() <= MOST_CARDS && book.len() <= MOST_STEPS));
    }
    assert!((0..1000).all(|number| book.knows(card(number))), "a node was forgotten");
    assert!(book.knows(card(19_999)) && !book.knows(card(1000)));
    assert!(book.cards().count() > MOST_CARDS / 2);
}

#[test]
fn all_cards_together_are_bounded_in_steps() {
    let mut book = Book::default();
    for number in 0..2000 {
        for step in 0..60 {
            let name = format!("file-{step}");
            book.note(card(number), || true, Step::new(at(u64::from(number)), whole(&name)));
        }
        assert!(book.len() <= MOST_STEPS);
        assert!(book.knows(card(number)));
    }
    let counted: usize = book.cards().map(|mac| book.trace(mac).unwrap().len()).sum();
    assert_eq!(counted, book.len());
    assert!(book.len() > MOST_STEPS / 2 && !book.knows(card(0)));
}

#[test]
fn an_address_leads_to_the_card_that_has_it_now() {
    let mut book = Book::default();
    book.note(card(1), || false, Step::new(at(0), ack(7)));
    assert_eq!(book.holder([10, 77, 0, 7].into()), Some(card(1)));
    book.note(card(2), || false, Step::new(at(1), ack(7)));
    assert_eq!(book.holder([10, 77, 0, 7].into()), Some(card(2)));
    book.note(card(1), || false, Step::new(at(2), ack(8)));
    book.note(card(1), || false, Step::new(at(3), ack(9)));
    assert_eq!(book.holder([10, 77, 0, 8].into()), None);
    assert_eq!(book.holder([10, 77, 0, 9].into()), Some(card(1)));
}

#[test]
fn years_of_renewals_push_no_boot_out() {
    let system = || dhcp(Message::Request, Class::Absent, Answer::Ack { address: None, boot: None });
    let mut steps = vec![Step::new(at(0), ack(1)), Step::new(at(1), whole("sb/shimx64.efi"))];
    steps.extend((1..5000).map(|hour| Step::new(at(hour * 1800), system())));
    let trace = trace(&steps);
    assert_eq!(trace.attempts().count(), 1);
    let last = trace.last().unwrap().steps.last().unwrap();
    assert_eq!((trace.len(), last.times, last.until), (3, 4999, Some(at(4999 * 1800))));
}

#[test]
fn an_attempt_that_never_ends_keeps_its_begin_and_its_end() {
    let steps: Vec<Step> = (0..500).map(|n| Step::new(at(n), whole(&format!("file-{n}")))).collect();
    let trace = trace(&steps);
    let only = trace.last().unwrap();
    assert_eq!((trace.len(), only.left_out), (STEPS, 404));
    assert_eq!((only.began(), only.ended()), (at(0), at(499)));
}

#[test]
fn a_transfer_that_began_becomes_the_one_that_ended() {
    let get = |end| What::Fetch(Box::new(Fetch::http("/boot/initrd.img", By::Grub, end)));
    let other = What::Fetch(Box::new(Fetch {
        told: Some(Task::Agent),
        ..Fetch::http("/boot/18-66-da-10-20-30/script.ipxe", By::Ipxe, End::Whole { bytes: 1 })
    }));
    let steps = [
        Step::new(at(0), get(End::Begun)),
        Step::new(at(1), other),
        Step::new(at(9), get(End::Whole { bytes: 5 })),
    ];
    let trace = trace(&steps);
    let kept = &trace.last().unwrap().steps;
    let fetch = kept[0].what.fetch().unwrap();
    assert_eq!((kept.len(), kept[0].at, fetch.took_ms, fetch.is_whole()), (2, at(9), Some(9000), true));
    assert_eq!(trace.last().unwrap().reached(), Stage::Ramdisk);
    assert_eq!(kept[0].what.answered(), "sent, 5 bytes in 9.0 s");
}

#[test]
fn the_card_that_boots_instead_is_found_by_its_board() {
    let mut book = Book::default();
    let board = |uuid: &str| {
        let What::Dhcp(dhcp) = ack(1) else { unreachable!() };
        What::Dhcp(Box::new(Dhcp { uuid: Some(uuid.into()), ..*dhcp }))
    };
    let own = "4c4c4544-0042-3510-8052-b4c04f4a3132";
    let script = Fetch::http("/boot/52:54:00:00:00:02/grub.cfg", By::Grub, End::Whole { bytes: 1 });
    for (number, uuid) in [(1, own), (2, own), (3, "4c4c4544-0000-0000-0000-000000000003")] {
        book.note(card(number), || true, Step::new(at(u64::from(number)), board(uuid)));
    }
    assert_eq!(book.twin(card(1)), None, "neither has come any farther");
    book.note(card(2), || true, Step::new(at(9), What::Fetch(Box::new(script.clone()))));
    book.note(card(3), || true, Step::new(at(9), What::Fetch(Box::new(script))));
    assert_eq!(book.twin(card(1)), Some((card(2), Stage::Script)));
    assert_eq!((book.twin(card(2)), book.twin(mac())), (None, None));
    let zeros = "00000000-0000-0000-0000-000000000000";
    for number in [4, 5] {
        book.note(card(number), || true, Step::new(at(20), board(zeros)));
    }
    assert_eq!(book.twin(card(4)), None, "a maker's default says nothing");
}
