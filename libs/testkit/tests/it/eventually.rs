use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use muster_testkit::eventually;

use crate::SOON;

#[tokio::test]
async fn it_returns_the_first_value_that_is_there() {
    let asked = AtomicU32::new(0);
    let third = eventually(SOON, "the third answer", || async {
        let count = asked.fetch_add(1, Ordering::Relaxed) + 1;
        (count >= 3).then_some(count)
    });
    assert_eq!(third.await, 3);
    eventually(SOON, "a plain truth", || async { true }).await;
}

#[tokio::test]
async fn in_vain_it_says_what_where_and_what_was_seen() {
    let wait =
        eventually(Duration::from_millis(30), "the moon", || async { Err::<(), _>("only clouds") });
    let panic = AssertUnwindSafe(wait).catch_unwind().await.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    for part in ["the moon", "eventually.rs", "only clouds", "30ms"] {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

#[tokio::test]
async fn a_check_that_hangs_is_cut_off() {
    let wait =
        eventually(Duration::from_millis(30), "a sign of life", std::future::pending::<bool>);
    assert!(AssertUnwindSafe(wait).catch_unwind().await.is_err());
}
