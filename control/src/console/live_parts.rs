//! What streams of the dashboard share: those of the same part, for readers who may see the same, are made of
//! one text, so the planes and the API are asked once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::people::PersonRole;

/// Which part it is, and what its readers may see. A part depends on nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartKey {
    /// The address of the stream, with its query.
    pub(super) source: String,
    /// The role of the readers.
    pub(super) role: PersonRole,
    /// The id and the name of the tenant: a part goes on with the name with which it began.
    pub(super) tenant: Option<(String, String)>,
}

/// The parts that somebody looks at: at most one for each stream, and the API limits the streams.
#[derive(Default)]
pub(super) struct LiveParts(Mutex<HashMap<PartKey, Weak<LivePart>>>);

/// A part that is made each second, until nobody looks at it.
pub(super) struct LivePart {
    /// The newest, as text of a stream.
    pub(super) newest: watch::Receiver<Arc<str>>,
    making: JoinHandle<()>,
}

impl LiveParts {
    /// Returns the part with this key, which `begin` begins if nobody looks at it yet.
    pub(super) fn watch(
        &self,
        key: PartKey,
        begin: impl FnOnce(watch::Sender<Arc<str>>) -> JoinHandle<()>,
    ) -> Arc<LivePart> {
        let mut parts = self.parts();
        if let Some(part) = parts.get(&key).and_then(Weak::upgrade) {
            return part;
        }
        parts.retain(|_, part| part.strong_count() > 0);
        let (sender, newest) = watch::channel(Arc::default());
        let part = Arc::new(LivePart { newest, making: begin(sender) });
        parts.insert(key, Arc::downgrade(&part));
        part
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<PartKey, Weak<LivePart>>> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LivePart {
    fn drop(&mut self) {
        self.making.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str, role: PersonRole, tenant: Option<&str>) -> PartKey {
        let tenant = tenant.map(|name| (name.to_owned(), name.to_owned()));
        PartKey { source: source.to_owned(), role, tenant }
    }

    #[tokio::test]
    async fn only_readers_who_may_see_the_same_share_a_part() {
        let (parts, begun) = (LiveParts::default(), Arc::new(Mutex::new(0)));
        let watch = |key| {
            let begun = begun.clone();
            parts.watch(key, |newest| {
                *begun.lock().expect("no panic") += 1;
                tokio::spawn(async move { newest.closed().await })
            })
        };
        let operator = key("/live/rooms", PersonRole::Operator, Some("acme"));
        let first = watch(operator.clone());
        let second = watch(operator.clone());
        assert!(Arc::ptr_eq(&first, &second));
        for other in [
            key("/live/rooms?sort=age", PersonRole::Operator, Some("acme")),
            key("/live/rooms", PersonRole::Viewer, Some("acme")),
            key("/live/rooms", PersonRole::Operator, Some("globex")),
            key("/live/rooms", PersonRole::Operator, None),
        ] {
            assert!(!Arc::ptr_eq(&first, &watch(other)));
        }
        assert_eq!(*begun.lock().expect("no panic"), 5);
        drop((first, second));
        let _again = watch(operator);
        assert_eq!(*begun.lock().expect("no panic"), 6, "a part ends with its last reader");
        assert_eq!(parts.parts().len(), 1, "parts that nobody looks at are forgotten");
    }
}
