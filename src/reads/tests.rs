use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use super::*;
use crate::drivers::Kind;
use crate::model::DriverId;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap()
}

fn what(login: u8, id: Option<&str>) -> What {
    What { login: [login; 32], collection: "instances", id: id.map(str::to_owned) }
}

fn account(identity: &str) -> AccountKey {
    AccountKey { driver: DriverId::new("mock"), provider: "default".to_owned(), identity: identity.to_owned() }
}

fn mine() -> Owner {
    Owner::Known(account("a"))
}

fn reads() -> Reads {
    Reads::new(&Settings::default())
}

fn list(ms: i64, found: &'static str) -> Result<Read<&'static str>, Error> {
    Ok(Read { asked_at: at(ms), answered_at: at(ms), found, weight: 1 })
}

impl Reads {
    async fn put(&self, ms: i64, found: &'static str) {
        self.read(what(1, None), at(ms), mine(), async move { list(ms, found) }).await.unwrap();
    }

    fn found(&self, ms: i64) -> Option<&'static str> {
        self.fresh::<&str>(&what(1, None), at(ms)).map(|read| read.found)
    }
}

#[tokio::test]
async fn a_read_is_given_again_until_it_is_too_old() {
    let reads = reads();
    reads.put(0, "one").await;
    let check = |ms: i64, found: Option<&str>| assert_eq!(reads.found(ms), found, "{ms}");
    check(0, Some("one"));
    check(4_999, Some("one"));
    check(5_000, None);
    check(-1, None);
    assert_eq!(reads.last::<&str>(&what(1, None)).unwrap().found, "one", "stale, but there");
}

#[tokio::test]
async fn what_one_login_read_is_no_other_logins() {
    let reads = reads();
    reads.put(0, "one").await;
    assert!(reads.fresh::<&str>(&what(2, None), at(1)).is_none());
    assert!(reads.fresh::<&str>(&what(1, Some("i-1")), at(1)).is_none());
    assert!(reads.last::<&str>(&what(2, None)).is_none());
}

#[tokio::test]
async fn whatever_moves_the_account_makes_reads_out_of_date() {
    let moves: [fn(&Reads); 2] = [|reads| reads.account_moved(&account("a")), |reads| reads.moved(&[1; 32], &mine())];
    for moved in moves {
        let reads = reads();
        reads.put(0, "one").await;
        reads.account_moved(&account("another"));
        reads.refused(&[2; 32]);
        assert_eq!(reads.found(1), Some("one"));
        moved(&reads);
        assert_eq!(reads.found(1), None);
        assert_eq!(reads.last::<&str>(&what(1, None)).unwrap().found, "one", "stale, but there");
        reads.put(1, "two").await;
        assert_eq!(reads.found(2), Some("two"));
    }
}

#[tokio::test]
async fn a_read_that_was_under_way_when_the_account_moved_is_out_of_date_and_is_not_joined() {
    let reads = Arc::new(reads());
    let (answer, answered) = oneshot::channel::<()>();
    let slow = tokio::spawn({
        let reads = reads.clone();
        async move {
            let read = async move {
                answered.await.unwrap();
                list(0, "before")
            };
            reads.read(what(1, None), at(0), mine(), read).await.map(|read| read.found)
        }
    });
    tokio::task::yield_now().await;
    reads.account_moved(&account("a"));
    reads.put(1, "after").await;
    answer.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), "before", "whoever asked before is answered");
    assert_eq!(reads.found(2), Some("after"));
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_call_and_share_its_failure() {
    for outcome in [list(0, "one"), Err(Error::new(Kind::Unavailable, "down"))] {
        let (reads, calls) = (Arc::new(reads()), Arc::new(AtomicUsize::new(0)));
        let (answer, answered) = oneshot::channel::<()>();
        let answered = answered.shared();
        let ask = |_| {
            let (reads, calls, answered) = (reads.clone(), calls.clone(), answered.clone());
            let outcome = outcome.as_ref().map(|read| read.found).map_err(Clone::clone);
            tokio::spawn(async move {
                let read = async move {
                    calls.fetch_add(1, Ordering::Relaxed);
                    answered.await.unwrap();
                    outcome.and_then(|found| list(0, found))
                };
                reads.read(what(1, None), at(0), mine(), read).await.map(|read| read.found)
            })
        };
        let mut asked: Vec<_> = (0..20).map(ask).collect();
        tokio::task::yield_now().await;
        // Whoever began it hangs up; the others wait on.
        asked.remove(0).abort();
        answer.send(()).unwrap();
        for one in asked {
            assert_eq!(one.await.unwrap().ok(), outcome.as_ref().map(|read| read.found).ok());
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(held(&reads.flights).is_empty());
    }
}

#[tokio::test]
async fn a_read_that_everybody_gave_up_is_gone() {
    let reads = Arc::new(reads());
    let asked = tokio::spawn({
        let reads = reads.clone();
        async move { reads.read(what(1, None), at(0), mine(), std::future::pending::<Result<Read<()>, Error>>()).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(held(&reads.flights).len(), 1);
    asked.abort();
    assert!(asked.await.is_err());
    assert!(held(&reads.flights).is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_kept_and_costs_no_memory() {
    let reads = reads();
    let nothing = async { Ok(Read { asked_at: at(0), answered_at: at(0), found: "", weight: 0 }) };
    reads.read(what(1, Some("i-1")), at(0), mine(), nothing).await.unwrap();
    assert!(reads.last::<&str>(&what(1, Some("i-1"))).is_none());
    reads.kept.run_pending_tasks();
    assert_eq!(reads.kept.entry_count(), 0);
}

#[tokio::test]
async fn a_refused_login_sees_nothing_of_what_it_read() {
    let reads = reads();
    reads.put(0, "one").await;
    reads.refused(&[1; 32]);
    assert_eq!(reads.found(1), None);
    assert!(reads.last::<&str>(&what(1, None)).is_none());
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_freeze_what_is_kept() {
    let reads = reads();
    reads.put(0, "one").await;
    reads.put(-600_000, "two").await;
    assert_eq!(reads.found(-599_000), Some("two"));
    assert_eq!(reads.last::<&str>(&what(1, None)).unwrap().found, "two");
}

#[test]
fn of_a_member_that_was_acted_on_nothing_older_is_good() {
    let reads = reads();
    let good = |id: &str, seen: i64| reads.is_good(&mine(), &[1; 32], "instances", id, at(seen));
    assert!(good("i-1", 0));
    reads.touched(&mine(), &[1; 32], "instances", "i-1", at(10));
    assert_eq!((good("i-1", 10), good("i-1", 11), good("i-2", 0)), (false, true, true));
}

#[tokio::test]
async fn what_an_action_answered_with_is_the_newest_that_is_known() {
    let reads = reads();
    reads.touched(&mine(), &[1; 32], "instances", "i-1", at(9));
    let answer = Read { asked_at: at(10), answered_at: at(10), found: "stopped", weight: 1 };
    reads.keep(what(1, Some("i-1")), mine(), answer);
    assert_eq!(reads.fresh::<&str>(&what(1, Some("i-1")), at(11)).unwrap().found, "stopped");
    assert!(reads.is_good(&mine(), &[1; 32], "instances", "i-1", at(10)));
}

#[tokio::test]
async fn with_no_age_allowed_every_read_asks() {
    let reads = Reads::new(&Settings { max_age_ms: 0, ..Settings::default() });
    reads.put(0, "one").await;
    assert_eq!(reads.found(0), None);
    assert_eq!(reads.last::<&str>(&what(1, None)).unwrap().found, "one");
}

#[tokio::test]
async fn no_more_is_kept_than_allowed() {
    let reads = Reads::new(&Settings { members_max: 10, ..Settings::default() });
    for n in 0..100u8 {
        let what = What { login: [n; 32], ..what(0, None) };
        let read = async { Ok(Read { asked_at: at(0), answered_at: at(0), found: "", weight: 4 }) };
        reads.read(what, at(0), mine(), read).await.unwrap();
    }
    reads.kept.run_pending_tasks();
    assert!(reads.kept.weighted_size() <= 10, "{}", reads.kept.weighted_size());
    assert!(held(&reads.flights).is_empty());
}

#[test]
fn settings_are_checked_with_their_names() {
    let check = |edit: fn(&mut Settings), expected: &str| {
        let mut settings = Settings::default();
        edit(&mut settings);
        let text = settings.check().err().unwrap_or_default();
        assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
    };
    check(|_| {}, "");
    check(|settings| settings.max_age_ms = 900_001, "reads.max_age_ms is 900001");
    check(|settings| settings.stale_seconds = u64::MAX, "reads.stale_seconds");
    check(|settings| settings.members_max = 0, "reads.members_max is 0");
}
