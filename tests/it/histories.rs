//! Random histories of everything that delivers: changes, receivers that fail in every way, passes cut in the middle, crashes,
//! reads of the feed, rotations, hooks set and removed, on resources and on the account, deliveries sent again. Whatever the interleaving: no change is lost,
//! none is out of order for its hook and resource, none is sent that counted as delivered, every callback verifies, and
//! numbers have no hole.

mod life;

use proptest::prelude::*;
use tracker::model::Mode;

use crate::support::cases::{config, run};
use life::Life;

/// Hooks: one each for `life::SLOTS`.
const HOOKS: usize = life::SLOTS.len();
const INSTANCES: usize = life::INSTANCES.len();
const SUBSCRIBERS: usize = life::SUBSCRIBERS.len();
const RECEIVERS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// To a receiver, or to the feed.
    Set {
        hook: usize,
        to: Option<usize>,
        mode: Mode,
        rotate: bool,
    },
    Remove(usize),
    /// These change, and are looked at.
    News(Vec<usize>),
    Behave(usize, Behaviour),
    Deliver,
    /// A whole pass, and beside it a reader of the feed.
    DeliverAndRead(usize),
    /// A whole pass, and beside it a new secret.
    DeliverAndRotate(usize),
    /// A pass that is cut when so many requests came in, and a moment later.
    Cut {
        after: usize,
        moments: usize,
        crash: bool,
    },
    Crash,
    /// Seconds.
    Wait(u64),
    /// So many changes of the feed.
    Read(usize, usize),
    /// As if everything up to a part of the log had been got.
    ReadAfter(usize, prop::sample::Index),
    Redeliver(prop::sample::Index),
    Recover(usize),
}

/// Of a receiver.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Works,
    Fails,
    HangsUp,
    HangsUpInBody,
    Gone,
    /// For so many seconds.
    TooMuch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop::option::weighted(0.85, 0..RECEIVERS);
    let mode = prop_oneof![Just(Mode::Each), Just(Mode::Latest)];
    let behaviour = prop_oneof![
        5 => Just(Behaviour::Works),
        2 => Just(Behaviour::Fails),
        2 => Just(Behaviour::HangsUp),
        1 => Just(Behaviour::HangsUpInBody),
        1 => Just(Behaviour::Gone),
        1 => (1..200_u64).prop_map(Behaviour::TooMuch),
    ];
    prop_oneof![
        4 => (0..HOOKS, to, mode, any::<bool>())
            .prop_map(|(hook, to, mode, rotate)| Step::Set { hook, to, mode, rotate }),
        1 => (0..HOOKS).prop_map(Step::Remove),
        14 => prop::collection::vec(0..INSTANCES, 1..6).prop_map(Step::News),
        5 => (0..RECEIVERS, behaviour).prop_map(|(receiver, behaviour)| Step::Behave(receiver, behaviour)),
        6 => Just(Step::Deliver),
        1 => (0..SUBSCRIBERS).prop_map(Step::DeliverAndRead),
        1 => (0..HOOKS).prop_map(Step::DeliverAndRotate),
        5 => (0..5_usize, 0..40_usize, any::<bool>())
            .prop_map(|(after, moments, crash)| Step::Cut { after, moments, crash }),
        1 => Just(Step::Crash),
        6 => prop_oneof![1..10_u64, 10..100_u64, 100..2_000_u64, 2_000..20_000_u64].prop_map(Step::Wait),
        2 => (0..SUBSCRIBERS, prop_oneof![1..5_usize, Just(100)]).prop_map(|(who, limit)| Step::Read(who, limit)),
        1 => (0..SUBSCRIBERS, any::<prop::sample::Index>()).prop_map(|(who, place)| Step::ReadAfter(who, place)),
        2 => any::<prop::sample::Index>().prop_map(Step::Redeliver),
        1 => (0..HOOKS).prop_map(Step::Recover),
    ]
}

async fn live_through(steps: Vec<Step>) {
    let mut life = Life::begin().await;
    let modes = [(0, Mode::Latest), (0, Mode::Each), (1, Mode::Each), (1, Mode::Latest), (0, Mode::Each)];
    for (hook, (to, mode)) in modes.into_iter().enumerate() {
        life.set(hook, Some(to), mode, false).await;
    }
    for step in steps {
        life.take(step).await;
        life.check().await;
    }
    life.come_to_rest().await;
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { max_shrink_iters: 300, ..config(6) })]

    #[test]
    fn no_history_loses_a_change(steps in prop::collection::vec(step(), 20..70)) {
        run(live_through(steps));
    }
}

/// Two of three changes of each resource are left, and nothing else happens to their hooks.
#[test]
fn what_was_read_in_part_lets_the_rest_pass() {
    let fails = |receiver| Step::Behave(receiver, Behaviour::Fails);
    let news = || Step::News(vec![0, 1]);
    run(live_through(vec![
        fails(0),
        fails(1),
        news(),
        news(),
        news(),
        Step::Deliver,
        Step::Read(0, 1),
        Step::Read(1, 1),
    ]));
}
