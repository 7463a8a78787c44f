//! What an answer says is compared with what is known, and written with all that follows from it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::answer::{Answer, Extent};
use super::gap;
use super::judge::{self, Weighed};
use super::look::{CONTENDED_WRITES, Error, Observer};
use super::order::{self, Sifted};
use super::stuck;
use super::whose;
use crate::changes::fan_out;
use crate::diff::{self, Found};
use crate::drivers::{Abilities, Driver};
use crate::model::{Account, AccountId, Change, ChangeId, Entry, Known, Seq};
use crate::store::{self, Commit, NewChange};
use crate::tasks;

/// What came of an answer.
pub(super) struct Kept {
    /// Where something in it is in doubt, what is known instead.
    pub(super) answer: Answer,
    /// The last change of the account that this takes into account.
    pub(super) through: Seq,
    /// See [`super::Seen::whole`].
    pub(super) whole: bool,
    /// See [`super::Seen::hot`].
    pub(super) hot: bool,
}

/// An answer, and what it comes to beside what is known.
pub(super) struct Outcome {
    pub(super) known: Known,
    pub(super) answer: Answer,
    pub(super) found: Found,
    /// When it was taken, if it is complete.
    pub(super) complete_at: Option<Timestamp>,
    pub(super) abilities: Abilities,
}

impl Observer {
    /// Writes what an answer says, compared with what was known before it was asked for. Whoever wrote meanwhile is heard:
    /// then it is compared anew. `None`: what it says is not newer than what they saw, so it must be asked for again. `lists`: a look that
    /// is a list, so that who is not in it is missing.
    ///
    /// # Errors
    /// [`Error::Driver`]: it may be another account's answer. Nothing of it is kept.
    pub(super) async fn keep(
        &self,
        account: &Account,
        driver: &dyn Driver,
        mut known: Known,
        mut answer: Answer,
        lists: bool,
    ) -> Result<Option<Kept>, Error> {
        let (collection, abilities) = (known.collection, driver.abilities());
        let mut same = false;
        for turn in 0..CONTENDED_WRITES {
            judge::publish(answer.members_mut(), &known);
            let Sifted { agreed, doubts } = self.sift(account.id, &known, &mut answer, abilities);
            let at = answer.answered_at();
            stuck::follow(answer.members_mut(), &known, at, &self.settings);
            let (mut found, complete_at) = answer.compare(&known, &self.rules);
            if turn > 0 && found.may_be_late(&known, answer.asked_at()) {
                return Ok(None);
            }
            let unseen = lists && !answer.is_whole(&known, &found);
            if !same && whose::is_doubtful(&known, &found, unseen) {
                self.still_the_same(account, driver).await?;
                same = true;
            }
            found.seen_before(&agreed);
            self.date(account.id, &known, &answer, &mut found, abilities);
            self.memories.unit(account.id, collection, |memory| memory.search.tell(&known, &mut found));
            stuck::tell(&known, &mut found, at);
            self.telling(account.id, &found, &known, abilities);
            let whole = answer.is_whole(&known, &found);
            let hot = doubts || found.begins_to_settle(&known);
            let outcome = Outcome { known, answer, found, complete_at, abilities: abilities.clone() };
            // A client that hangs up meanwhile must leave nothing that was written untold, nor unjudged.
            let (this, for_account) = (self.clone(), account.clone());
            let concluded = tasks::to_the_end(async move { this.conclude(&for_account, outcome).await });
            let (back, through) = concluded.await?;
            answer = back;
            match through {
                Some(through) => return Ok(Some(Kept { answer, through, whole, hot })),
                None => known = self.known(account.id, collection).await?,
            }
        }
        Ok(None)
    }

    /// See [`order`].
    fn sift(&self, account: AccountId, known: &Known, answer: &mut Answer, abilities: &Abilities) -> Sifted {
        if !abilities.may_lag {
            return Sifted::default();
        }
        let rules = order::Rules::new(abilities.machine, &self.settings);
        let asked_at = answer.asked_at();
        let members = answer.members_mut();
        let dated_back = order::dated_back(known, members);
        self.memories
            .unit(account, known.collection, |memory| memory.order.sift(known, members, dated_back, asked_at, rules))
    }

    /// Where lists say only what changed, they say nothing of when the others were there, nor are they believed to have shown all that
    /// is new: that is dated by the last list in full, and by the provider's own word.
    fn date(&self, account: AccountId, known: &Known, answer: &Answer, found: &mut Found, abilities: &Abilities) {
        if !abilities.lists_changes || !matches!(answer, Answer::List(..)) {
            return;
        }
        let lists = self.memories.unit(account, known.collection, |memory| memory.lists);
        // A list in full comes no less often than that.
        let every = Duration::from_millis(self.settings.full_every_ms);
        let full = lists.full.or_else(|| known.observed_at?.checked_sub(every).ok());
        if let Some(full) = full {
            found.unseen_since(known, full);
        }
        found.made_before();
    }

    /// Remembers what is told before it is: whoever reads it and looks again must not find it unheard of. That it may come to be told
    /// otherwise does no harm.
    fn telling(&self, account: AccountId, found: &Found, known: &Known, abilities: &Abilities) {
        if abilities.may_lag && !found.news.is_empty() {
            let rules = order::Rules::new(abilities.machine, &self.settings);
            self.memories.unit(account, known.collection, |memory| memory.order.telling(&found.news, rules));
        }
    }

    /// Writes an outcome and has it judged. Answers with the last change recorded of the account by then; `None` when somebody else
    /// wrote since `known` was read.
    pub(super) async fn conclude(
        &self,
        account: &Account,
        outcome: Outcome,
    ) -> Result<(Answer, Option<Seq>), store::Error> {
        let Outcome { known, answer, found, complete_at, abilities } = outcome;
        let is_news = complete_at.is_some() || found != Found::default();
        let (gone, same_rows) = (found.removed.clone(), found.upserts.is_empty() && found.removed.is_empty());
        let through =
            if is_news { self.commit(account, &known, found, complete_at).await? } else { Some(known.through) };
        if through.is_some() {
            if let Answer::List(sample, extent) = &answer {
                // What its first page showed may have ended while the last one was read.
                let (at, full) = (sample.asked_at, *extent == Extent::All);
                self.memories.unit(account.id, known.collection, |memory| memory.lists.taken(at, full));
            }
            self.weigh_answer(account, &known, &answer, &gone, &abilities).await;
            if same_rows {
                let version = known.version + i64::from(is_news);
                self.knowns.give(account.id, Known { version, ..known }, self.clock.now());
            }
        }
        Ok((answer, through))
    }

    /// What was seen is recorded by now; what it says of realms is recorded next, or with what is heard next.
    async fn weigh_answer(
        &self,
        account: &Account,
        known: &Known,
        answer: &Answer,
        gone: &[String],
        abilities: &Abilities,
    ) {
        let (members, at, complete) = match answer {
            Answer::List(sample, _) => (&sample.members, sample.answered_at, true),
            Answer::Look(look) => (&look.found, look.answered_at, false),
        };
        let weighed = Weighed { known, members, gone, at, complete, abilities };
        if let Err(err) = self.weigh(account, weighed).await {
            warn!(account.id = %account.id, "what a look says of realms could not be recorded yet: {err}");
        }
    }

    /// Writes what was found, the news with ids and with who is told, and tells those who wait for it. Answers with the last change
    /// recorded by then; `None` when somebody else wrote since `known` was read. A hook set meanwhile is such a write, so
    /// none is overlooked. To be brought to its end.
    pub(super) async fn commit(
        &self,
        account: &Account,
        known: &Known,
        found: Found,
        observed_at: Option<Timestamp>,
    ) -> Result<Option<Seq>, store::Error> {
        let now = self.clock.now();
        let gap = self.gap(account.id, known, observed_at).await?;
        let news: Vec<_> = gap.into_iter().chain(found.news).collect();
        let hooks = if news.is_empty() { Vec::new() } else { self.store.hooks(account.id).await? };
        let changes = news.into_iter().map(|told| NewChange {
            told: fan_out(&told.subject, told.news.kind(), &hooks),
            change: Change {
                id: ChangeId(self.chance.id("chg", now)),
                at: now,
                subject: told.subject,
                observed: told.observed,
                news: told.news,
            },
        });
        let commit = Commit {
            judgements: vec![],
            account: account.id,
            collection: known.collection,
            version: known.version,
            observed_at,
            upserts: found.upserts,
            removed: found.removed,
            changes: changes.collect(),
            now,
        };
        let changes = match self.store.commit_sample(&commit).await {
            Ok(changes) => {
                if observed_at.is_some() {
                    let now = self.clock.steady();
                    self.memories.unit(account.id, known.collection, |memory| memory.complete_at = Some(now));
                }
                changes
            }
            Err(store::Error::Conflict) => return Ok(None),
            Err(err) => return Err(err),
        };
        // Whoever is told of a change and asks then must not be shown what was before it.
        if !changes.is_empty() {
            self.reads.account_moved(&account.key);
            let own = changes.iter().filter(|entry| entry.change.subject.collection == commit.collection.into());
            let ids = own.map(|entry| entry.change.subject.id.clone());
            self.memories.unit(commit.account, commit.collection, |memory| memory.moved(ids));
        }
        self.tell(commit.account, &changes);
        Ok(Some(changes.last().map_or(known.through, |entry| entry.seq)))
    }

    /// What is to be said of the time since the complete look before this one. Read apart from `known`: were it of another
    /// moment, so would be the version, and a commit decided on it is refused.
    async fn gap(
        &self,
        account: AccountId,
        known: &Known,
        looked_at: Option<Timestamp>,
    ) -> Result<Option<diff::Told>, store::Error> {
        let collection = known.collection;
        let (Some(before), Some(at)) = (known.observed_at, looked_at) else { return Ok(None) };
        let complete = self.memories.unit(account, collection, |memory| memory.complete_at);
        let passed = complete.map(|then| self.clock.steady().saturating_sub(then));
        let span = gap::Span { before, at, passed };
        if !span.is_long(Duration::from_millis(self.settings.gap_ms(collection))) {
            return Ok(None);
        }
        let ended_after = at - Duration::from_millis(self.settings.linger_ms);
        let watch = self.store.watch(account, collection, ended_after).await?;
        Ok(watch.and_then(|watch| gap::gap(span, collection, &watch, &self.settings)))
    }

    pub(super) fn tell(&self, account: AccountId, changes: &[Entry]) {
        for Entry { seq, change } in changes {
            info!(
                account.id = %account, change.seq = %seq, change.id = %change.id, change.type = change.news.kind(),
                resource.collection = %change.subject.collection, resource.id = change.subject.id,
                "{} {} {}", change.subject.collection, change.subject.id, change.news,
            );
        }
        if !changes.is_empty() {
            self.hints.found(account, changes, self.clock.now());
            self.deliver.notify_one();
        }
    }
}
