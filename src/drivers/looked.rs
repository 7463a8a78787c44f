//! A look at some ids, where a backend is asked for each by itself.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};

use super::{Error, Kind};

/// What came of a look at some ids. One that is neither found nor unanswered is one that the backend, answering well, did not have.
#[derive(Clone, Debug)]
pub struct Looked<T> {
    pub found: Vec<T>,
    /// Ids of which the backend said nothing, and why: nothing is known of them.
    pub unanswered: BTreeMap<String, Error>,
}

impl<T> Looked<T> {
    pub fn all(found: Vec<T>) -> Self {
        Self { found, unanswered: BTreeMap::new() }
    }

    /// Nothing was said of any.
    pub(super) fn none(ids: impl IntoIterator<Item = String>, error: &Error) -> Self {
        Self { found: Vec::new(), unanswered: ids.into_iter().map(|id| (id, error.clone())).collect() }
    }

    /// # Errors
    /// The first, if one id was not answered.
    pub fn whole(self) -> Result<Vec<T>, Error> {
        self.unanswered.into_values().next().map_or(Ok(self.found), Err)
    }

    pub(super) fn map<U>(self, with: impl FnMut(T) -> U) -> Looked<U> {
        Looked { found: self.found.into_iter().map(with).collect(), unanswered: self.unanswered }
    }
}

/// As many errors in a row, and the backend has nothing to say at present: the rest is not asked for.
const FAULTS_MAX: usize = 10;

/// Asks for each id by itself, `at_once` at a time. One that fails takes nothing from what was said of others.
///
/// # Errors
/// When nothing was answered at all, or the credentials were refused.
pub(super) async fn each<T, A>(ids: Vec<String>, at_once: usize, ask: impl Fn(String) -> A) -> Result<Looked<T>, Error>
where
    A: Future<Output = Result<Option<T>, Error>>,
{
    let (mut found, mut unanswered) = (Vec::new(), BTreeMap::new());
    let (mut answered, mut faults) = (0, 0);
    let looks = scattered(&ids).map(|id| {
        let answer = ask(id.clone());
        async move { (id, answer.await) }
    });
    let mut looks = stream::iter(looks).buffer_unordered(at_once.max(1));
    let mut asked = BTreeSet::new();
    let mut stopped = None;
    while let Some((id, answer)) = looks.next().await {
        asked.insert(id.clone());
        match answer {
            Ok(one) => {
                found.extend(one);
                (answered, faults) = (answered + 1, 0);
            }
            // Of the login, and not of the id.
            Err(error) if error.kind == Kind::Denied => return Err(error),
            Err(error) => {
                faults += 1;
                unanswered.insert(id, error.clone());
                // Too fast: to go on would not help.
                if faults >= FAULTS_MAX || matches!(error.kind, Kind::Throttled { .. }) {
                    stopped = Some(error);
                    break;
                }
            }
        }
    }
    drop(looks);
    if let Some(error) = stopped {
        unanswered.extend(ids.iter().filter(|id| !asked.contains(*id)).map(|id| (id.clone(), error.clone())));
    }
    if answered == 0 && !unanswered.is_empty() {
        return Looked { found, unanswered }.whole().map(Looked::all);
    }
    Ok(Looked { found, unanswered })
}

/// Far from each other in turn, so that some in a row of which nothing is ever said do not keep all others from being asked for.
fn scattered(ids: &[String]) -> impl Iterator<Item = String> {
    let count = ids.len();
    let coprime = |step: &usize| {
        let (mut a, mut b) = (*step, count);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let step = (count * 5 / 8..=count).find(coprime).unwrap_or(1);
    (0..count).map(move |turn| ids[turn * step % count].clone())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn look(
        ids: usize,
        said: impl Fn(usize) -> Result<Option<usize>, Kind>,
    ) -> (Result<Looked<usize>, Error>, usize) {
        let asked = AtomicUsize::new(0);
        let ids = (0..ids).map(|id| format!("{id:03}")).collect();
        let ask = |id: String| {
            asked.fetch_add(1, Ordering::Relaxed);
            let answer = said(id.parse().expect("a number")).map_err(|kind| Error::new(kind, id));
            async move { answer }
        };
        let looked = each(ids, 2, ask).await;
        (looked, asked.into_inner())
    }

    #[tokio::test]
    async fn what_is_answered_is_kept() {
        let (looked, asked) = look(100, |id| match id {
            7 | 50 => Err(Kind::Unavailable),
            id => Ok((id % 2 == 0).then_some(id)),
        })
        .await;
        let looked = looked.expect("most are answered");
        assert_eq!((looked.found.len(), asked), (49, 100));
        assert_eq!(looked.unanswered.keys().collect::<Vec<_>>(), ["007", "050"]);
        assert_eq!(looked.whole().expect_err("not all").text, "007");
    }

    #[tokio::test]
    async fn where_nothing_is_answered_it_is_the_error() {
        let (looked, asked) = look(100, |_| Err(Kind::TimedOut)).await;
        assert_eq!(looked.expect_err("nothing").kind, Kind::TimedOut);
        assert!(asked <= FAULTS_MAX + 2, "{asked}");
        let (looked, _) = look(3, |id| if id == 2 { Err(Kind::Denied) } else { Ok(Some(id)) }).await;
        assert_eq!(looked.expect_err("refused").kind, Kind::Denied);
        let (looked, asked) = look(0, |_| Err(Kind::Denied)).await;
        assert!(looked.expect("nobody was asked for").found.is_empty() && asked == 0);
    }

    #[tokio::test]
    async fn who_is_asked_too_fast_is_asked_no_more() {
        let throttled = |id| if id == 50 { Err(Kind::Throttled { after: None }) } else { Ok(None) };
        let (looked, asked) = look(100, throttled).await;
        let unanswered = looked.expect("some are answered").unanswered;
        assert!(asked < 80 && unanswered.len() > 100 - asked && unanswered.contains_key("050"), "{asked}");
    }

    #[tokio::test]
    async fn many_in_a_row_of_which_nothing_is_said_are_in_nobodys_way() {
        let (looked, _) = look(200, |id| if id < 50 { Err(Kind::Failed) } else { Ok(None) }).await;
        assert_eq!(looked.expect("most are answered").unanswered.len(), 50);
        for count in 0..50 {
            let ids: Vec<_> = (0..count).map(|id: usize| id.to_string()).collect();
            let mut all: Vec<_> = scattered(&ids).collect();
            all.sort_by_key(|id| id.parse::<usize>().expect("a number"));
            assert_eq!(all, ids);
        }
    }
}
