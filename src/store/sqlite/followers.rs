use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::model::AccountId;

/// Who wants to know when an account's log grows. One channel for each account that somebody follows, whatever their number.
#[derive(Default)]
pub(super) struct Followers(Mutex<HashMap<AccountId, watch::Sender<u64>>>);

impl Followers {
    pub(super) fn follow(&self, account: AccountId) -> watch::Receiver<u64> {
        let mut channels = self.channels();
        // Whoever comes clears up behind those who went; the map is never longer than twice what is followed.
        if channels.len() == channels.capacity() {
            channels.retain(|_, channel| channel.receiver_count() > 0);
        }
        channels.entry(account).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Called after the commit.
    pub(super) fn tell(&self, account: AccountId) {
        let mut channels = self.channels();
        let Some(channel) = channels.get(&account) else { return };
        if channel.receiver_count() == 0 {
            channels.remove(&account);
        } else {
            channel.send_modify(|count| *count += 1);
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<AccountId, watch::Sender<u64>>> {
        self.0.lock().expect("nobody panics while holding the channels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_is_told_and_who_left_is_forgotten() {
        let followers = Followers::default();
        let mut one = followers.follow(AccountId(1));
        let mut two = followers.follow(AccountId(2));
        followers.tell(AccountId(1));
        assert!(one.has_changed().unwrap() && !two.has_changed().unwrap());
        assert_eq!(*one.borrow_and_update(), 1);
        drop(one);
        followers.tell(AccountId(1));
        assert_eq!(followers.channels().len(), 1);
        assert_eq!(*two.borrow_and_update(), 0);
        for account in 0..1_000 {
            drop(followers.follow(AccountId(account)));
        }
        assert!(followers.channels().len() < 100, "{}", followers.channels().len());
    }
}
