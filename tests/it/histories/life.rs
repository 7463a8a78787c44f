//! One life of a Tracker, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use tracker::clock::Clock as _;
use tracker::deliver::{self, ID, Key, SIGNATURE, TIMESTAMP};
use tracker::model::{DeliveryState, HookId, Merged, Mode, Seq, Subscriber};
use tracker::store::{DeliveryStanding, WhichDeliveries};

use super::{Behaviour, Step};
use crate::support::receiver::{Received, Receiver, Reply};
use crate::support::world::{PASSWORD, USER, World, ask, client, minutes, seconds};

pub(super) const INSTANCES: [&str; 3] = ["inst0", "inst1", "inst2"];
pub(super) const SUBSCRIBERS: [&str; 2] = ["default", "other"];

/// Where hooks may be: subscriber, and the instance or all of them.
pub(super) const SLOTS: [(usize, Option<&str>); 4] = [(0, Some("inst0")), (0, None), (1, Some("inst1")), (1, None)];

/// A disk that others use too may take its time to note something.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Life {
    world: World,
    receivers: [Receiver; 2],
    slots: [Option<Set>; SLOTS.len()],
    /// Every hook there ever was, by id.
    ids: BTreeMap<HookId, usize>,
    /// What each change is of, by seq from 1.
    log: Vec<String>,
    /// What was promised: slot and seq.
    owed: BTreeSet<(usize, u64)>,
    /// Of these the owner wanted another sending.
    again: BTreeSet<(usize, u64)>,
    /// What the ledger said last.
    ledger: BTreeMap<(usize, u64), DeliveryStanding>,
    /// What was accepted, and what it stood for.
    accepted: BTreeMap<(usize, u64), Option<Merged>>,
    /// Seqs by subscriber.
    read: [BTreeSet<u64>; SUBSCRIBERS.len()],
    /// The newest first acceptance of each slot and resource.
    newest: BTreeMap<(usize, String), u64>,
    /// Of each receiver, how many requests were looked at.
    seen: [usize; 2],
    secrets: u64,
    /// How often each instance changed.
    turns: [usize; INSTANCES.len()],
    story: Vec<String>,
}

struct Set {
    to: Option<usize>,
    mode: Mode,
    secret: String,
    /// The one before, during a step that replaces it.
    before: Option<String>,
}

impl Life {
    pub(super) async fn begin() -> Self {
        let world = World::with(|settings| {
            settings.poll.list_every_ms = 1;
            // Nothing is waited for that does not come.
            settings.deliver.deadline_ms = 2_000;
            settings.deliver.connect_timeout_ms = 2_000;
        })
        .await;
        for id in INSTANCES {
            world.provider.add_instance(id, "RUNNING");
        }
        world.clock.advance(seconds(1));
        let receivers = [world.receiver.clone(), Receiver::start().await];
        Self {
            world,
            receivers,
            slots: Default::default(),
            ids: BTreeMap::new(),
            log: vec![],
            owed: BTreeSet::new(),
            again: BTreeSet::new(),
            ledger: BTreeMap::new(),
            accepted: BTreeMap::new(),
            read: Default::default(),
            newest: BTreeMap::new(),
            seen: [0; 2],
            secrets: 0,
            turns: [0; INSTANCES.len()],
            story: vec![],
        }
    }

    pub(super) async fn take(&mut self, step: Step) {
        self.story.push(format!("{step:?}"));
        match step {
            Step::Set { hook, to, mode, rotate } => self.set(hook, to, mode, rotate).await,
            Step::Remove(hook) => {
                let answer = self.world.request(Method::PUT, &put(hook, "none", &[])).await;
                assert!(answer.status.is_success(), "{}", answer.text);
                self.slots[hook] = None;
            }
            Step::News(instances) => self.news(&instances).await,
            Step::Behave(receiver, behaviour) => self.receivers[receiver].otherwise(behaviour.reply()),
            Step::Deliver => {
                self.world.deliver().await;
            }
            Step::DeliverAndRead(who) => {
                let base = self.world.base().to_owned();
                let read = self.beside(async move { read(&base, who, "").await }).await;
                self.have_read(who, read).await;
            }
            Step::DeliverAndRotate(hook) => self.deliver_and_rotate(hook).await,
            Step::Cut { after, moments, crash } => self.cut(after, moments, crash).await,
            Step::Crash => {
                self.world.crash().await;
                self.world.start().await;
            }
            Step::Wait(wait) => self.world.clock.advance(seconds(wait)),
            Step::Read(who, limit) => {
                let read = read(self.world.base(), who, &format!("&limit={limit}")).await;
                self.have_read(who, read).await;
            }
            Step::ReadAfter(who, place) => {
                let after = place.index(self.log.len() + 1) as u64;
                read(self.world.base(), who, &format!("&after={after}")).await;
                self.read[who].extend(1..=after);
            }
            Step::Redeliver(which) if !self.ledger.is_empty() => {
                let keys: Vec<_> = self.ledger.keys().copied().collect();
                let (slot, seq) = *which.get(&keys);
                let hook = self.ledger[&(slot, seq)].hook.clone();
                let path = format!("/deliveries/{hook}.{seq}/redeliver");
                let answer = self.world.request(Method::POST, &path).await;
                if answer.status == StatusCode::ACCEPTED {
                    self.again.insert((slot, seq));
                } else {
                    assert!(answer.status.is_client_error(), "{}", answer.text);
                }
            }
            Step::Redeliver(_) => {}
            Step::Recover(slot) => self.recover(slot).await,
        }
    }

    /// Sets a hook. Its secret stays unless it is to be another, or is the first.
    pub(super) async fn set(&mut self, slot: usize, to: Option<usize>, mode: Mode, rotate: bool) {
        let kept = self.slots[slot].as_ref().filter(|_| !rotate).map(|set| set.secret.clone());
        let secret = kept.unwrap_or_else(|| self.new_secret());
        let path = self.put(slot, to, mode, &secret);
        let answer = self.world.request(Method::PUT, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        // What was found on the way is owed to those that were there before.
        self.note_changes().await;
        self.slots[slot] = Some(Set { to, mode, secret, before: None });
        let scope = SLOTS[slot];
        let subscriber = Subscriber::parse(SUBSCRIBERS[scope.0]).unwrap();
        for hook in self.world.hooks().await {
            let own = matches!(&hook.scope, tracker::model::Scope::Member(_, id) if Some(id.as_str()) == scope.1)
                || matches!(&hook.scope, tracker::model::Scope::Collection(_) if scope.1.is_none());
            if own && hook.subscriber == subscriber {
                self.ids.insert(hook.id, slot);
            }
        }
    }

    fn new_secret(&mut self) -> String {
        self.secrets += 1;
        format!("whsec_{}", STANDARD.encode(format!("{:032}", self.secrets)))
    }

    fn put(&self, slot: usize, to: Option<usize>, mode: Mode, secret: &str) -> String {
        let Some(to) = to else { return put(slot, "feed", &[]) };
        let url = String::from(self.receivers[to].url(&format!("/{slot}")));
        put(slot, &url, &[("track_mode", mode.as_str()), ("track_secret", secret)])
    }

    async fn news(&mut self, instances: &[usize]) {
        for instance in instances {
            self.turns[*instance] += 1;
            let state = ["RUNNING", "STOPPED"][self.turns[*instance] % 2];
            self.world.provider.set_state(INSTANCES[*instance], state);
            self.world.clock.advance(Duration::from_millis(1));
            self.world.tick().await;
        }
    }

    /// A whole pass and something else meanwhile.
    async fn beside<T: Send + 'static>(&mut self, other: impl Future<Output = T> + Send + 'static) -> T {
        let other = tokio::spawn(other);
        self.world.deliver().await;
        other.await.unwrap()
    }

    async fn deliver_and_rotate(&mut self, slot: usize) {
        let Some(Set { to: Some(to), mode, secret, .. }) = &self.slots[slot] else { return };
        let (to, mode, old) = (*to, *mode, secret.clone());
        let secret = self.new_secret();
        let (base, path) = (self.world.base().to_owned(), self.put(slot, Some(to), mode, &secret));
        let answer = self.beside(async move { ask(&base, Method::PUT, &path, USER, PASSWORD).await }).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        self.slots[slot] = Some(Set { to: Some(to), mode, secret, before: Some(old) });
    }

    async fn cut(&mut self, after: usize, moments: usize, crash: bool) {
        let wanted = self.requests() + after;
        let receivers = self.receivers.clone();
        let cut = async move {
            while receivers.iter().map(Receiver::count).sum::<usize>() < wanted {
                tokio::task::yield_now().await;
            }
            for _ in 0..moments {
                tokio::task::yield_now().await;
            }
        };
        self.world.deliver_or(cut).await;
        if crash {
            self.world.crash().await;
            self.world.start().await;
        }
        // What was on its way is received before anything else happens.
        for receiver in &self.receivers {
            let _ = client().get(receiver.url("/ping")).send().await;
        }
    }

    fn requests(&self) -> usize {
        self.receivers.iter().map(Receiver::count).sum()
    }

    /// What was read counts once that is noted, a moment after the answer.
    async fn have_read(&mut self, who: usize, seqs: BTreeSet<u64>) {
        let Some(account) = self.world.account().await else { return };
        let subscriber = Subscriber::parse(SUBSCRIBERS[who]).unwrap();
        let noted = async {
            loop {
                let owed = self.world.store().undelivered(account, &subscriber, Seq(0), 1_000).await.unwrap();
                if !owed.iter().any(|(entry, _)| seqs.contains(&entry.seq.0)) {
                    break;
                }
            }
        };
        let noted = tokio::time::timeout(PATIENCE, noted).await;
        assert!(noted.is_ok(), "what {} read is owed all the same: {seqs:?}\n{}", SUBSCRIBERS[who], self.told());
        self.read[who].extend(seqs);
    }

    async fn recover(&mut self, slot: usize) {
        let Some((hook, _)) = self.ids.iter().find(|(_, of)| **of == slot) else { return };
        let path = format!("/hooks/{hook}/recover?since=2026-01-01T00:00:00Z&what=all");
        let answer = self.world.request(Method::POST, &path).await;
        if answer.status == StatusCode::ACCEPTED {
            self.again.extend(self.owed.iter().filter(|(of, _)| *of == slot));
        } else {
            assert!(answer.status.is_client_error(), "{}", answer.text);
        }
    }

    /// What must be true after every step.
    pub(super) async fn check(&mut self) {
        self.note_changes().await;
        self.look_at_requests();
        self.note_ledger().await;
        self.slots.iter_mut().flatten().for_each(|set| set.before = None);
    }

    /// Numbers have no hole; what was recorded is owed to whoever listens.
    async fn note_changes(&mut self) {
        let account = self.world.account().await.expect("there is a hook from the beginning");
        let last = self.log.len() as u64;
        for entry in self.world.store().log_after(account, Seq(last), 1_000).await.unwrap() {
            let subject = entry.change.subject;
            assert_eq!(entry.seq.0, self.log.len() as u64 + 1, "numbers have no hole\n{}", self.told());
            let own = self.ids.get(&HookId(subject.id.clone()));
            let listens = |slot: usize| match own {
                Some(own) => *own == slot,
                None => subject.collection.as_str() == "instances" && SLOTS[slot].1.is_none_or(|id| id == subject.id),
            };
            let live = (0..SLOTS.len()).filter(|slot| self.slots[*slot].is_some() && listens(*slot));
            self.owed.extend(live.map(|slot| (slot, entry.seq.0)));
            self.log.push(subject.id);
        }
    }

    /// What came in since: nothing that counted as delivered, everything signed, and in order.
    fn look_at_requests(&mut self) {
        for receiver in 0..self.receivers.len() {
            let received = self.receivers[receiver].received();
            for request in &received[self.seen[receiver]..] {
                if request.target != "/ping" {
                    self.look_at(request);
                }
            }
            self.seen[receiver] = received.len();
        }
    }

    fn look_at(&mut self, request: &Received) {
        let body = request.json();
        let (slot, seq): (usize, u64) = (request.target[1..].parse().unwrap(), body["seq"].as_u64().unwrap());
        assert!(self.owed.contains(&(slot, seq)), "{slot} is not owed {seq}\n{}", self.told());
        let resource = body["resource"]["id"].as_str().unwrap();
        assert_eq!(resource, self.log[seq as usize - 1]);
        self.verify(slot, request);

        let before = self.ledger.get(&(slot, seq)).map(|standing| standing.state);
        let done = matches!(
            before,
            Some(DeliveryState::Delivered | DeliveryState::Read | DeliveryState::Merged | DeliveryState::Dropped)
        );
        assert!(!done, "{seq} was {before:?} for {slot} before it was sent\n{}", self.told());
        if !request.answered.is_some_and(|status| (200..300).contains(&status)) {
            return;
        }
        let merged = body["merged"].as_object().map(|merged| Merged {
            from_seq: Seq(merged["from_seq"].as_u64().unwrap()),
            count: merged["count"].as_u64().unwrap().try_into().unwrap(),
        });
        let first = self.accepted.insert((slot, seq), merged).is_none();
        if first && !self.again.contains(&(slot, seq)) {
            let newest = self.newest.entry((slot, resource.to_owned())).or_default();
            let (before, now) = (*newest, seq);
            *newest = now.max(before);
            assert!(before < now, "{now} after {before} of {resource} for {slot}\n{}", self.told());
        }
    }

    fn verify(&self, slot: usize, request: &Received) {
        let set = self.slots[slot].as_ref().expect("nothing is sent to a hook that was removed");
        let header = |name: &str| request.header(name).unwrap();
        let now = self.world.clock.now();
        let by = |secret: &String| {
            let key = Key::parse(secret).unwrap();
            deliver::verify(&key, header(ID), header(TIMESTAMP), header(SIGNATURE), &request.body, now, 0)
        };
        let well = by(&set.secret).is_ok() || set.before.as_ref().is_some_and(|before| by(before).is_ok());
        assert!(well, "{:?} does not verify: {:?}\n{}", request.headers, by(&set.secret), self.told());
    }

    /// The ledger knows exactly what was promised.
    async fn note_ledger(&mut self) {
        let account = self.world.account().await.unwrap();
        let which = WhichDeliveries { limit: 100_000, scan_max: 1_000_000, ..WhichDeliveries::default() };
        loop {
            let page = self.world.store().deliveries(account, &which).await.unwrap();
            assert!(page.next.is_none());
            self.ledger = page.deliveries.into_iter().map(|row| ((self.ids[&row.hook], row.seq.0), row)).collect();
            if self.ledger.keys().all(|(_, seq)| *seq <= self.log.len() as u64) {
                break;
            }
            // A pass that was cut leaves its last results to the store, which takes them a moment later.
            self.note_changes().await;
        }
        let listed: BTreeSet<_> = self.ledger.keys().copied().collect();
        assert_eq!(listed, self.owed, "{}", self.told());
    }

    /// Everybody is well from now on, and time passes until nothing is left to do. Then everything has arrived.
    pub(super) async fn come_to_rest(mut self) {
        self.story.push("rest".to_owned());
        for receiver in &self.receivers {
            receiver.otherwise(Reply::Status(200));
        }
        for hook in self.world.hooks().await {
            self.world.request(Method::POST, &format!("/hooks/{}/enable", hook.id)).await;
        }
        let mut passes = 0;
        while let Some(due_at) = self.world.deliver().await.next_due_at {
            passes += 1;
            assert!(passes < 2_000, "it never comes to rest\n{}", self.told());
            self.check().await;
            // Longer than any claim, now and then, so that nothing hides behind one.
            let next = self.world.clock.now() + if passes % 10 == 0 { minutes(2) } else { seconds(1) };
            self.world.clock.set(due_at.max(next));
        }
        self.check().await;
        let waiting = self.ledger.iter().filter(|(_, row)| row.state == DeliveryState::Waiting);
        let posted: Vec<_> = waiting.filter(|((slot, _), _)| self.posts(*slot)).map(|(key, _)| key).collect();
        assert!(posted.is_empty(), "{posted:?} wait at the end\n{}", self.told());
        for who in 0..SUBSCRIBERS.len() {
            // What has no tries left, and what is only read.
            loop {
                let read = read(self.world.base(), who, "").await;
                if read.is_empty() {
                    break;
                }
                self.have_read(who, read).await;
            }
        }
        // What was promised to a hook that was removed is not promised any more.
        let live: BTreeSet<HookId> = self.world.hooks().await.into_iter().map(|hook| hook.id).collect();
        for ((slot, seq), row) in &self.ledger {
            assert!(
                !live.contains(&row.hook) || self.is_told(*slot, *seq),
                "{seq} is lost for {slot}\n{}",
                self.told()
            );
        }
        self.check_merged();
        self.world.end().await;
    }

    fn posts(&self, slot: usize) -> bool {
        self.slots[slot].as_ref().is_some_and(|set| set.to.is_some())
    }

    /// By itself, or by one that stands for it.
    fn is_told(&self, slot: usize, seq: u64) -> bool {
        let by_itself = |seq: u64| self.accepted.contains_key(&(slot, seq)) || self.read[SLOTS[slot].0].contains(&seq);
        let same = |other: u64| self.log[other as usize - 1] == self.log[seq as usize - 1];
        let stands = |other: u64| {
            let merged = self.ledger[&(slot, other)].merged;
            by_itself(other) && same(other) && merged.is_some_and(|merged| merged.from_seq.0 <= seq)
        };
        by_itself(seq) || self.owed.range((slot, seq + 1)..(slot + 1, 0)).any(|(_, other)| stands(*other))
    }

    /// What stands for others says for exactly how many.
    fn check_merged(&self) {
        for ((slot, seq), merged) in &self.accepted {
            let Some(Merged { from_seq, count }) = merged else { continue };
            if self.again.iter().any(|(of, _)| of == slot) {
                // What is sent again on purpose may be told by itself and be counted too.
                continue;
            }
            let earlier = self.owed.range((*slot, from_seq.0)..(*slot, *seq));
            let of_it = earlier.filter(|(_, other)| self.log[*other as usize - 1] == self.log[*seq as usize - 1]);
            let silent = of_it.filter(|key| self.ledger[key].state == DeliveryState::Merged).count();
            assert_eq!(silent, *count as usize, "{seq} from {from_seq} for {slot}\n{}", self.told());
        }
    }

    /// For whoever has to find out.
    fn told(&self) -> String {
        let row = |((slot, seq), row): (&(usize, u64), &DeliveryStanding)| {
            let of = &self.log[*seq as usize - 1];
            format!("{slot} {seq} {of} {:?} {:?} {:?}", row.state, row.merged, row.due_at)
        };
        let rows: Vec<_> = self.ledger.iter().map(row).collect();
        format!("{}\n{}", self.story.join("\n"), rows.join("\n"))
    }
}

impl Behaviour {
    fn reply(self) -> Reply {
        match self {
            Self::Works => Reply::Status(200),
            Self::Fails => Reply::Status(500),
            Self::HangsUp => Reply::HangUp,
            Self::HangsUpInBody => Reply::HangUpInBody(503),
            Self::Gone => Reply::Status(410),
            Self::TooMuch(wait) => Reply::Full(429, vec![("retry-after", wait.to_string())], vec![]),
        }
    }
}

fn put(slot: usize, hook: &str, more: &[(&str, &str)]) -> String {
    let (subscriber, instance) = SLOTS[slot];
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", hook).append_pair("subscriber", SUBSCRIBERS[subscriber]).extend_pairs(more);
    let member = instance.map(|id| format!("/{id}")).unwrap_or_default();
    format!("/instances{member}?{}", query.finish())
}

/// Reads the feed and answers with the numbers of what is in it.
async fn read(base: &str, who: usize, more: &str) -> BTreeSet<u64> {
    let path = format!("/changes?subscriber={}{more}", SUBSCRIBERS[who]);
    let answer = ask(base, Method::GET, &path, USER, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json().as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()).collect()
}
