//! Who looks at a unit, and who alone. Looks at the same unit go on beside each other, and each that wrote something may make
//! another's answer doubtful. With many of them nobody with news might ever get on; so whoever failed once looks alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::model::{AccountId, Collection};

type Unit = (AccountId, Collection);

/// Fair: who wants to be alone comes before those who come later.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Unit, Weak<RwLock<()>>>>>);

/// Held while looking and writing.
pub(crate) enum Turn {
    Beside { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Turns {
    pub(super) async fn beside(&self, account: AccountId, collection: Collection) -> Turn {
        Turn::Beside { _guard: self.unit(account, collection).read_owned().await }
    }

    pub(super) async fn alone(&self, account: AccountId, collection: Collection) -> Turn {
        Turn::Alone { _guard: self.unit(account, collection).write_owned().await }
    }

    fn unit(&self, account: AccountId, collection: Collection) -> Arc<RwLock<()>> {
        let mut units = self.0.lock().expect("nobody panics while holding the units");
        if let Some(unit) = units.get(&(account, collection)).and_then(Weak::upgrade) {
            return unit;
        }
        // Whoever comes clears up behind those who went.
        if units.len() == units.capacity() {
            units.retain(|_, unit| unit.strong_count() > 0);
        }
        let unit = Arc::new(RwLock::new(()));
        units.insert((account, collection), Arc::downgrade(&unit));
        unit
    }
}
