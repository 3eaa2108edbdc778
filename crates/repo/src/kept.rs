//! Keys of this machine's own pushes, kept beside the repository rather than in it.
//!
//! One small file per push, `<repository>/<session>`, sealed under the push keys. Losing them, or
//! finding them damaged, costs space: the next push stores more chunks whole.

use crate::error::{Error, Result};
use crate::objects::Objects;
use cistern_format::id::SessionId;
use cistern_format::kept::{KEPT_LEN, KeptKey, put_away, take_up};
use cistern_format::keys::DataKey;
use cistern_store::{Entry, Key, Store};
use futures::TryStreamExt as _;
use std::collections::HashMap;
use std::sync::Arc;

/// Pushes whose keys are kept at most; beyond it the oldest go. A base is stored whole again long
/// before it is this many pushes old.
const KEPT_MAX: usize = 400;

/// The place where the keys are.
#[derive(Clone)]
pub(crate) struct KeptKeys {
    store: Arc<dyn Store>,
}

/// The keys of a repository's sessions, read.
#[derive(Default)]
pub(crate) struct Kept(HashMap<SessionId, KeptKey>);

impl Kept {
    pub(crate) fn has(&self, session: &SessionId) -> bool {
        self.0.contains_key(session)
    }

    pub(crate) fn get(&self, session: &SessionId) -> Option<&KeptKey> {
        self.0.get(session)
    }
}

impl KeptKeys {
    pub(crate) fn new(store: Arc<dyn Store>) -> KeptKeys {
        KeptKeys { store }
    }

    /// Reads the keys that `objects`' repository and credential can use.
    pub(crate) async fn load(&self, objects: &Objects) -> Result<Kept> {
        let mut kept = HashMap::new();
        for (session, entry) in self.list(objects).await? {
            let Ok(file) = self.store.get(&entry.key, KEPT_LEN as u64).await else { continue };
            if let Ok(key) = take_up(&objects.keys, session, &file) {
                kept.insert(session, key);
            }
        }
        Ok(Kept(kept))
    }

    /// Keeps the key of a session, before the session stores anything; forgets the oldest ones.
    ///
    /// # Errors
    /// As the place says: whoever asked for keys to be kept should know that they are not.
    pub(crate) async fn keep(&self, objects: &Objects, key: &DataKey) -> Result<()> {
        let Some(file) = put_away(&objects.keys, key, objects.world.random()) else { return Ok(()) };
        let name = Key::new(format!("{}{}", prefix(objects), key.session));
        let put = self.store.put_new(&name, vec![file.into()]).await;
        put.map_err(|e| Error::store("keep the key of this push", e))?;
        let listed = self.list(objects).await?;
        for (_, old) in listed.iter().take(listed.len().saturating_sub(KEPT_MAX)) {
            let gone = self.store.delete(&old.key).await;
            gone.map_err(|e| Error::store("forget the key of an old push", e))?;
        }
        Ok(())
    }

    /// The files of a repository, oldest session first; a session's id begins with its time.
    async fn list(&self, objects: &Objects) -> Result<Vec<(SessionId, Entry)>> {
        let prefix = prefix(objects);
        let listed: Result<Vec<Entry>, _> = self.store.list(&prefix).try_collect().await;
        let listed = listed.map_err(|e| Error::store("list the kept keys of earlier pushes", e))?;
        let named = |entry: Entry| Some((entry.key.name().parse().ok()?, entry));
        let mut sessions: Vec<(SessionId, Entry)> = listed.into_iter().filter_map(named).collect();
        sessions.sort_by_key(|(session, _)| session.0);
        Ok(sessions)
    }
}

fn prefix(objects: &Objects) -> String {
    format!("{}/", objects.keys.repo())
}
