//! A repository: made once, opened with a key, the start of everything else.

use crate::error::{Error, ErrorKind, Result};
use crate::kept::KeptKeys;
use crate::keys::check_passphrase;
use crate::objects::Objects;
use crate::world::World;
use bytes::Bytes;
use cistern_format::config::{CONFIG_KEY, Config, MARKER_BYTES_MAX, MARKER_KEY, Marker};
use cistern_format::envelope::Kind;
use cistern_format::id::RepoId;
use cistern_format::keys::{Credential, Keyring, Role, Secret32};
use cistern_format::object::{from_cbor, to_cbor};
use cistern_store::{Key, Store};
use std::sync::Arc;

/// What opens a repository.
pub enum Unlock {
    /// A credential: opens without asking anything of the store.
    Credential(Credential),
    /// A passphrase: tried on every key slot.
    Passphrase(Vec<u8>),
}

/// An open repository. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(crate) objects: Objects,
    pub(crate) config: Config,
    pub(crate) kept: Option<KeptKeys>,
}

impl Repository {
    /// The owner's keys of a repository that is yet to be made.
    pub fn new_keys(world: &World) -> Keyring {
        let repo = RepoId(world.random());
        Keyring::from_root(Secret32(world.random()), repo)
    }

    /// Makes a repository in an empty place with new keys, which whoever called has to keep.
    ///
    /// # Errors
    /// As [`Repository::init_with_keys`].
    pub async fn init(store: Arc<dyn Store>, config: Config, world: World) -> Result<Repository> {
        let keys = Repository::new_keys(&world);
        Repository::init_with_keys(store, config, keys, None, world).await
    }

    /// Makes a repository in an empty place with keys that are in a safe place already, see
    /// [`Repository::new_keys`]. With a `passphrase`, which [`check_passphrase`] accepts, it gets a key slot
    /// of the owner's.
    ///
    /// The marker is written last: a crash before it leaves no repository.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if there is a repository already, or an earlier attempt left something behind.
    pub async fn init_with_keys(
        store: Arc<dyn Store>,
        config: Config,
        keys: Keyring,
        passphrase: Option<&[u8]>,
        world: World,
    ) -> Result<Repository> {
        let doing = || format!("create a repository at {}", store.location());
        config.check().map_err(|d| Error::new(ErrorKind::Invalid, doing(), d))?;
        passphrase.map_or(Ok(()), check_passphrase)?;
        if Repository::marker(&*store).await?.is_some() {
            return Err(Error::new(ErrorKind::Invalid, doing(), "there is one already"));
        }
        let repo = keys.repo();
        let objects = Objects { store: store.clone(), keys: Arc::new(keys), world: Arc::new(world) };
        let written = objects.put(Kind::Config, CONFIG_KEY, &to_cbor(&config)).await;
        written.map_err(|e| match e.kind {
            cistern_store::ErrorKind::Exists => Error::new(
                ErrorKind::Invalid,
                doing(),
                "an earlier attempt left the object `config` there: empty the place and try again",
            ),
            _ => Error::store(doing(), e),
        })?;
        let repository = Repository { objects, config, kept: None };
        if let Some(passphrase) = passphrase {
            repository.add_key_slot(Role::Owner, "owner", passphrase).await?;
        }
        let marker = Bytes::from(Marker::new(repo).encode());
        let written = store.put_new(&Key::new(MARKER_KEY), vec![marker]).await;
        written.map_err(|e| Error::store(doing(), e))?;
        Ok(repository)
    }

    /// What lies at a place: the marker of a repository, or `None`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a later version made it or something else lies there.
    pub async fn marker(store: &dyn Store) -> Result<Option<Marker>> {
        let doing = || format!("look for a repository at {}", store.location());
        match store.get(&Key::new(MARKER_KEY), MARKER_BYTES_MAX).await {
            Ok(bytes) => match Marker::decode(&bytes) {
                Ok(marker) => Ok(Some(marker)),
                Err(d) => Err(Error::new(ErrorKind::Invalid, doing(), d)),
            },
            Err(e) if e.kind == cistern_store::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::store(doing(), e)),
        }
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::WrongKey`] if the key is another's.
    pub async fn open(store: Arc<dyn Store>, unlock: Unlock, world: World) -> Result<Repository> {
        let doing = || format!("open the repository at {}", store.location());
        let marker = Repository::marker(&*store).await?;
        let Some(marker) = marker else {
            return Err(Error::new(
                ErrorKind::NotFound,
                doing(),
                "there is no repository (`cistern init` makes one)",
            ));
        };
        let keys = match unlock {
            Unlock::Credential(credential) => Keyring::from_credential(&credential)
                .map_err(|d| Error::new(ErrorKind::WrongKey, doing(), d))?,
            Unlock::Passphrase(passphrase) => {
                crate::keys::unlock(&store, marker.repository, &passphrase).await?
            }
        };
        if keys.repo() != marker.repository {
            return Err(Error::new(ErrorKind::WrongKey, doing(), "the key belongs to another repository"));
        }
        let objects = Objects { store: store.clone(), keys: Arc::new(keys), world: Arc::new(world) };
        let config: Config = from_cbor("configuration", &objects.get(Kind::Config, CONFIG_KEY).await?)
            .map_err(|d| Error::damage(doing(), d))?;
        config.check().map_err(|d| Error::damage(doing(), d))?;
        Ok(Repository { objects, config, kept: None })
    }

    /// Keeps the keys of this machine's own pushes in `store`, a private place on it.
    ///
    /// A push credential cannot read old chunks, so its pushes store changed chunks whole. With their
    /// keys kept here they become deltas at once. The price: whoever gets hold of the credential *and*
    /// this place can read what was pushed from here. Nothing is kept for credentials that can read.
    pub fn keeping_session_keys(self, store: Arc<dyn Store>) -> Repository {
        Repository { kept: Some(KeptKeys::new(store)), ..self }
    }

    /// The keys it was opened with.
    pub fn keys(&self) -> &Keyring {
        &self.objects.keys
    }

    /// The parameters all its writers share.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it is, without any secret.
    pub fn location(&self) -> String {
        self.objects.store.location()
    }

    /// Its store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.objects.store
    }

    /// Its clock and dice.
    pub fn world(&self) -> &World {
        &self.objects.world
    }

    /// Refuses what the credential's role cannot do, before anything is touched.
    pub(crate) fn require(&self, role: Role, doing: &str) -> Result<()> {
        if self.keys().restrict(role).is_some() {
            return Ok(());
        }
        let why = format!(
            "it takes a credential of role {role} or more, this one is of role {}",
            self.keys().role()
        );
        Err(Error::new(ErrorKind::Denied, doing, why))
    }
}
