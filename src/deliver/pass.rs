use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{Instrument as _, debug, debug_span, error, info, warn};

use super::schedule::{Reply, Schedule, Standing};
use super::send::{Message, Sender};
use super::settings::Settings;
use super::slots::Slots;
use crate::chance::Chance;
use crate::changes::Told;
use crate::clock::Clock;
use crate::model::{AccountId, AccountKey, Attempt, Callback, Delivery, Entry, Hook, HookId, Outcome, Seq, Verdict};
use crate::outbound::Outbound;
use crate::store::{self, Claimed, Store};
use crate::tasks::{Pass, Report};

/// Writes the body that is posted: the change, its account, and what of it is this hook's own.
pub type Render = fn(&Entry, &AccountKey, Told<'_>) -> Vec<u8>;

/// `deliver.pass`: sends what is due until nothing is due and nothing under way.
///
/// It goes on claiming while tries are under way, so that a receiver that hangs holds up nobody else; a pass can therefore
/// last as long as there is something to send. Cut short, it loses nothing: claims lapse, and what was sent but not
/// recorded is recorded by the next pass or, after a crash, sent again.
pub struct Deliver {
    store: Arc<dyn Store>,
    sender: Sender,
    schedule: Schedule,
    settings: Settings,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    woken: Arc<Notify>,
    render: Render,
    /// Accounts' keys, which never change.
    accounts: HashMap<AccountId, AccountKey>,
    /// Hooks that cannot be read and were complained of.
    unreadable: HashSet<HookId>,
    /// Outcomes the store has not taken yet.
    unrecorded: Vec<Outcome>,
}

/// Names one delivery.
type Owed = (AccountId, HookId, Seq);

/// The tries of one pass.
struct Tries {
    slots: Slots,
    tasks: JoinSet<(Attempt, Reply)>,
    under_way: HashMap<Id, UnderWay>,
    /// The same, to be asked by name.
    owed: HashSet<Owed>,
}

struct UnderWay {
    owed: Owed,
    created_at: Timestamp,
    receiver: String,
}

/// Entries kept in `accounts` and `unreadable`; beyond that they are forgotten and learnt again.
const REMEMBERED_MAX: usize = 10_000;

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
            store,
            sender: Sender::new(outbound, settings.bounds(), settings.answer_bytes_kept),
            schedule: settings.schedule(),
            settings,
            clock,
            chance,
            woken,
            render,
            accounts: HashMap::new(),
            unreadable: HashSet::new(),
            unrecorded: vec![],
        }
    }
}

#[async_trait]
impl Pass for Deliver {
    fn name(&self) -> &'static str {
        "deliver.pass"
    }

    async fn pass(&mut self, _now: Timestamp) -> Result<Report, Box<dyn StdError + Send + Sync>> {
        let mut report = Report::default();
        let mut tries = Tries::new(&self.settings);
        let mut complained = false;
        loop {
            let claimed = match self.record_and_claim(&mut tries, &mut report).await {
                Ok(claimed) => claimed,
                Err(err) if tries.tasks.is_empty() => return Err(err.into()),
                Err(err) => {
                    // What is under way is let finish, and then or at the next recheck the store is asked again.
                    if !complained {
                        warn!("The store failed while deliveries are under way: {err}");
                    }
                    complained = true;
                    0
                }
            };
            if claimed > 0 {
                continue;
            }
            if tries.tasks.is_empty() {
                report.next_due_at = self.store.next_delivery_due_at().await?;
                return Ok(report);
            }
            self.wait(&mut tries, &mut report).await;
        }
    }
}

impl Deliver {
    /// One round with the store: results in, work out. How much was claimed.
    async fn record_and_claim(&mut self, tries: &mut Tries, report: &mut Report) -> Result<usize, store::Error> {
        self.record().await?;
        let ask = tries.slots.ask();
        if ask.limit == 0 {
            return Ok(0);
        }
        let now = self.clock.now();
        let until = now + Duration::from_millis(self.settings.claim_lease_ms);
        let Claimed { deliveries, unreadable } =
            self.store.claim(now, until, ask.limit, ask.per_receiver, &ask.full).await?;
        report.due += deliveries.len() + unreadable.len();
        report.failed += unreadable.len();
        for err in unreadable {
            error!("a delivery waits until somebody mends its row: {err}");
        }
        let count = deliveries.len();
        // Kept for this claim only: the next one sees new keys and callbacks.
        let mut hooks = HashMap::new();
        let mut failed = None;
        for delivery in deliveries {
            // One that cannot be started waits out its claim; the others need not.
            if let Err(err) = self.start(delivery, &mut hooks, tries, report).await {
                failed.get_or_insert(err);
            }
        }
        failed.map_or(Ok(count), Err)
    }

    /// Hands the store what it has not taken yet, all at once. If one outcome meets a row that makes no sense, the others are
    /// recorded without it: one broken row must not hold up everyone.
    async fn record(&mut self) -> Result<(), store::Error> {
        if self.unrecorded.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        match self.store.record(&self.unrecorded, now).await {
            Err(store::Error::Corrupt { .. }) => {}
            recorded => {
                recorded?;
                self.unrecorded.clear();
                return Ok(());
            }
        }
        while let Some(outcome) = self.unrecorded.last() {
            match self.store.record(std::slice::from_ref(outcome), now).await {
                Err(err @ store::Error::Corrupt { .. }) => {
                    let Outcome { hook, seq, .. } = outcome;
                    error!(hook.id = %hook, change.seq = %seq, "What became of change {seq} cannot be recorded: {err}");
                }
                recorded => recorded?,
            }
            self.unrecorded.pop();
        }
        Ok(())
    }

    /// Begins the try of one claimed delivery. What cannot be tried any more is left to its claim's end.
    async fn start(
        &mut self,
        delivery: Delivery,
        hooks: &mut HashMap<HookId, Option<Arc<Hook>>>,
        tries: &mut Tries,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let Delivery { account, hook: hook_id, hook_version: _, receiver: _, merged, entry, attempts, created_at } =
            delivery;
        let owed = (account, hook_id.clone(), entry.seq);
        if tries.owed.contains(&owed) {
            // The clock leapt over the lease. The try is still under way and its result counts.
            return Ok(());
        }
        let number = attempts.saturating_add(1);
        let loaded = self.load(account, &hook_id, hooks).await;
        let (hook, key) = match loaded {
            Ok(Some(found)) => found,
            Ok(None) => {
                debug!(hook.id = %hook_id, change.seq = %entry.seq, "Hook {hook_id} was removed or is not called any more");
                return Ok(());
            }
            Err(err @ (store::Error::Corrupt { .. } | store::Error::KeyRing(_))) => {
                self.complain(&hook_id, &err);
                let at = self.clock.now();
                let error = Some(format!("the hook cannot be read: {err}"));
                let attempt =
                    Attempt { number, at, elapsed: Duration::ZERO, status: None, error, answer: String::new() };
                let under_way = UnderWay { owed, created_at, receiver: String::new() };
                self.conclude(under_way, attempt, Reply::OwnFault, report);
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        let Callback::Post(url) = hook.callback.clone() else { return Ok(()) };
        let receiver = hook.receiver().unwrap_or_default();
        let span = debug_span!("deliver.attempt", hook.id = %hook_id, change.seq = %entry.seq, attempt = number);
        let (sender, render, at) = (self.sender.clone(), self.render, self.clock.now());
        let attempt = async move {
            let told = Told { token: hook.token.as_ref(), base: &hook.base, merged, format: hook.terms.format };
            let body = render(&entry, &key, told).into();
            let (keys, token, format) = (hook.keys.clone(), hook.token.clone(), hook.terms.format);
            sender.send(Message { url, id: entry.change.id, keys, token, format, body }, number, at).await
        };
        tries.start(UnderWay { owed, created_at, receiver }, attempt.instrument(span));
        Ok(())
    }

    /// The hook as it is now and its account's key; `None` when there is nothing to call any more.
    async fn load(
        &mut self,
        account: AccountId,
        id: &HookId,
        hooks: &mut HashMap<HookId, Option<Arc<Hook>>>,
    ) -> Result<Option<(Arc<Hook>, AccountKey)>, store::Error> {
        let hook = match hooks.get(id) {
            Some(hook) => hook.clone(),
            None => {
                let hook = self.store.hook_by_id(account, id).await?;
                self.unreadable.remove(id);
                let hook = hook.filter(|hook| hook.disabled.is_none()).map(Arc::new);
                hooks.insert(id.clone(), hook.clone());
                hook
            }
        };
        let Some(hook) = hook else { return Ok(None) };
        let key = match self.accounts.get(&account) {
            Some(key) => key.clone(),
            None => {
                let Some(found) = self.store.account(account).await? else { return Ok(None) };
                if self.accounts.len() >= REMEMBERED_MAX {
                    self.accounts.clear();
                }
                self.accounts.insert(account, found.key.clone());
                found.key
            }
        };
        Ok(Some((hook, key)))
    }

    fn complain(&mut self, hook: &HookId, err: &store::Error) {
        if self.unreadable.len() >= REMEMBERED_MAX {
            self.unreadable.clear();
        }
        if self.unreadable.insert(hook.clone()) {
            error!(hook.id = %hook, "Hook {hook} cannot be read, so what it is owed waits: {err}");
        }
    }

    /// Until a try ends, something new may be due, or it is time to look again. Takes in all that ended.
    async fn wait(&mut self, tries: &mut Tries, report: &mut Report) {
        let first = async {
            tokio::select! {
                ended = tries.tasks.join_next_with_id() => ended,
                () = self.woken.notified() => None,
            }
        };
        let recheck = Duration::from_millis(self.settings.recheck_ms);
        let mut ended = tokio::time::timeout(recheck, first).await.ok().flatten();
        while let Some(result) = ended {
            match tries.end(result) {
                Ok((under_way, (attempt, reply))) => self.conclude(under_way, attempt, reply, report),
                Err((under_way, panic)) => {
                    // The claim holds until its end, so that a change that cannot be sent does not spin.
                    let (_, hook, seq) = &under_way.owed;
                    error!(hook.id = %hook, change.seq = %seq, "The try of change {seq} for hook {hook} broke: {panic}");
                    report.failed += 1;
                }
            }
            ended = tries.tasks.try_join_next_with_id();
        }
    }

    /// Decides what follows from a reply, tells it, and puts it down to be recorded.
    fn conclude(&mut self, under_way: UnderWay, attempt: Attempt, reply: Reply, report: &mut Report) {
        let UnderWay { owed: (account, hook, seq), created_at, receiver } = under_way;
        let standing = Standing { attempt: attempt.number, created_at, ended_at: self.clock.now() };
        let verdict = self.schedule.verdict(standing, reply, self.chance.roll());
        match &verdict {
            Verdict::Delivered => report.done += 1,
            Verdict::Exhausted => report.exhausted += 1,
            Verdict::Retry { .. } | Verdict::Postpone { .. } | Verdict::Disable { .. } => report.failed += 1,
        }
        let outcome = Outcome { account, hook, seq, attempt, verdict };
        tell(&outcome, &receiver);
        self.unrecorded.push(outcome);
    }
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
        Verdict::Exhausted => say!(warn, "Hook {hook}: {what}; change {seq} is not tried again, and stays in the feed"),
        Verdict::Disable { reason } => say!(warn, "Hook {hook} is disabled: {reason}"),
    }
}

impl Tries {
    fn new(settings: &Settings) -> Self {
        Self {
            slots: Slots::new(settings.in_flight, settings.in_flight_per_receiver, settings.claim_max),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            owed: HashSet::new(),
        }
    }

    fn start(&mut self, try_: UnderWay, attempt: impl Future<Output = (Attempt, Reply)> + Send + 'static) {
        self.slots.take(&try_.receiver);
        self.owed.insert(try_.owed.clone());
        self.under_way.insert(self.tasks.spawn(attempt).id(), try_);
    }

    /// What had ended, and how: with a reply, or by a panic.
    fn end(
        &mut self,
        result: Result<(Id, (Attempt, Reply)), JoinError>,
    ) -> Result<(UnderWay, (Attempt, Reply)), (UnderWay, JoinError)> {
        let id = result.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let ended = self.under_way.remove(&id).expect("every task was put down when it was started");
        self.slots.give_back(&ended.receiver);
        self.owed.remove(&ended.owed);
        match result {
            Ok((_, came)) => Ok((ended, came)),
            Err(panic) => Err((ended, panic)),
        }
    }
}
