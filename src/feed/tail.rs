use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::{Filter, Lost, Settings};
use crate::changes::{Told, fan_out, render};
use crate::model::{AccountId, AccountKey, Entry, Format, Hook, HookId, Seq, Subscriber};
use crate::store::{self, Mark, Store};

/// Who reads, and what of the log is for it.
#[derive(Clone, Debug)]
pub struct Reader {
    pub subscriber: Subscriber,
    /// Only what the subscriber has not got yet; otherwise everything, delivered or not.
    pub undelivered: bool,
    pub filter: Filter,
    /// What hrefs begin with where no hook says it.
    pub base: String,
}

/// A change, for one reader.
pub struct Item {
    pub entry: Arc<Kept>,
    /// The hook of this subscriber that is told of it, if there is one.
    pub hook: Option<Arc<Hook>>,
}

/// A change in memory, with what was written of it lately.
pub struct Kept {
    pub entry: Entry,
    /// About as many as one wording of it has.
    bytes: usize,
    written: Mutex<Vec<Written>>,
}

struct Written {
    hook: Option<(HookId, u64)>,
    base: String,
    text: Bytes,
}

/// Wordings kept of one change. Followers are mostly of one or of a few subscribers.
const WORDINGS_MAX: usize = 4;

/// Part of a log, for one reader.
pub struct Page {
    /// Oldest first.
    pub items: Vec<Arc<Item>>,
    /// Everything up to here was looked at.
    pub through: Seq,
    /// There may be more behind it.
    pub more: bool,
}

/// The end of an account's log.
pub struct Tail {
    store: Arc<dyn Store>,
    account: AccountId,
    key: AccountKey,
    tail_max: usize,
    tail_bytes_max: usize,
    /// For those who wait.
    places: Arc<Semaphore>,
    moved: watch::Receiver<u64>,
    ring: Mutex<Ring>,
    /// One reads the store for all.
    filling: tokio::sync::Mutex<()>,
    hooks: Mutex<Option<(Mark, Arc<Hooks>)>>,
}

type Hooks = HashMap<Subscriber, Vec<Arc<Hook>>>;

/// Changes without a hole in between.
#[derive(Default)]
struct Ring {
    kept: VecDeque<Arc<Kept>>,
    /// All that was recorded when the store said this is in here, or before it.
    filled: Option<u64>,
}

impl Ring {
    fn first(&self) -> Option<Seq> {
        self.kept.front().map(|kept| kept.entry.seq)
    }

    fn last(&self) -> Option<Seq> {
        self.kept.back().map(|kept| kept.entry.seq)
    }

    /// What comes after a place; `None`: this cannot tell.
    fn after(&self, place: Seq, limit: usize, moved: u64) -> Option<Vec<Arc<Kept>>> {
        let (first, last) = (self.first()?, self.last()?);
        if place.0 + 1 < first.0 || (place >= last && self.filled.is_none_or(|filled| filled < moved)) {
            return None;
        }
        let skip = usize::try_from(place.0 + 1 - first.0).unwrap_or(usize::MAX).min(self.kept.len());
        Some(self.kept.range(skip..).take(limit).cloned().collect())
    }
}

impl Ring {
    /// The oldest go. The newest stays, as by it the ring knows where it ends.
    fn shed(&mut self, max: usize, bytes_max: usize) {
        let excess = self.kept.len().saturating_sub(max);
        self.kept.drain(..excess);
        let mut bytes: usize = self.kept.iter().map(|kept| kept.bytes).sum();
        while bytes > bytes_max && self.kept.len() > 1 {
            bytes -= self.kept.pop_front().map_or(0, |kept| kept.bytes);
        }
    }
}

/// Read from the store at once.
pub(super) const CHUNK: usize = 1_000;

impl Tail {
    pub(super) fn new(store: Arc<dyn Store>, account: AccountId, key: AccountKey, settings: &Settings) -> Self {
        let moved = store.follow(account);
        Self {
            store,
            account,
            key,
            tail_max: settings.tail_max,
            tail_bytes_max: settings.tail_bytes_max,
            places: Arc::new(Semaphore::new(settings.followers_per_account_max.min(Semaphore::MAX_PERMITS))),
            moved,
            ring: Mutex::default(),
            filling: tokio::sync::Mutex::default(),
            hooks: Mutex::default(),
        }
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    pub(super) fn places(&self) -> Arc<Semaphore> {
        self.places.clone()
    }

    /// Changes when there may be something new.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.clone()
    }

    /// What comes after a place for this reader: at most `limit`, of at most about `scan_max` looked at.
    ///
    /// # Errors
    /// The store's, and [`Lost::Pruned`].
    pub async fn page(&self, reader: &Reader, place: Seq, limit: usize, scan_max: usize) -> Result<Page, Lost> {
        if reader.undelivered && !reader.filter.is_none() {
            return self.undelivered_that_fits(reader, place, limit, scan_max).await;
        }
        let mut page = Page { items: Vec::new(), through: place, more: true };
        let mut looked_at = 0;
        while page.more && page.items.len() < limit && looked_at < scan_max {
            let chunk = if reader.filter.is_none() { limit - page.items.len() } else { CHUNK };
            let chunk = chunk.min(scan_max - looked_at).clamp(1, CHUNK);
            let (found, end) = if reader.undelivered {
                self.undelivered(reader, page.through, chunk).await?
            } else {
                self.log(reader, page.through, chunk).await?
            };
            looked_at += found.len();
            page.more = found.len() == chunk;
            for item in found {
                if page.items.len() == limit {
                    page.more = true;
                    break;
                }
                page.through = item.entry.entry.seq;
                if reader.filter.fits(&item.entry.entry.change) {
                    page.items.push(Arc::new(item));
                }
            }
            if let Some(end) = end.filter(|_| !page.more) {
                page.through = page.through.max(end);
            }
        }
        Ok(page)
    }

    /// The store looks for them: what is owed and does not fit may be very much.
    async fn undelivered_that_fits(
        &self,
        reader: &Reader,
        place: Seq,
        limit: usize,
        scan_max: usize,
    ) -> Result<Page, Lost> {
        // Asked first, as in `undelivered`.
        let (_, last) = self.store.log_bounds(self.account).await?;
        let which = reader.filter.which(place, None, limit, scan_max.max(1));
        let found = self.store.undelivered_of(self.account, &reader.subscriber, &which).await?;
        let seen = found.owed.last().map_or(place, |(entry, _)| entry.seq);
        let fitting: Vec<_> = found.owed.into_iter().filter(|(entry, _)| reader.filter.fits(&entry.change)).collect();
        Ok(Page {
            items: self.items(reader, fitting).await?.into_iter().map(Arc::new).collect(),
            through: found.looked.unwrap_or(last).max(seen),
            more: found.looked.is_some(),
        })
    }

    async fn log(&self, reader: &Reader, place: Seq, limit: usize) -> Result<(Vec<Item>, Option<Seq>), Lost> {
        let kept = self.after(place, limit).await?;
        if kept.first().is_some_and(|kept| kept.entry.seq.0 != place.0 + 1) {
            return Err(Lost::Pruned(place));
        }
        let hooks = if kept.is_empty() { Arc::default() } else { self.hooks().await? };
        let own: &[Arc<Hook>] = hooks.get(&reader.subscriber).map_or(&[], Vec::as_slice);
        let item = |entry: Arc<Kept>| {
            let change = &entry.entry.change;
            let told = own.iter().find(|hook| {
                !fan_out(&change.subject, change.news.kind(), std::slice::from_ref(hook.as_ref())).is_empty()
            });
            Item { hook: told.cloned(), entry }
        };
        Ok((kept.into_iter().map(item).collect(), None))
    }

    /// Also where the log ended before: up to there the reader has everything.
    async fn undelivered(&self, reader: &Reader, place: Seq, limit: usize) -> Result<(Vec<Item>, Option<Seq>), Lost> {
        // Asked first: what is recorded between the two is beyond the place that is named, and comes again.
        let (_, last) = self.store.log_bounds(self.account).await?;
        let owed = self.store.undelivered(self.account, &reader.subscriber, place, limit).await?;
        Ok((self.items(reader, owed).await?, Some(last)))
    }

    async fn items(&self, reader: &Reader, owed: Vec<(Entry, HookId)>) -> Result<Vec<Item>, store::Error> {
        let hooks = if owed.is_empty() { Arc::default() } else { self.hooks().await? };
        let own: &[Arc<Hook>] = hooks.get(&reader.subscriber).map_or(&[], Vec::as_slice);
        let item = |(entry, id): (Entry, HookId)| Item {
            hook: own.iter().find(|hook| hook.id == id).cloned(),
            entry: Arc::new(Kept::new(entry)),
        };
        Ok(owed.into_iter().map(item).collect())
    }

    /// The log after a place, from memory where that has it.
    async fn after(&self, place: Seq, limit: usize) -> Result<Vec<Arc<Kept>>, store::Error> {
        let moved = *self.moved.borrow();
        if let Some(kept) = self.ring().after(place, limit, moved) {
            return Ok(kept);
        }
        let turn = self.filling.lock().await;
        let moved = *self.moved.borrow();
        if let Some(kept) = self.ring().after(place, limit, moved) {
            return Ok(kept);
        }
        // One that is far behind reads for itself, and takes the ring from nobody.
        if self.ring().last().is_some_and(|last| place < last) {
            drop(turn);
            let entries = self.store.log_after(self.account, place, limit).await?;
            return Ok(entries.into_iter().map(|entry| Arc::new(Kept::new(entry))).collect());
        }
        let entries = self.store.log_after(self.account, place, CHUNK).await?;
        let whole = entries.len() < CHUNK;
        let mut ring = self.ring();
        // What would leave a hole begins it anew: what came between was pruned, or nobody has read it. Also when nothing came:
        // the ring would say that nothing is behind its end.
        let follows = |seq: Seq| ring.last().is_some_and(|last| seq.0 == last.0 + 1);
        let next = entries.first().map_or(Seq(place.0 + 1), |entry| entry.seq);
        if !follows(next) {
            ring.kept.clear();
            ring.filled = None;
        }
        ring.kept.extend(entries.into_iter().map(|entry| Arc::new(Kept::new(entry))));
        if whole {
            ring.filled = Some(moved);
        }
        let found = match ring.after(place, limit, moved) {
            Some(found) => found,
            None => ring.kept.iter().filter(|kept| kept.entry.seq > place).take(limit).cloned().collect(),
        };
        ring.shed(self.tail_max, self.tail_bytes_max);
        Ok(found)
    }

    /// The account's hooks, read again when one was set or removed since.
    async fn hooks(&self) -> Result<Arc<Hooks>, store::Error> {
        let kept = self.hooks.lock().expect("nobody panics while holding the hooks").clone();
        if let Some((mark, hooks)) = kept
            && !self.store.revoked_since(self.account, mark)
        {
            return Ok(hooks);
        }
        let mark = self.store.mark();
        let mut hooks = Hooks::new();
        for hook in self.store.hooks(self.account).await? {
            hooks.entry(hook.subscriber.clone()).or_default().push(Arc::new(hook));
        }
        let hooks = Arc::new(hooks);
        *self.hooks.lock().expect("nobody panics while holding the hooks") = Some((mark, hooks.clone()));
        Ok(hooks)
    }

    /// The change as this reader is told it: the same bytes that a callback has.
    pub fn text(&self, item: &Item, reader: &Reader) -> Bytes {
        item.entry.text(&self.key, item.hook.as_deref(), &reader.base)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("nobody panics while holding the ring")
    }
}

impl Kept {
    fn new(entry: Entry) -> Self {
        Self { bytes: size(&entry), entry, written: Mutex::default() }
    }

    fn text(&self, key: &AccountKey, hook: Option<&Hook>, base: &str) -> Bytes {
        let base = hook.map_or(base, |hook| hook.base.as_str());
        // Without a token all hooks tell it alike.
        let teller = hook.filter(|hook| hook.token.is_some()).map(|hook| (hook.id.clone(), hook.version));
        let mut written = self.written.lock().expect("nobody panics while holding what was written");
        if let Some(known) = written.iter().find(|known| known.hook == teller && known.base == base) {
            return known.text.clone();
        }
        let told =
            Told { token: hook.and_then(|hook| hook.token.as_ref()), base, merged: None, format: Format::Changes };
        let text = Bytes::from(render(&self.entry, key, told));
        if written.len() < WORDINGS_MAX {
            written.push(Written { hook: teller, base: base.to_owned(), text: text.clone() });
        }
        text
    }
}

/// What of a change may be long.
fn size(entry: &Entry) -> usize {
    let subject = &entry.change.subject;
    let texts = [Some(&subject.id), subject.name.as_ref(), subject.realm.as_ref()];
    let said = serde_json::to_vec(&entry.change.news).map_or(0, |text| text.len());
    FRAME_BYTES + said + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// What every change has.
const FRAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Change, ChangeId, Collection, News, Observed, RealmState, Subject};

    fn kept(seq: u64) -> Arc<Kept> {
        let news = News::RealmAppeared { to: RealmState::Available, to_native: "up".to_owned() };
        let subject = Subject {
            collection: Collection::Realms.into(),
            id: "eu".to_owned(),
            revision: seq,
            name: None,
            realm: None,
        };
        let observed = Observed { before: None, at: Timestamp::UNIX_EPOCH };
        let change = Change { id: ChangeId(format!("chg_{seq}")), at: Timestamp::UNIX_EPOCH, subject, observed, news };
        Arc::new(Kept::new(Entry { seq: Seq(seq), change }))
    }

    #[test]
    fn a_ring_keeps_no_more_than_it_may() {
        let check = |max: usize, bytes_max: usize, expected: &[u64]| {
            let mut ring = Ring { kept: (5..=9).map(kept).collect(), filled: Some(3) };
            ring.shed(max, bytes_max);
            assert_eq!(ring.kept.iter().map(|kept| kept.entry.seq.0).collect::<Vec<_>>(), expected);
        };
        let one = kept(5).bytes;
        assert!((FRAME_BYTES..2 * FRAME_BYTES).contains(&one), "{one}");
        check(9, 9 * one, &[5, 6, 7, 8, 9]);
        check(2, 9 * one, &[8, 9]);
        check(9, 3 * one, &[7, 8, 9]);
        check(9, 1, &[9]);
    }

    #[test]
    fn a_ring_answers_for_what_it_holds_and_for_nothing_else() {
        let ring = Ring { kept: (5..=7).map(kept).collect(), filled: Some(3) };
        let check = |place: u64, limit: usize, moved: u64, found: Option<&[u64]>| {
            let after = ring.after(Seq(place), limit, moved);
            let after = after.map(|kept| kept.iter().map(|kept| kept.entry.seq.0).collect::<Vec<_>>());
            assert_eq!(after.as_deref(), found, "after {place}");
        };
        check(3, 9, 3, None);
        check(4, 9, 3, Some(&[5, 6, 7]));
        check(4, 2, 9, Some(&[5, 6]));
        check(6, 9, 9, Some(&[7]));
        check(7, 9, 3, Some(&[]));
        check(7, 9, 4, None);
        check(8, 9, 3, Some(&[]));
        assert!(Ring::default().after(Seq(0), 1, 0).is_none());
    }
}
