use std::sync::atomic::{AtomicUsize, Ordering};

use cast::wire::door::ANSWER_BYTES;

use super::*;

const IMAGE: Digest = Digest([3; 32]);
const PIECE: u32 = 1 << 20;

/// A door to the first pieces of an image, each of them of its own number.
async fn door(most: u64, pieces: u8) -> (Door, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::new(most));
    for number in 0..pieces {
        shelf.put(u64::from(number) * u64::from(PIECE), &piece(number));
    }
    (Door::open(Ipv4Addr::LOCALHOST, &IMAGE, Arc::clone(&shelf)).await.unwrap(), shelf)
}

fn piece(number: u8) -> Bytes {
    Bytes::from(vec![number; PIECE as usize])
}

async fn connect(door: &Door) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, door.told().port)).await.unwrap()
}

fn ask(offset: u64, bytes: u32) -> Ask {
    Ask { offset, bytes, image: IMAGE.0 }
}

async fn say(stream: &mut TcpStream, door: &Door, ask: Ask) {
    stream.write_all(&ask.packet(&door.told().key.0)).await.unwrap();
}

/// The next answer and its bytes; none when the door hangs up.
async fn answer(stream: &mut TcpStream) -> Option<(Answer, Vec<u8>)> {
    let mut head = [0; ANSWER_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    let answer = Answer::read(&head).unwrap();
    let follows = if let Answer::Follows(bytes) = answer { bytes as usize } else { 0 };
    let mut body = vec![0; follows];
    stream.read_exact(&mut body).await.ok()?;
    Some((answer, body))
}

#[tokio::test]
async fn one_question_after_the_other_is_answered() {
    let (door, _shelf) = door(1 << 30, 3).await;
    let mut stream = connect(&door).await;
    // Asked without waiting for the answer.
    for (offset, bytes) in [(0, 3 * PIECE), (u64::from(PIECE) - 2, 4), (5, 1)] {
        say(&mut stream, &door, ask(offset, bytes)).await;
    }
    let whole = (0..3).flat_map(|number| piece(number).to_vec()).collect::<Vec<_>>();
    for expected in [whole, vec![0, 0, 1, 1], vec![0]] {
        let follows = Answer::Follows(u32::try_from(expected.len()).unwrap());
        assert!(answer(&mut stream).await.unwrap() == (follows, expected));
    }
    say(&mut stream, &door, Ask { image: [4; 32], ..ask(0, 1) }).await;
    assert_eq!(answer(&mut stream).await, Some((Answer::OtherImage, vec![])));
    for (offset, bytes) in [(2 * u64::from(PIECE), PIECE + 1), (1 << 60, 1)] {
        say(&mut stream, &door, ask(offset, bytes)).await;
        assert_eq!(answer(&mut stream).await, Some((Answer::NotHere, vec![])));
    }
    say(&mut stream, &door, ask(0, 1)).await;
    assert_eq!(answer(&mut stream).await, Some((Answer::Follows(1), vec![0])), "it still answers");
}

#[tokio::test]
async fn what_is_on_its_way_is_waited_for() {
    let (door, shelf) = door(1 << 30, 1).await;
    let mut stream = connect(&door).await;
    say(&mut stream, &door, ask(0, 2 * PIECE)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    shelf.put(u64::from(PIECE), &piece(1));
    let (answer, body) = answer(&mut stream).await.unwrap();
    assert_eq!((answer, body.last()), (Answer::Follows(2 * PIECE), Some(&1)));
}

#[tokio::test]
async fn strangers_and_garbage_get_no_answer() {
    let (door, _shelf) = door(1 << 30, 1).await;
    let good = ask(0, 1).packet(&door.told().key.0);
    let mut cases = vec![
        ("another key", ask(0, 1).packet(&[0; 32]).to_vec()),
        ("zeros", vec![0; 64]),
        ("a web browser", format!("{:<64}", "GET / HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        ("no bytes", ask(0, 0).packet(&door.told().key.0).to_vec()),
        ("too many", ask(0, u32::MAX).packet(&door.told().key.0).to_vec()),
        ("beyond all numbers", ask(u64::MAX, 1).packet(&door.told().key.0).to_vec()),
        ("much more than a question", vec![0xff; 1 << 20]),
    ];
    for at in 0..good.len() {
        let mut bent = good.to_vec();
        bent[at] ^= 1 << (at % 8);
        cases.push(("a bit is another", bent));
    }
    for (what, sent) in cases {
        let mut stream = connect(&door).await;
        // The door may have hung up before it has all of it.
        let _broken = stream.write_all(&sent).await;
        assert_eq!(answer(&mut stream).await, None, "{what}");
    }
    let mut stream = connect(&door).await;
    stream.write_all(&good[..63]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await, None, "half a question");
    // It has borne all this.
    let mut stream = connect(&door).await;
    stream.write_all(&good).await.unwrap();
    assert_eq!(answer(&mut stream).await, Some((Answer::Follows(1), vec![0])));
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_closed_at_once() {
    let (door, _shelf) = door(1 << 30, 1).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&door).await;
        say(&mut stream, &door, ask(0, 1)).await;
        assert!(answer(&mut stream).await.is_some());
        open.push(stream);
    }
    for _ in 0..50 {
        let mut late = connect(&door).await;
        let _broken = late.write_all(&ask(0, 1).packet(&door.told().key.0)).await;
        assert_eq!(answer(&mut late).await, None);
    }
    for stream in &mut open {
        say(stream, &door, ask(0, 1)).await;
        assert!(answer(stream).await.is_some(), "nobody lost a place by that");
    }
    drop(open.pop());
    loop {
        let mut late = connect(&door).await;
        let _broken = late.write_all(&ask(0, 1).packet(&door.told().key.0)).await;
        // The door notices a moment later.
        if answer(&mut late).await.is_some() {
            break;
        }
    }
}

/// Time passes at once where nothing else happens.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let (door, _shelf) = door(1 << 30, 1).await;
    let begun = tokio::time::Instant::now();
    let mut stream = connect(&door).await;
    stream.write_all(&[1, 4, 0]).await.unwrap();
    assert_eq!(answer(&mut stream).await, None);
    assert!(begun.elapsed() >= FIRST && begun.elapsed() < IDLE);
}

/// Pieces that know how many of them there are.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_hold_one_piece_each() {
    let (door, shelf) = door(8 << 20, 0).await;
    let there = Arc::new(AtomicUsize::new(0));
    let put = |number: u64| {
        there.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(vec![9; PIECE as usize], Arc::clone(&there));
        shelf.put(number * u64::from(PIECE), &Bytes::from_owner(counted));
    };
    (0..8).for_each(put);
    let mut takers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&door).await;
        say(&mut stream, &door, ask(0, 8 * PIECE)).await;
        let mut head = [0; ANSWER_BYTES];
        stream.read_exact(&mut head).await.unwrap();
        takers.push(stream);
    }
    (8..40).for_each(put);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let there = there.load(Ordering::Relaxed);
    assert!(there <= 8 + CONNECTIONS, "{there} pieces are in memory");
    // They get no more than what is here, and certainly nothing else.
    for mut stream in takers {
        let mut body = Vec::new();
        let _broken = stream.read_to_end(&mut body).await;
        assert!(body.len() < 8 << 20 && body.iter().all(|byte| *byte == 9), "{}", body.len());
    }
}

#[tokio::test]
async fn a_door_that_is_shut_hangs_up() {
    let (door, _shelf) = door(1 << 30, 1).await;
    let mut stream = connect(&door).await;
    say(&mut stream, &door, ask(0, 1)).await;
    assert!(answer(&mut stream).await.is_some());
    let address = (Ipv4Addr::LOCALHOST, door.told().port);
    drop(door);
    assert_eq!(answer(&mut stream).await, None);
    assert!(TcpStream::connect(address).await.is_err());
}
