use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tracker::model::{
    AccountId, Change, ChangeId, Collection, Hook, HookId, InstanceState, KnownResource, News, Reason, Scope, Seq,
    Subject, Topic,
};
use tracker::store::{Baseline, Commit, Error, Head, NewChange};

use super::world::{
    World, ask, at, change, commit, hook, instance, key, known, login, member, members, owed, realm, subscriber,
};

contract! {
    nothing_is_known_before_the_first_sample
    a_sample_is_read_back
    a_collection_that_nobody_watches_yet_takes_its_first_sample
    what_a_sample_does_not_name_was_seen_in_it
    a_targeted_look_leaves_the_collections_time_alone
    an_older_sample_does_not_turn_time_back
    the_head_says_what_is_known_without_the_rows
    a_sample_on_another_version_is_refused_whole
    of_two_samples_on_one_version_one_wins
    a_resource_that_is_gone_ends_its_hooks_until_it_is_back
    the_last_revision_of_what_is_gone_is_kept
    gaps_are_counted_with_the_look_that_ends_them
    changes_are_numbered_without_a_hole_in_each_account
    changes_committed_at_once_leave_no_hole
    a_hook_is_told_once_of_a_change
    many_changes_fit_into_one_sample
    a_step_that_is_cut_short_is_whole_or_undone
}

async fn nothing_is_known_before_the_first_sample(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    for collection in Collection::ALL {
        let got = world.store.known(account, collection).await.unwrap();
        assert_eq!((got.collection, got.observed_at, got.members.len()), (collection, None, 0));
        assert!(world.store.known(AccountId(99), collection).await.unwrap().members.is_empty());
    }
}

async fn a_sample_is_read_back(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let before = world.store.known(account, Collection::Instances).await.unwrap();
    let rows = [
        KnownResource { revision: 4, ..known(instance("i-1", InstanceState::Running), 7) },
        KnownResource { absent_since: Some(at(6)), ..known(instance("i-2", InstanceState::Unknown), 5) },
    ];
    let sample = Commit { upserts: rows.to_vec(), ..commit(account, before.version, 7) };
    assert!(world.store.commit_sample(&sample).await.unwrap().is_empty());

    let after = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!((after.version, after.observed_at), (before.version + 1, Some(at(7))));
    assert_eq!(after.members, members(&rows));
    for id in ["i-1", "i-2", "i-3"] {
        let one = world.store.member(account, Collection::Instances, id).await.unwrap();
        assert_eq!(one.as_ref(), after.members.get(id), "one by itself, {id}");
        assert_eq!(world.store.member(account, Collection::Images, id).await.unwrap(), None);
    }

    let realms = world.store.known(account, Collection::Realms).await.unwrap();
    assert!(realms.members.is_empty() && realms.observed_at.is_none(), "the other collection is as it was");
    let sample = Commit {
        judgements: vec![],
        collection: Collection::Realms,
        upserts: vec![known(realm("eu"), 8)],
        ..commit(account, realms.version, 8)
    };
    world.store.commit_sample(&sample).await.unwrap();
    let realms = world.store.known(account, Collection::Realms).await.unwrap();
    assert_eq!(realms.members, members(&[known(realm("eu"), 8)]));
}

async fn a_collection_that_nobody_watches_yet_takes_its_first_sample(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let collection = Collection::StorageSnapshots;
    let before = world.store.known(account, collection).await.unwrap();
    let sample = Commit { collection, ..commit(account, before.version, 7) };
    world.store.commit_sample(&sample).await.unwrap();
    let after = world.store.known(account, collection).await.unwrap();
    assert_eq!((after.version, after.observed_at), (before.version + 1, Some(at(7))));
    let again = world.store.commit_sample(&sample).await;
    assert!(matches!(again, Err(Error::Conflict)), "decided on what is no longer so: {again:?}");
    let due = world.store.due_units(at(9), at(9), 100).await.unwrap().units;
    assert!(due.iter().all(|unit| unit.collection != collection), "a look does not make it watched");
    let stranger = Commit { account: AccountId(99), ..sample };
    assert!(matches!(world.store.commit_sample(&stranger).await, Err(Error::Conflict)));
}

async fn what_a_sample_does_not_name_was_seen_in_it(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let there = known(instance("i-1", InstanceState::Running), 1);
    let absent = KnownResource { absent_since: Some(at(1)), ..known(instance("i-2", InstanceState::Running), 0) };
    let rows = vec![there.clone(), absent.clone()];
    world.store.commit_sample(&Commit { upserts: rows, ..commit(account, version, 1) }).await.unwrap();
    world.store.commit_sample(&commit(account, version + 1, 9)).await.unwrap();

    let got = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!(got.members, members(&[KnownResource { observed_at: at(9), ..there }, absent]));
}

async fn a_targeted_look_leaves_the_collections_time_alone(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let rows =
        vec![known(instance("i-1", InstanceState::Running), 1), known(instance("i-2", InstanceState::Running), 1)];
    world.store.commit_sample(&Commit { upserts: rows.clone(), ..commit(account, version, 1) }).await.unwrap();

    let seen = known(instance("i-1", InstanceState::Stopped), 5);
    let look = Commit { observed_at: None, upserts: vec![seen.clone()], ..commit(account, version + 1, 5) };
    world.store.commit_sample(&look).await.unwrap();
    let got = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!((got.version, got.observed_at), (version + 2, Some(at(1))));
    assert_eq!(got.members, members(&[seen, rows[1].clone()]));
}

async fn an_older_sample_does_not_turn_time_back(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    world.store.commit_sample(&commit(account, version, 9)).await.unwrap();
    world.store.commit_sample(&commit(account, version + 1, 3)).await.unwrap();
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().observed_at, Some(at(9)));
}

async fn the_head_says_what_is_known_without_the_rows(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let check = async || {
        for collection in Collection::ALL {
            let known = world.store.known(account, collection).await.unwrap();
            let head = world.store.head(account, collection).await.unwrap();
            let expected = Head { version: known.version, through: known.through, observed_at: known.observed_at };
            assert_eq!(head, expected, "{collection}");
        }
        world.store.head(account, Collection::Instances).await.unwrap()
    };
    let bare = check().await;
    let sample =
        Commit { upserts: vec![known(instance("i-1", InstanceState::Running), 7)], ..commit(account, bare.version, 7) };
    world.store.commit_sample(&sample).await.unwrap();
    let sampled = check().await;
    assert_eq!((sampled.version, sampled.observed_at), (bare.version + 1, Some(at(7))));
    // A hook may bring rows, and an end of all hooks forgets them: both are another version.
    let baseline = Baseline {
        collection: Collection::Instances,
        through: sampled.through,
        members: vec![known(instance("i-2", InstanceState::Running), 8)],
        complete_at: None,
    };
    world.store.save_hook(&key("a"), &login("p"), &hook("hook_2", "i-2", "one"), Some(&baseline), at(8)).await.unwrap();
    let hooked = check().await;
    assert!(hooked.version > sampled.version, "{hooked:?}");
    for id in ["i-1", "i-2"] {
        assert!(world.store.remove_hook(account, &subscriber("default"), &member(id), at(9)).await.unwrap());
    }
    assert!(check().await.version > hooked.version);
    let none = Head { version: 0, through: Seq(0), observed_at: None };
    assert_eq!(world.store.head(AccountId(99), Collection::Instances).await.unwrap(), none);
}

async fn a_sample_on_another_version_is_refused_whole(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let before = world.store.known(account, Collection::Instances).await.unwrap();
    for version in [before.version - 1, before.version + 1] {
        let sample = Commit {
            judgements: vec![],
            upserts: vec![known(instance("i-1", InstanceState::Running), 1)],
            removed: vec!["i-2".to_owned()],
            changes: vec![NewChange { change: change("i-1", 1), told: vec![hook.id.clone()] }],
            ..commit(account, version, 1)
        };
        assert!(matches!(world.store.commit_sample(&sample).await, Err(Error::Conflict)));
    }
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap(), before);
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (None, Seq(0)));
    assert!(world.undelivered(account).await.is_empty());

    let unknown = world.store.commit_sample(&commit(AccountId(99), 0, 1)).await;
    assert!(matches!(unknown, Err(Error::Conflict)), "an account that is not there has no version either");
}

async fn of_two_samples_on_one_version_one_wins(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let sample = |id: &str| Commit {
        upserts: vec![known(instance(id, InstanceState::Running), 1)],
        ..commit(account, version, 1)
    };
    let (one, two) = (sample("i-1"), sample("i-2"));
    let (one, two) = tokio::join!(world.store.commit_sample(&one), world.store.commit_sample(&two));
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().members.len(), 1);
}

async fn a_resource_that_is_gone_ends_its_hooks_until_it_is_back(world: World) {
    let (mine, other) = (hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "one"));
    let whole = super::world::collection_hook("hook_3", "one");
    let account = world.set(&mine).await;
    world.set(&other).await;
    world.set(&whole).await;
    let ended = async || {
        let hooks = world.store.hooks(account).await.unwrap();
        hooks.into_iter().map(|hook| hook.ended_at).collect::<Vec<_>>()
    };
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let there =
        vec![known(instance("i-1", InstanceState::Running), 1), known(instance("i-2", InstanceState::Running), 1)];
    world.store.commit_sample(&Commit { upserts: there.clone(), ..commit(account, version, 1) }).await.unwrap();
    assert_eq!(ended().await, [None, None, None]);

    let removed = Commit { removed: vec!["i-1".to_owned()], ..commit(account, version + 1, 2) };
    world.store.commit_sample(&removed).await.unwrap();
    assert_eq!(ended().await, [Some(at(2)), None, None]);
    let got = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!(got.members.keys().collect::<Vec<_>>(), ["i-2"]);

    let again = Commit { removed: vec!["i-1".to_owned()], ..commit(account, version + 2, 3) };
    world.store.commit_sample(&again).await.unwrap();
    assert_eq!(ended().await, [Some(at(2)), None, None], "it ended once");

    let back = Commit { upserts: there[..1].to_vec(), ..commit(account, version + 3, 4) };
    world.store.commit_sample(&back).await.unwrap();
    assert_eq!(ended().await, [None, None, None]);
}

async fn the_last_revision_of_what_is_gone_is_kept(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = async || world.store.known(account, Collection::Instances).await.unwrap().version;
    let rows = ["i-1", "i-2", "i-\"3\""].map(|id| known(instance(id, InstanceState::Running), 1));
    let rows = rows.map(|row| KnownResource { revision: 4, ..row });
    let sample = Commit { upserts: rows.to_vec(), ..commit(account, version().await, 1) };
    world.store.commit_sample(&sample).await.unwrap();

    // One leaves with a change of its own, two in silence.
    let mut end = change("i-1", 2);
    end.subject.revision = 5;
    let removed = ["i-1", "i-2", "i-\"3\""].map(str::to_owned).to_vec();
    let changes = vec![NewChange { change: end, told: vec![] }];
    let sample = Commit { removed, changes, ..commit(account, version().await, 2) };
    world.store.commit_sample(&sample).await.unwrap();
    let after = world.store.known(account, Collection::Instances).await.unwrap();
    let former = [("i-1", 5), ("i-2", 4), ("i-\"3\"", 4)].map(|(id, revision)| (id.to_owned(), revision));
    assert_eq!((after.members.len(), after.former), (0, former.into()));

    // Back again, it is known, and no longer known once.
    let back = KnownResource { revision: 6, ..known(instance("i-1", InstanceState::Running), 3) };
    let sample = Commit { upserts: vec![back], ..commit(account, version().await, 3) };
    world.store.commit_sample(&sample).await.unwrap();
    let after = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!(after.members["i-1"].revision, 6);
    assert_eq!(after.former.keys().collect::<Vec<_>>(), ["i-\"3\"", "i-2"]);
}

async fn gaps_are_counted_with_the_look_that_ends_them(world: World) {
    let own = hook("hook_1", "instances", "one");
    let whole = Hook { scope: Scope::Account, ..hook("hook_2", "", "one") };
    let account = world.set(&own).await;
    world.set(&whole).await;
    let gap = |revision| {
        let subject =
            Subject { collection: Topic::Account, id: "instances".to_owned(), revision, name: None, realm: None };
        let news = News::ObservationGap { why: vec![Reason::new("tracker", "late")] };
        let id = ChangeId(format!("chg_gap_{revision}"));
        NewChange { change: Change { id, subject, news, ..change("i-1", 9) }, told: vec![whole.id.clone()] }
    };
    let version = async || world.store.known(account, Collection::Instances).await.unwrap().version;
    let gaps = async || world.store.watch(account, Collection::Instances, at(0)).await.unwrap().unwrap().gaps;
    // An instance may have the name of a collection, and be gone in the look that ends a gap of it.
    let row = KnownResource { revision: 41, ..known(instance("instances", InstanceState::Running), 1) };
    let first = Commit { upserts: vec![row], ..commit(account, version().await, 1) };
    world.store.commit_sample(&first).await.unwrap();
    assert_eq!(gaps().await, 0);
    let second =
        Commit { removed: vec!["instances".to_owned()], changes: vec![gap(1)], ..commit(account, version().await, 9) };
    let stale = Commit { version: second.version - 1, ..second.clone() };
    assert!(matches!(world.store.commit_sample(&stale).await, Err(Error::Conflict)));
    assert_eq!((gaps().await, world.undelivered(account).await.len()), (0, 0));
    world.store.commit_sample(&second).await.unwrap();
    assert_eq!(gaps().await, 1);
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().former["instances"], 41);
    assert_eq!(world.claimed(9).await, owed(&[("hook_2", 1)]));
    let read = world.store.log_after(account, Seq(0), 9).await.unwrap();
    assert_eq!(read[0].change, gap(1).change);

    let third = Commit { changes: vec![gap(2)], ..commit(account, version().await, 10) };
    world.store.commit_sample(&third).await.unwrap();
    let fourth = commit(account, version().await, 11);
    world.store.commit_sample(&fourth).await.unwrap();
    assert_eq!(gaps().await, 2);
    // When nobody watches any more the count stays, as that of an instance does.
    world.store.remove_hook(account, &own.subscriber, &own.scope, at(12)).await.unwrap();
    world.store.remove_hook(account, &whole.subscriber, &whole.scope, at(12)).await.unwrap();
    world.set_at(&own, 13).await;
    assert_eq!(gaps().await, 2);
}

async fn changes_are_numbered_without_a_hole_in_each_account(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let a = world.set(&hook).await;
    let b = world.store.save_hook(&key("b"), &login("b"), &hook, None, at(0)).await.unwrap();
    let first = world.news(a, 1, &[("i-1", &[&hook]), ("i-2", &[])]).await;
    let other = world.news(b, 2, &[("i-1", &[&hook])]).await;
    let second = world.news(a, 3, &[("i-1", &[&hook])]).await;

    let numbers = |entries: &[tracker::model::Entry]| entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>();
    assert_eq!((numbers(&first), numbers(&other), numbers(&second)), (vec![1, 2], vec![1], vec![3]));
    assert_eq!(first[0].change, change("i-1", 1));
    assert_eq!(world.store.log_after(a, Seq(0), 10).await.unwrap(), [first, second].concat());
    assert_eq!(world.store.log_after(b, Seq(0), 10).await.unwrap(), other);
}

async fn changes_committed_at_once_leave_no_hole(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let commits = (0..20).map(|round| {
        let (store, told) = (world.store.clone(), vec![hook.id.clone()]);
        tokio::spawn(async move {
            loop {
                let version = store.known(account, Collection::Instances).await.unwrap().version;
                let new = |id: &str| NewChange { change: change(id, round), told: told.clone() };
                let changes = vec![new("i-1"), new("i-2"), new("i-1")];
                match store.commit_sample(&Commit { changes, ..commit(account, version, round) }).await {
                    Err(Error::Conflict) => {}
                    entries => break entries.unwrap(),
                }
            }
        })
    });
    let mut seen = BTreeSet::new();
    for commit in commits.collect::<Vec<_>>() {
        let entries = commit.await.unwrap();
        assert!(entries.windows(2).all(|pair| pair[0].seq.0 + 1 == pair[1].seq.0), "one sample's numbers are together");
        seen.extend(entries.iter().map(|entry| entry.seq.0));
    }
    assert_eq!(seen, (1..=60).collect());
    assert_eq!(world.store.log_after(account, Seq(0), 100).await.unwrap().len(), 60);
    assert_eq!(world.claimed(100).await.len(), 2, "and of each resource one is due");
}

async fn a_hook_is_told_once_of_a_change(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook, &hook])]).await;
    assert_eq!(world.claimed(1).await, owed(&[("hook_1", 1)]));

    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let stranger = NewChange { change: change("i-2", 2), told: vec![HookId("hook_99".to_owned())] };
    let sample = Commit { changes: vec![stranger], ..commit(account, version, 2) };
    assert_eq!(world.store.commit_sample(&sample).await.unwrap().len(), 1, "recorded, and owed to nobody");
    assert!(world.claimed(2).await.is_empty());
    assert!(world.store.remove_hook(account, &subscriber("default"), &member("i-1"), at(3)).await.unwrap());
}

async fn many_changes_fit_into_one_sample(world: World) {
    const MANY: usize = 20_000;
    let hook = super::world::collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let ids: Vec<String> = (0..MANY).map(|number| format!("i-{number:05}")).collect();
    let sample = Commit {
        judgements: vec![],
        upserts: ids.iter().map(|id| known(instance(id, InstanceState::Running), 1)).collect(),
        changes: ids.iter().map(|id| NewChange { change: change(id, 1), told: vec![hook.id.clone()] }).collect(),
        ..commit(account, version, 1)
    };
    assert_eq!(world.store.commit_sample(&sample).await.unwrap().len(), MANY);
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (Some(Seq(1)), Seq(MANY as u64)));
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().members.len(), MANY);
    assert_eq!(world.store.claim(&ask(at(1), at(2), MANY, MANY, &[])).await.unwrap().deliveries.len(), MANY);
    let through = world.store.acknowledge_through(account, &subscriber("default"), Seq(MANY as u64), at(2)).await;
    assert_eq!(through.unwrap(), MANY as u64);
}

/// Lets the future run until it was polled `times` times, then drops it where it stands.
async fn cut_after<F: Future>(times: usize, future: F) {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        polled += 1;
        if polled > times || future.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn a_step_that_is_cut_short_is_whole_or_undone(world: World) {
    let hook = super::world::collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let (mut undone, mut whole) = (0, 0);
    for times in 0..40 {
        let before = world.store.known(account, Collection::Instances).await.unwrap();
        let new = |id: &str| NewChange { change: change(id, 1), told: vec![hook.id.clone()] };
        let sample = Commit {
            judgements: vec![],
            upserts: vec![known(instance(&format!("i-{times}"), InstanceState::Running), 1)],
            changes: vec![new("i-1"), new("i-2")],
            ..commit(account, before.version, 1)
        };
        cut_after(times, world.store.commit_sample(&sample)).await;

        // A look through the writer comes after whatever the cut step still did.
        world.store.release_claims().await.unwrap();
        let after = world.store.known(account, Collection::Instances).await.unwrap();
        let done = after.version > before.version;
        *(if done { &mut whole } else { &mut undone }) += 1;
        assert_eq!(after.members.len(), before.members.len() + usize::from(done), "cut after {times}");
        let log = world.store.log_after(account, Seq(0), 1_000).await.unwrap();
        assert_eq!(log.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), (1..=whole * 2).collect::<Vec<_>>());
        assert_eq!(world.store.log_bounds(account).await.unwrap().1, Seq(whole * 2));
        assert_eq!(world.undelivered(account).await.len() as u64, whole * 2);
    }
    assert!(undone > 0 && whole > 0, "{undone} undone, {whole} whole");
}
