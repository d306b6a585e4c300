//! Accounts.

use chrono::TimeDelta;

use super::*;

const LEASE: i64 = 120_000;

fn at(ms: i64) -> Clock {
    let noon = "2026-03-31T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
    Clock { now: noon + TimeDelta::milliseconds(ms), lease_ms: LEASE }
}

fn reserve(id: &str, cost: u64, limits: Limits) -> Change {
    Change::Reserve { id: id.into(), cost, least: cost, tokens: 10, key: "k".into(), limits }
}

fn budget(budget: u64) -> Limits {
    Limits { budget, ..Limits::default() }
}

fn settle(id: &str, cost: u64, live: bool) -> Change {
    Change::Settle { id: id.into(), cost, live }
}

#[test]
fn what_is_reserved_counts_until_it_is_settled_or_released() {
    let mut account = Account::default();
    assert_eq!(account.apply(&reserve("a", 60, budget(100)), at(0)), Outcome::Done);
    let refused = Outcome::Spent { limit: 100, spent: 0, reserved: 60 };
    assert_eq!(account.apply(&reserve("b", 41, budget(100)), at(0)), refused);
    account.apply(&settle("a", 15, true), at(1));
    assert_eq!((account.spent(Period::Total, at(1).now), account.reserved()), (15, 0));
    assert_eq!(account.apply(&reserve("b", 85, budget(100)), at(1)), Outcome::Done);
    account.apply(&Change::Release { id: "b".into() }, at(2));
    assert_eq!(account.apply(&reserve("c", 85, budget(100)), at(2)), Outcome::Done);
}

#[test]
fn a_second_try_of_a_call_takes_the_place_of_the_first_and_a_replay_is_free() {
    let mut account = Account::default();
    account.apply(&reserve("a", 60, budget(100)), at(0));
    assert_eq!(account.apply(&reserve("a", 70, budget(100)), at(1)), Outcome::Done);
    assert_eq!(account.reserved(), 70);
    account.apply(&settle("a", 50, false), at(2));
    account.apply(&settle("a", 50, false), at(3));
    assert_eq!(account.spent(Period::Total, at(3).now), 50);
}

#[test]
fn a_further_try_extends_what_its_call_has_reserved_where_the_budget_has_it() {
    let mut account = Account::default();
    account.apply(&reserve("a", 60, budget(100)), at(0));
    account.apply(&reserve("b", 10, budget(100)), at(0));
    let extend = |least, cost| Change::Extend {
        id: "a".into(),
        cost,
        least,
        key: "k".into(),
        limits: budget(100),
    };
    assert_eq!(account.apply(&extend(80, 85), at(1)), Outcome::Done);
    assert_eq!(account.reserved_by("a"), Some(85));
    assert_eq!(account.apply(&extend(80, 120), at(1)), Outcome::Done);
    assert_eq!(account.reserved_by("a"), Some(90));
    let refused = Outcome::Spent { limit: 100, spent: 0, reserved: 10 };
    assert_eq!(account.apply(&extend(91, 120), at(1)), refused);
    assert_eq!(account.reserved_by("a"), Some(90));
    account.apply(&settle("a", 88, true), at(2));
    assert_eq!((account.spent(Period::Total, at(2).now), account.reserved()), (88, 10));
}

#[test]
fn a_reservation_of_a_process_that_ended_is_settled_from_the_record_and_its_own_process_comes_late()
{
    let mut account = Account::default();
    account.apply(&reserve("a", 60, budget(200)), at(0));
    account.apply(&reserve("b", 60, budget(200)), at(0));
    assert!(account.lapsed(at(LEASE - 1)).is_empty());
    account.apply(&Change::Sweep { id: "a".into(), cost: Some(9) }, at(LEASE - 1));
    assert_eq!(account.reserved(), 120);
    account.apply(&Change::Renew { id: "b".into() }, at(LEASE - 1));
    let lapsed = account.lapsed(at(LEASE));
    assert_eq!(lapsed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a"]);
    account.apply(&Change::Sweep { id: "a".into(), cost: Some(9) }, at(LEASE));
    account.apply(&settle("a", 9, true), at(LEASE + 1));
    assert_eq!((account.spent(Period::Total, at(LEASE + 1).now), account.reserved()), (9, 60));
    // What nobody recorded is given back; a process that comes late with it is believed.
    account.apply(&Change::Sweep { id: "b".into(), cost: None }, at(3 * LEASE));
    account.apply(&settle("b", 5, true), at(3 * LEASE));
    assert_eq!((account.spent(Period::Total, at(3 * LEASE).now), account.reserved()), (14, 0));
}

#[test]
fn a_day_and_a_month_begin_again_and_the_total_does_not() {
    let mut account = Account::default();
    account.apply(&settle("a", 7, true), at(0));
    let tomorrow = at(13 * 3_600_000);
    account.apply(&settle("b", 2, true), tomorrow);
    let spent = |period: Period| account.spent(period, tomorrow.now);
    assert_eq!((spent(Period::Day), spent(Period::Month), spent(Period::Total)), (2, 2, 9));
    let limits = Limits { budget: 5, period: Period::Day, ..Limits::default() };
    assert_eq!(account.clone().apply(&reserve("c", 3, limits), tomorrow), Outcome::Done);
    assert_ne!(account.apply(&reserve("c", 4, limits), tomorrow), Outcome::Done);
}

#[test]
fn requests_and_tokens_of_the_last_minute_are_limited_and_told_when_few_are_left() {
    let mut account = Account::default();
    let limits = Limits { requests_per_minute: 20, tokens_per_minute: 195, ..Limits::default() };
    for id in 0..17 {
        assert_eq!(account.apply(&reserve(&id.to_string(), 0, limits), at(id)), Outcome::Done);
    }
    let near = Outcome::Near { requests: 2, tokens: 15 };
    assert_eq!(account.apply(&reserve("x", 0, limits), at(20)), near);
    account.apply(&reserve("y", 0, limits), at(20));
    let refused = account.apply(&reserve("z", 0, limits), at(20));
    assert!(matches!(refused, Outcome::TooOften { what: "tokens", limit: 195, .. }), "{refused:?}");
    // The calls used fewer tokens than they might have.
    account.apply(&Change::Tokens { reserved: 190, used: 50 }, at(30));
    assert_eq!(
        account.apply(&reserve("z", 0, limits), at(30)),
        Outcome::Near { requests: 0, tokens: 135 }
    );
    let refused = account.apply(&reserve("o", 0, limits), at(30));
    let Outcome::TooOften { what: "requests", retry_after_ms, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(account.reserved(), 0);
    assert_ne!(account.clone().apply(&reserve("o", 0, limits), at(60_000)), Outcome::Done);
    let later = at(30 + i64::try_from(retry_after_ms).unwrap());
    assert!(!matches!(account.apply(&reserve("o", 0, limits), later), Outcome::TooOften { .. }));
}

#[test]
fn what_was_swept_is_remembered_for_its_late_process_and_forgotten_a_day_later() {
    let mut account = Account::default();
    let day = 24 * 3_600_000;
    for id in ["a", "b"] {
        account.apply(&reserve(id, 60, budget(200)), at(0));
        account.apply(&Change::Sweep { id: id.into(), cost: Some(9) }, at(LEASE));
    }
    account.sign("other", 1, at(LEASE + day - 1));
    account.apply(&settle("a", 9, true), at(LEASE + day - 1));
    assert_eq!(account.spent(Period::Total, at(0).now), 18);
    account.sign("other", 2, at(LEASE + day));
    assert!(account.swept.is_empty() && account.is_written("other", 2));
}

#[test]
fn an_account_that_an_earlier_version_wrote_is_read_and_says_of_no_write_that_it_came_through() {
    let written = r#"{"total":7,"swept":["a"],"open":{"b":{"cost":3,"until_ms":9}}}"#;
    let mut account: Account = serde_json::from_str(written).unwrap();
    assert_eq!((account.spent(Period::Total, at(0).now), account.reserved()), (7, 3));
    assert!(!account.is_written("any", 1));
    account.sign("any", 1, at(0));
    let text = serde_json::to_string(&account).unwrap();
    assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), account);
}
