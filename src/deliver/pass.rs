use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, debug_span, error, info, warn};

use super::circuit::Sign;
use super::consent::{Consent, Consents, May};
use super::counters::Counters;
use super::known::{KnownHooks, Target};
use super::lanes::{Lanes, Slot};
use super::schedule::{Next, Reply, Schedule, Standing};
use super::send::{Message, Sender};
use super::settings::Settings;
use crate::chance::Chance;
use crate::changes::{Told, disabling};
use crate::clock::{Clock, Leaps};
use crate::model::{
    AccountId, AccountKey, Attempt, Callback, ChangeId, Delivery, Disabling, Entry, HookId, Merged, Outcome, Seq,
    Verdict,
};
use crate::outbound::Outbound;
use crate::store::{self, Ask, Claimed, Mark, Recovered, Results, Returned, Store};
use crate::tasks::{Pass, Report};

/// Writes the body that is posted: the change, its account, and what of it is this hook's own.
pub type Render = fn(&Entry, &AccountKey, Told<'_>) -> Vec<u8>;

/// `deliver.pass`: sends what is due until nothing is due and nothing under way.
///
/// Tries run beside each other, and beside them one round with the store at a time: results in, work out, one transaction.
/// What ends while a round is under way goes into the next, so the busier it is, the more share a commit. A pass can last as
/// long as there is something to send. Cut short, it loses nothing: claims lapse, and what was sent but not recorded is
/// recorded by the next pass or, after a crash, sent again.
pub struct Deliver {
    store: Arc<dyn Store>,
    sender: Sender,
    schedule: Schedule,
    settings: Settings,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    woken: Arc<Notify>,
    stop: CancellationToken,
    render: Render,
    hooks: Arc<KnownHooks>,
    lanes: Lanes<Claim>,
    consents: Consents,
    counters: Counters,
    /// What the store has not taken yet.
    results: Results,
    leaps: Leaps,
    begun: bool,
}

/// Names one delivery.
type Owed = (AccountId, HookId, Seq);

/// A delivery in hand.
struct Claim {
    delivery: Delivery,
    target: Target,
    /// When others may claim it.
    until: Timestamp,
    /// From before it was claimed.
    mark: Mark,
}

/// A try under way.
struct UnderWay {
    owed: Owed,
    created_at: Timestamp,
    failing_since: Option<Timestamp>,
    slot: Slot,
    /// Of the hook, if its receiver is asked first.
    asks: Option<u64>,
}

/// What a try brought.
struct Came {
    attempt: Attempt,
    reply: Reply,
    /// If the receiver was asked.
    consent: Option<Consent>,
}

/// The tries of one pass.
#[derive(Default)]
struct Tries {
    tasks: JoinSet<Came>,
    under_way: HashMap<Id, UnderWay>,
    /// The same, to be asked by name.
    owed: HashSet<Owed>,
}

/// A task that ended.
type Ended = Result<(Id, Came), JoinError>;

/// What a round with the store brought: if it failed, what was to be recorded comes back.
type Round = Result<Brought, (Results, store::Error)>;

#[derive(Default)]
struct Brought {
    claims: Vec<Claim>,
    /// Due, and cannot be read.
    unreadable: usize,
}

impl Deliver {
    /// `settings` are checked. `woken` is notified when something new may be due; without it, a pass under way finds
    /// out at its next recheck.
    pub fn new(
        store: Arc<dyn Store>,
        outbound: Outbound,
        settings: Settings,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        woken: Arc<Notify>,
        render: Render,
    ) -> Self {
        Self {
            hooks: Arc::new(KnownHooks::new(store.clone())),
            store,
            sender: settings.sender(outbound),
            consents: Consents::default(),
            counters: Counters::default(),
            schedule: settings.schedule(),
            lanes: Lanes::new(settings.lanes(), settings.rules()),
            settings,
            leaps: Leaps::new(clock.as_ref()),
            begun: false,
            clock,
            chance,
            woken,
            stop: CancellationToken::new(),
            render,
            results: Results::default(),
        }
    }

    /// What it counts as it goes.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Once `stop` is cancelled nothing more is begun, so that a pass ends with what is under way.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }
}

#[async_trait]
impl Pass for Deliver {
    fn name(&self) -> &'static str {
        "deliver.pass"
    }

    async fn pass(&mut self, _now: Timestamp) -> Result<Report, Box<dyn StdError + Send + Sync>> {
        let mut report = Report::default();
        let mut tries = Tries::default();
        let mut round: Option<JoinHandle<Round>> = None;
        // Something may be due that was not asked for yet.
        let mut look = true;
        // The store failed: it is left alone until the next recheck.
        let mut failure: Option<store::Error> = None;
        self.compare().await?;
        self.lanes.clear();
        self.consents.clear_asking();
        self.tell_recovered();
        loop {
            self.begin(&mut tries, &mut report);
            self.counters.stand(tries.tasks.len(), self.lanes.shut_count(self.clock.now()));
            if round.is_none() {
                match failure.take() {
                    Some(err) if tries.is_empty() => return Err(err.into()),
                    held @ Some(_) => failure = held,
                    None => round = self.start_round(&mut look),
                }
                if round.is_none() && failure.is_none() && tries.is_empty() {
                    break;
                }
            }
            let recheck = self.until_recheck();
            tokio::select! {
                Some(ended) = tries.next(), if !tries.is_empty() => {
                    self.end(&mut tries, ended, &mut report);
                    while let Some(ended) = tries.try_next() {
                        self.end(&mut tries, ended, &mut report);
                    }
                }
                came = async { round.as_mut().expect("there is a round").await }, if round.is_some() => {
                    round = None;
                    match came.expect("a round with the store does not panic, and nobody aborts it") {
                        Ok(Brought { claims, unreadable }) => {
                            look |= claims.len() + unreadable > 0;
                            report.due += claims.len() + unreadable;
                            report.failed += unreadable;
                            for claim in claims {
                                let receiver = claim.delivery.receiver.clone();
                                self.lanes.put(&receiver, claim);
                            }
                        }
                        Err((results, err)) => {
                            self.results.put_back(results);
                            if !tries.is_empty() {
                                warn!("The store failed while deliveries are under way: {err}");
                            }
                            failure = Some(err);
                            look = true;
                        }
                    }
                }
                () = self.woken.notified() => look = true,
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
                _ = tokio::time::timeout(recheck, std::future::pending::<()>()) => {
                    look = true;
                    failure = None;
                    self.tell_recovered();
                }
            }
        }
        let (shut, opens_at) = self.lanes.shut(self.clock.now());
        let due_at = self.store.next_delivery_due_at(&shut).await?;
        self.counters.stand(0, shut.len());
        report.next_due_at = due_at.into_iter().chain(opens_at).min();
        Ok(report)
    }
}

impl Deliver {
    /// Whether the clock was set ahead while Tracker did not run is not known: until it has stayed so for a while, time counts from
    /// what was recorded last.
    async fn compare(&mut self) -> Result<(), store::Error> {
        if !self.begun {
            let newest = self.store.newest().await?;
            self.begun = true;
            let now = self.clock.now();
            if let Some(ahead) = newest.and_then(|at| Duration::try_from(now.duration_since(at)).ok()) {
                self.leaps.doubt(self.clock.as_ref(), ahead);
            }
        }
        self.leaps.ahead(self.clock.as_ref());
        Ok(())
    }

    /// Begins what may begin, and gives back what may not for long.
    fn begin(&mut self, tries: &mut Tries, report: &mut Report) {
        let now = self.clock.now();
        let unwanted = if self.stop.is_cancelled() { self.lanes.take_all() } else { self.lanes.take_shut(now) };
        for claim in unwanted {
            self.give_back(&claim, None);
        }
        // Asking first is an exchange of its own.
        let exchanges = if self.settings.handshake { 2 } else { 1 };
        let deadline = Duration::from_millis(self.settings.deadline_ms) * exchanges;
        while let Some((slot, claim)) = self.lanes.begin(now) {
            // One that waited so long that another may have it before it is sent, or that may not be owed any more: the store
            // knows, and hands out again what is.
            let revoked = self.store.revoked_since(claim.delivery.account, claim.mark);
            if claim.until < now + deadline || revoked {
                self.give_back(&claim, None);
                self.lanes.ended(slot, Sign::Ours, Duration::ZERO, now, 0.0);
                continue;
            }
            self.start(slot, claim, tries, report);
        }
        if tries.is_empty() && self.lanes.queued() > 0 {
            // Nothing will end that could make room for these.
            for claim in self.lanes.take_all() {
                self.give_back(&claim, None);
            }
        }
    }

    fn give_back(&mut self, claim: &Claim, due_at: Option<Timestamp>) {
        let Claim { delivery: Delivery { account, hook, entry, .. }, until, .. } = claim;
        let returned = Returned { account: *account, hook: hook.clone(), seq: entry.seq, until: *until, due_at };
        self.results.returned.push(returned);
    }

    fn tell_recovered(&mut self) {
        let ramping = self.lanes.ramping(self.clock.now());
        let ramping = ramping.map(|(receiver, since)| Recovered { receiver: receiver.clone(), since });
        self.results.recovered.extend(ramping);
    }

    /// One round with the store, if there is something to say or to ask. What is to be recorded goes along.
    fn start_round(&mut self, look: &mut bool) -> Option<JoinHandle<Round>> {
        let now = self.clock.now();
        let wanted = self.lanes.wanted(now);
        let ask = (*look && wanted.limit > 0 && !self.stop.is_cancelled()).then(|| Ask {
            now,
            until: now + Duration::from_millis(self.settings.claim_lease_ms),
            limit: wanted.limit,
            per_receiver: wanted.per_receiver,
            rooms: wanted.rooms,
        });
        if ask.is_none() && self.results.is_empty() {
            return None;
        }
        let results = std::mem::take(&mut self.results);
        // What is recorded makes way for the next of its resource.
        *look = !results.is_empty();
        let (store, hooks) = (self.store.clone(), self.hooks.clone());
        Some(tokio::spawn(round(store, hooks, results, ask, now)))
    }

    fn until_recheck(&self) -> Duration {
        let recheck = Duration::from_millis(self.settings.recheck_ms);
        let now = self.clock.now();
        let opens_at = self.lanes.opens_at(now);
        // What waits for a slot gets that of one that takes long.
        let ages_at = self.lanes.ages_at().filter(|_| self.lanes.queued() > 0);
        let next_at = opens_at.into_iter().chain(ages_at).min();
        let opens_in = next_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        opens_in.map_or(recheck, |opens_in| recheck.min(opens_in)).max(Duration::from_millis(1))
    }

    /// Begins the try of one claimed delivery. What cannot be tried any more is left to its claim's end.
    fn start(&mut self, slot: Slot, claim: Claim, tries: &mut Tries, report: &mut Report) {
        let now = self.clock.now();
        let may = match &claim.target {
            Target::Hook(hook, _) if self.settings.handshake => self.consents.may(&hook.id, hook.version, now),
            _ => May::Send,
        };
        if let May::Wait { until } = may {
            self.give_back(&claim, Some(until));
            self.lanes.ended(slot, Sign::Ours, Duration::ZERO, now, 0.0);
            return;
        }
        let Claim { delivery, target, .. } = claim;
        let Delivery { account, hook: hook_id, merged, entry, attempts, failing_since, created_at, .. } = delivery;
        let (seq, number) = (entry.seq, attempts.saturating_add(1));
        if let Some(Merged { count, .. }) = merged.filter(|_| attempts == 0) {
            self.counters.merged(count);
        }
        let asks = match &target {
            Target::Hook(hook, _) if may == May::Ask => Some(hook.version),
            _ => None,
        };
        let under_way = UnderWay { owed: (account, hook_id.clone(), seq), created_at, failing_since, slot, asks };
        if tries.has(&under_way.owed) {
            // The clock leapt over the lease. The try is still under way and its result counts.
            self.lanes.ended(under_way.slot, Sign::Ours, Duration::ZERO, now, 0.0);
            return;
        }
        let (hook, key) = match target {
            Target::Hook(hook, key) => (hook, key),
            Target::Nobody => {
                debug!(hook.id = %hook_id, change.seq = %seq, "Hook {hook_id} was removed or is not called any more");
                self.lanes.ended(under_way.slot, Sign::Ours, Duration::ZERO, now, 0.0);
                return;
            }
            Target::Unreadable(err) => {
                let error = Some(format!("the hook cannot be read: {err}"));
                let attempt = Attempt { error, ..Attempt::begun(number, now) };
                self.conclude(under_way, attempt, Reply::OwnFault, report);
                return;
            }
        };
        let Callback::Post(url) = hook.callback.clone() else {
            self.lanes.ended(under_way.slot, Sign::Ours, Duration::ZERO, now, 0.0);
            return;
        };
        let span = debug_span!("deliver.attempt", hook.id = %hook_id, change.seq = %seq, attempt = number);
        let (sender, render) = (self.sender.clone(), self.render);
        let rate = self.settings.handshake_rate;
        let attempt = async move {
            let mut consent = None;
            if asks.is_some() {
                match sender.ask(&url, rate, number, now).await {
                    Ok(given) => consent = Some(given),
                    Err((attempt, reply)) => return Came { attempt, reply, consent },
                }
            }
            let told = Told { token: hook.token.as_ref(), base: &hook.base, merged, format: hook.terms.format };
            let body = render(&entry, &key, told).into();
            let (keys, token, format) = (hook.keys.clone(), hook.token.clone(), hook.terms.format);
            let message = Message { url, id: entry.change.id, keys, token, format, body };
            let (attempt, reply) = sender.send(message, number, now).await;
            Came { attempt, reply, consent }
        };
        tries.start(under_way, attempt.instrument(span));
    }

    /// A try ended, with a reply or by a panic.
    fn end(&mut self, tries: &mut Tries, ended: Ended, report: &mut Report) {
        match tries.end(ended) {
            (under_way, Ok(Came { attempt, reply, consent })) => {
                if let Some(version) = under_way.asks {
                    let valid = Duration::from_millis(self.settings.handshake_valid_ms);
                    self.consents.asked(&under_way.owed.1, version, consent, self.clock.now(), valid);
                }
                self.conclude(under_way, attempt, reply, report);
            }
            (under_way, Err(panic)) => {
                // The claim holds until its end, so that a change that cannot be sent does not spin.
                let (_, hook, seq) = &under_way.owed;
                error!(hook.id = %hook, change.seq = %seq, "The try of change {seq} for hook {hook} broke: {panic}");
                report.failed += 1;
                if let Some(version) = under_way.asks {
                    self.consents.asked(hook, version, None, self.clock.now(), Duration::ZERO);
                }
                self.lanes.ended(under_way.slot, Sign::Ours, Duration::ZERO, self.clock.now(), 0.0);
            }
        }
    }

    /// Decides what follows from a reply, tells it, and puts it down to be recorded.
    fn conclude(&mut self, under_way: UnderWay, attempt: Attempt, reply: Reply, report: &mut Report) {
        let UnderWay { owed: (account, hook, seq), created_at, failing_since, slot, asks: _ } = under_way;
        let ended_at = self.clock.now();
        let receiver = slot.receiver().to_owned();
        let roll = self.chance.roll();
        if self.lanes.ended(slot, reply.sign(), attempt.elapsed, ended_at, roll) {
            info!(receiver, "{receiver} works again");
            self.results.recovered.push(Recovered { receiver: receiver.clone(), since: ended_at });
        }
        // Nothing is given up because the clock was set ahead a moment ago.
        let ahead = self.leaps.ahead(self.clock.as_ref());
        let younger = |at: Timestamp| at.checked_add(ahead).map_or(ended_at, |at| at.min(ended_at));
        let standing = Standing {
            attempt: attempt.number,
            created_at: younger(created_at),
            failing_since: failing_since.map(younger),
            ended_at,
        };
        let disabling = |rule, text| {
            let id = ChangeId(self.chance.id("chg", ended_at));
            disabling(&hook, id, ended_at, rule, text)
        };
        let verdict = match self.schedule.next(standing, reply, roll) {
            Next::Delivered => Verdict::Delivered,
            Next::Retry { due_at, not_before } => Verdict::Retry { due_at, not_before },
            Next::Postpone { due_at } => Verdict::Postpone { due_at },
            Next::Exhausted { failing_since: None } => Verdict::Exhausted { disable: None },
            Next::Exhausted { failing_since: Some(since) } => {
                let text = format!("no callback has succeeded since {since:.0}");
                Verdict::Exhausted { disable: Some(disabling("failing", text)) }
            }
            Next::Gone => Verdict::Disable(disabling("gone", "the receiver answered 410 Gone".to_owned())),
        };
        match &verdict {
            Verdict::Delivered => report.done += 1,
            Verdict::Exhausted { .. } => report.exhausted += 1,
            Verdict::Retry { .. } | Verdict::Postpone { .. } | Verdict::Disable(_) => report.failed += 1,
        }
        let lag = Duration::try_from(ended_at.duration_since(created_at)).unwrap_or_default();
        self.counters.tried(&verdict, attempt.elapsed, lag);
        let outcome = Outcome { account, hook, seq, attempt, verdict };
        tell(&outcome, &receiver);
        self.results.outcomes.push(outcome);
    }
}

/// Hands the store what it has not taken yet and takes what is due, and finds out where that goes.
async fn round(
    store: Arc<dyn Store>,
    hooks: Arc<KnownHooks>,
    results: Results,
    ask: Option<Ask>,
    now: Timestamp,
) -> Round {
    // Before it is asked, so that nothing that happens meanwhile is missed.
    let mark = store.mark();
    let claimed = match &ask {
        Some(ask) => store.record_and_claim(&results, ask).await,
        None => store.record(&results, now).await.map(|()| Claimed::default()),
    };
    let Claimed { deliveries, unreadable } = match claimed {
        Ok(claimed) => claimed,
        Err(store::Error::Corrupt { .. }) => {
            // One broken row must not hold up everyone.
            record_one_by_one(store.as_ref(), results, now).await?;
            Claimed::default()
        }
        Err(err) => return Err((results, err)),
    };
    for err in &unreadable {
        error!("a delivery waits until somebody mends its row: {err}");
    }
    // Claims that are lost here lapse.
    let targets = hooks.targets(&deliveries).await.map_err(|err| (Results::default(), err))?;
    let until = ask.map_or(now, |ask| ask.until);
    let claim = |delivery: Delivery| {
        let target = targets.get(&delivery.hook).cloned().unwrap_or(Target::Nobody);
        Claim { delivery, target, until, mark }
    };
    Ok(Brought { claims: deliveries.into_iter().map(claim).collect(), unreadable: unreadable.len() })
}

async fn record_one_by_one(store: &dyn Store, results: Results, now: Timestamp) -> Result<(), (Results, store::Error)> {
    let Results { mut outcomes, returned, recovered } = results;
    while let Some(outcome) = outcomes.pop() {
        let one = Results { outcomes: vec![outcome], ..Results::default() };
        match store.record(&one, now).await {
            Ok(()) => {}
            Err(err @ store::Error::Corrupt { .. }) => {
                let Outcome { hook, seq, .. } = &one.outcomes[0];
                error!(hook.id = %hook, change.seq = %seq, "What became of change {seq} cannot be recorded: {err}");
            }
            Err(err) => {
                outcomes.extend(one.outcomes);
                return Err((Results { outcomes, returned, recovered }, err));
            }
        }
    }
    let rest = Results { outcomes, returned, recovered };
    store.record(&rest, now).await.map_err(|err| (rest, err))
}

/// The line in the log: who, what, and what next. Of the callback only scheme, host and port.
fn tell(outcome: &Outcome, receiver: &str) {
    let Outcome { account, hook, seq, attempt: Attempt { number, elapsed, status, error, .. }, verdict } = outcome;
    let what = error.as_deref().unwrap_or_default();
    macro_rules! say {
        ($level:ident, $($text:tt)+) => {
            $level!(account.id = %account, hook.id = %hook, change.seq = %seq, receiver, attempt = number, status,
                elapsed_ms = elapsed.as_millis(), $($text)+)
        };
    }
    match verdict {
        Verdict::Delivered => say!(info, "Change {seq} delivered to hook {hook}"),
        Verdict::Retry { due_at, .. } => say!(warn, "Hook {hook}: {what}; next try of change {seq} at {due_at}"),
        Verdict::Postpone { due_at } => say!(warn, "Hook {hook} could not be tried: {what}; again at {due_at}"),
        Verdict::Exhausted { disable: None } => {
            say!(warn, "Hook {hook}: {what}; change {seq} is not tried again, and stays in the feed");
        }
        Verdict::Exhausted { disable: Some(Disabling { reason, .. }) } | Verdict::Disable(Disabling { reason, .. }) => {
            say!(warn, "Hook {hook} is disabled: {reason}");
        }
    }
}

impl Tries {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn has(&self, owed: &Owed) -> bool {
        self.owed.contains(owed)
    }

    fn start(&mut self, try_: UnderWay, attempt: impl Future<Output = Came> + Send + 'static) {
        self.owed.insert(try_.owed.clone());
        self.under_way.insert(self.tasks.spawn(attempt).id(), try_);
    }

    async fn next(&mut self) -> Option<Ended> {
        self.tasks.join_next_with_id().await
    }

    fn try_next(&mut self) -> Option<Ended> {
        self.tasks.try_join_next_with_id()
    }

    /// What had ended, and how: with a reply, or by a panic.
    fn end(&mut self, ended: Ended) -> (UnderWay, Result<Came, JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let try_ = self.under_way.remove(&id).expect("every task was put down when it was started");
        self.owed.remove(&try_.owed);
        (try_, ended.map(|(_, came)| came))
    }
}
