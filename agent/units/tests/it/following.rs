//! Watches against the fake.

use units::{Active, UnitError, Watch};

use crate::cases::{connected, name};
use crate::fake::{Bus, Fake, path_of, unit};

const A: &str = "a.service";
const B: &str = "b.service";

async fn told(watch: &mut Watch) -> (String, Active) {
    let state = watch.next().await.unwrap();
    (state.name.to_string(), state.active)
}

#[tokio::test]
async fn first_the_present_then_the_changes() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("active", "running")), (B, unit("inactive", "dead"))]).await;
    let mut watch = connected(&bus).await.watch([name(B), name(A)]);
    assert_eq!(told(&mut watch).await, (A.to_owned(), Active::Active));
    assert_eq!(told(&mut watch).await, (B.to_owned(), Active::Inactive));
    // A signal that changes nothing is not told; the next that does is.
    fake.signal(A).await;
    fake.set(B, |unit| unit.active = "activating".to_owned());
    fake.signal(B).await;
    assert_eq!(told(&mut watch).await, (B.to_owned(), Active::Activating));
    assert_eq!(fake.loads(), 2);
}

#[tokio::test]
async fn a_watch_nobody_reads_tells_the_last_state() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("active", "running"))]).await;
    let mut watch = connected(&bus).await.watch([name(A)]);
    told(&mut watch).await;
    for n in 0..5000 {
        fake.set(A, |unit| unit.active = if n % 2 == 0 { "reloading" } else { "active" }.to_owned());
        fake.signal(A).await;
    }
    fake.set(A, |unit| unit.active = "failed".to_owned());
    fake.signal(A).await;
    let mut word = told(&mut watch).await.1;
    while word != Active::Failed {
        assert!(word.is_up(), "{word}");
        word = told(&mut watch).await.1;
    }
}

#[tokio::test]
async fn a_unit_systemd_forgets_is_down_and_is_not_loaded_for_that() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("active", "running"))]).await;
    let mut watch = connected(&bus).await.watch([name(A)]);
    told(&mut watch).await;
    fake.set(A, |unit| unit.in_memory = false);
    fake.manager_signal("UnitRemoved", &(A, path_of(A))).await;
    let state = watch.next().await.unwrap();
    assert_eq!((state.active, state.sub.as_str(), state.main_pid), (Active::Inactive, "dead", 0));
    assert_eq!(fake.loads(), 1);
    // It comes back.
    fake.set(A, |unit| unit.in_memory = true);
    fake.manager_signal("UnitNew", &(A, path_of(A))).await;
    assert_eq!(told(&mut watch).await.1, Active::Active);
    assert_eq!(fake.loads(), 1);
}

#[tokio::test]
async fn new_unit_files_are_a_reason_to_load_again() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("inactive", "dead"))]).await;
    fake.set(A, |unit| unit.load = "not-found".to_owned());
    let mut watch = connected(&bus).await.watch([name(A)]);
    assert!(!watch.next().await.unwrap().exists());
    fake.set(A, |unit| unit.load = "loaded".to_owned());
    fake.manager_signal("Reloading", &(true,)).await;
    fake.manager_signal("Reloading", &(false,)).await;
    assert!(watch.next().await.unwrap().exists());
}

#[tokio::test]
async fn a_lost_bus_is_told_once_and_then_only_what_is_different() {
    let mut bus = Bus::start();
    let _fake = Fake::on(&bus, &[(A, unit("active", "running")), (B, unit("active", "running"))]).await;
    let mut watch = connected(&bus).await.watch([name(A), name(B)]);
    told(&mut watch).await;
    told(&mut watch).await;
    bus.kill();
    assert!(matches!(watch.next().await, Err(UnitError::BusLost { .. })));
    bus.restart();
    let fake = Fake::on(&bus, &[(A, unit("active", "running")), (B, unit("failed", "failed"))]).await;
    assert_eq!(told(&mut watch).await, (B.to_owned(), Active::Failed));
    // And it is an ordinary watch again.
    fake.set(A, |unit| unit.active = "deactivating".to_owned());
    fake.signal(A).await;
    assert_eq!(told(&mut watch).await, (A.to_owned(), Active::Deactivating));
}

#[tokio::test]
async fn a_call_dropped_while_it_reads_loses_nothing() {
    let bus = Bus::start();
    let fake = Fake::on(&bus, &[(A, unit("active", "running"))]).await;
    let mut watch = connected(&bus).await.watch([name(A)]);
    told(&mut watch).await;
    fake.world.readings_begun.forget_permits(usize::MAX);
    let permits = fake.world.readings.forget_permits(usize::MAX);
    fake.set(A, |unit| unit.active = "failed".to_owned());
    fake.signal(A).await;
    tokio::select! {
        biased;
        begun = fake.world.readings_begun.acquire() => begun.unwrap().forget(),
        state = watch.next() => panic!("it cannot be read yet: {state:?}"),
    }
    fake.world.readings.add_permits(permits);
    assert_eq!(told(&mut watch).await, (A.to_owned(), Active::Failed));
}
