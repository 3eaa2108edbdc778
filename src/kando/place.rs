//! From `--profile` and the environment to an open location.
//!
//! # Which place
//! * `CISTERN_REPOSITORY` (or a configuration file named by `CISTERN_CONFIG` or `CISTERN_PROFILE`, or a file
//!   `cistern-repository` beside the profile's own) names a repository: pushes go there.
//! * `CISTERN_REPOSITORY=none`: plain objects, whatever lies there.
//! * Otherwise the profile's location is looked at. A repository there takes the push, and one that cannot be
//!   opened is an error: a dump must not land beside it, unencrypted.
//!
//! # Which key
//! `CISTERN_KEY…` and `CISTERN_PASSPHRASE…`, as for `cistern`; files `cistern-key` and `cistern-passphrase`
//! beside the profile's own, where a Secret is mounted; what stands beside the profile in its file
//! ([`RepositoryJson`], which may say where the repository is, too); the password of a profile of the type
//! kopia; the key that `cistern init` kept for this repository. A key where there is no repository is an error
//! at push.

use crate::context::{Context, parse_location, variable, variables};
use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use cistern_api::Sensitive;
use cistern_api::wire::{ProfileArgument, ProfileJson, ProfileJsonError, RepositoryJson};
use cistern_mover::{Location, Place, Plain, StreamPath};
use cistern_repo::{Config, Credential, Repository, Unlock, World, check_passphrase};
use cistern_store::{Cloud, Options, Secret, Store};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest profile that is read from a file, in bytes: a service account's key is some 2 KiB.
const PROFILE_BYTES_MAX: u64 = 1 << 20;

/// How often, and how far apart, a place is looked at in which somebody else makes a repository.
const MAKE_LOOKS: u32 = 30;
const MAKE_LOOK: Duration = Duration::from_secs(1);

/// The word that asks for plain objects.
const NONE: &str = "none";

/// A place that is known, and what opens it.
pub struct Address {
    /// What the environment says.
    pub context: Context,
    place: Option<Place>,
    asked: Asked,
    /// What opens it where the environment says nothing.
    spare: Option<Spare>,
}

/// What the profile, or its file, has to open a repository.
enum Spare {
    Key(Secret),
    Passphrase(Secret),
}

impl Spare {
    fn unlock(self) -> Unlock {
        match self {
            Spare::Key(key) => Unlock::Credential(Credential::new(key.reveal().to_owned())),
            Spare::Passphrase(phrase) => Unlock::Passphrase(phrase.reveal().as_bytes().to_vec()),
        }
    }
}

/// What is asked of the place.
enum Asked {
    /// To look whether there is a repository.
    Either,
    /// For plain objects.
    Plain,
    /// For the repository of the context.
    Repository,
}

impl Address {
    /// Understands the profile and the environment; asks nothing of the network.
    ///
    /// # Errors
    /// What is missing or malformed, by field.
    pub async fn find(profile: Option<&str>) -> Result<Address, Failure> {
        let context = Context::of_environment().await?;
        let read = match profile {
            Some(text) => read_profile(text)?,
            None if context.embedded => return Err(Failure::usage("Please provide the --profile flag")),
            None => (None, None, None),
        };
        let asked = variable("CISTERN_REPOSITORY");
        Address::understand(context, read, asked.as_deref()).await
    }

    /// The same of the content of a profile's file alone, whatever the environment says of a repository.
    ///
    /// # Errors
    /// As [`Address::find`].
    pub async fn of(content: &str) -> Result<Address, Failure> {
        let mut context = Context::of_environment().await?;
        context.embedded = true;
        (context.key, context.passphrase) = (None, None);
        let (profile, repository) = parse(content)?;
        Address::understand(context, (profile, repository, None), None).await
    }

    async fn understand(
        mut context: Context,
        read: Read,
        environment: Option<&str>,
    ) -> Result<Address, Failure> {
        let (profile, repository, beside) = read;
        let place =
            profile.map(|profile| Place::of(&profile, sas_token()?).map_err(Failure::from)).transpose()?;
        let mut spare = None;
        let mut named = None;
        if let Some(Place::Repository { location, passphrase }) = &place {
            named = Some(location.clone()).filter(|text| !text.is_empty());
            spare = passphrase.clone().map(Spare::Passphrase);
        }
        if let Some(RepositoryJson { location, key, passphrase }) = repository {
            named = Some(location).filter(|text| !text.is_empty()).or(named);
            let secret =
                |text: &Sensitive| Some(Secret::new(text.reveal().to_owned())).filter(|_| !text.is_empty());
            let given = secret(&key).map(Spare::Key).or_else(|| secret(&passphrase).map(Spare::Passphrase));
            spare = given.or(spare);
        }
        if let Some(folder) = &beside {
            let file =
                |name: &str| Some(folder.join(name)).filter(|path| path.exists()).map(SecretSource::File);
            if let Some(source) = file("cistern-repository") {
                named = Some(source.read("location of the repository").await?.reveal().to_owned());
            }
            if context.key.is_none() && context.passphrase.is_none() {
                context.key = file("cistern-key");
                context.passphrase = file("cistern-passphrase");
            }
        }
        let asked = match (environment, named) {
            (Some(NONE), _) => Asked::Plain,
            (None, Some(text)) if context.embedded && text == NONE => Asked::Plain,
            (None, Some(text)) if context.embedded => {
                let location = parse_location(&text)?;
                let options = context.store_options().clone();
                context = context.at(location, options);
                Asked::Repository
            }
            _ if !context.embedded => Asked::Repository,
            _ => Asked::Either,
        };
        Ok(Address { context, place, asked, spare })
    }

    /// The path below this place.
    pub fn path(&self, path: &str) -> Result<StreamPath, Failure> {
        Ok(StreamPath::new(self.prefix(), path)?)
    }

    /// What the profile puts above every path.
    pub fn prefix(&self) -> &str {
        match &self.place {
            Some(Place::Bucket { prefix, .. }) => prefix,
            _ => "",
        }
    }

    /// Whether the profile itself is one for repositories, whose snapshots Kanister expects to be told of.
    pub fn is_kopia(&self) -> bool {
        matches!(self.place, Some(Place::Repository { .. }))
    }

    /// Looks at the place for a repository, which must be one.
    ///
    /// # Errors
    /// The place is for plain objects, or cannot be reached.
    pub async fn site(self) -> Result<Site, Failure> {
        let Address { mut context, place, asked, spare } = self;
        let bucket = bucket(place);
        match (&asked, &bucket) {
            (Asked::Either, Some((cloud, name, prefix, options))) => {
                let location = cistern_store::Location::in_bucket(*cloud, name, prefix)?;
                context = context.at(location, (**options).clone());
            }
            (Asked::Repository, bucket) => context = reaching(context, bucket.as_ref()),
            (Asked::Plain, _) | (Asked::Either, None) => {
                return Err(Failure::usage("volumes are stored in a repository, and none is named")
                    .hint("CISTERN_REPOSITORY names one, or the profile"));
            }
        }
        let beside = matches!(asked, Asked::Either);
        let plain = bucket.map(|(cloud, name, _, options)| Plain::new(cloud, name, options, beside));
        if let cistern_store::Location::Directory(folder) = &context.location
            && !folder.exists()
        {
            return Ok(Site { context, taken: false, plain, spare });
        }
        let store = context.store().await?;
        let taken = Repository::marker(&*store).await?.is_some();
        Ok(Site { context, taken, plain, spare })
    }

    /// Opens what is there. `to_push`: for a push, which a key commits to a repository.
    ///
    /// # Errors
    /// A repository that is there and cannot be opened, or that was asked for and is not there.
    pub async fn open(self, to_push: bool) -> Result<(Location, Context), Failure> {
        let Address { context, place, asked, spare } = self;
        let bucket = bucket(place);
        match (asked, bucket) {
            (Asked::Plain, Some((cloud, bucket, _, options))) => {
                let plain = Plain::new(cloud, bucket, options, false);
                Ok((Location { plain: Some(plain), repository: None }, context))
            }
            (Asked::Plain, None) => {
                Err(Failure::usage(format!("CISTERN_REPOSITORY={NONE} leaves no place to go"))
                    .hint("give a profile with a bucket, or name a repository"))
            }
            (Asked::Either, Some((cloud, bucket, prefix, options))) => {
                look(context, (cloud, bucket, prefix, options), to_push, spare).await
            }
            (Asked::Either, None) => Err(Failure::usage("the profile names no repository")
                .hint("CISTERN_REPOSITORY names one, or the profile's `Location.endpoint`")),
            (Asked::Repository, bucket) => {
                let context = reaching(context, bucket.as_ref());
                let repository = context.repository_with(spare.map(Spare::unlock)).await?;
                let plain = bucket.map(|(cloud, name, _, options)| Plain::new(cloud, name, options, false));
                Ok((Location { plain, repository: Some(repository) }, context))
            }
        }
    }
}

/// The bucket of a place, if it has one.
fn bucket(place: Option<Place>) -> Option<Bucket> {
    match place {
        Some(Place::Bucket { cloud, bucket, prefix, options }) => {
            Some((cloud, bucket, prefix, Box::new(options.or(Options::from_vars(variables())))))
        }
        _ => None,
    }
}

/// A place where a repository is, or could be.
pub struct Site {
    context: Context,
    /// Whether a repository is there.
    pub taken: bool,
    plain: Option<Plain>,
    spare: Option<Spare>,
}

impl Site {
    /// Opens the repository.
    ///
    /// # Errors
    /// There is none, or the key does not fit.
    pub async fn open(self) -> Result<(Location, Context), Failure> {
        let Site { context, plain, spare, .. } = self;
        let repository = context.repository_with(spare.map(Spare::unlock)).await?;
        Ok((Location { plain, repository: Some(repository) }, context))
    }

    /// Whether a restic repository lies under the path.
    pub async fn is_restic(&self, path: &StreamPath) -> Result<bool, Failure> {
        match &self.plain {
            Some(plain) => Ok(plain.is_restic(path).await?),
            None => Ok(false),
        }
    }

    /// Makes the repository that the passphrase opens, unless one is there. Several may try at the same time.
    ///
    /// # Errors
    /// No passphrase was given, or the place is not free.
    pub async fn make(&self) -> Result<(), Failure> {
        let phrase = match (&self.context.passphrase, &self.spare) {
            (Some(source), _) => source.read("passphrase").await?,
            (None, Some(Spare::Passphrase(phrase))) => phrase.clone(),
            _ => {
                let message = format!("there is no repository at {}", self.context.location);
                let hint = "`cistern init --repo` makes one; with a passphrase (encryptionKey of a blueprint) the first \
                            push does";
                return Err(Failure::new(Exit::NotFound, message).hint(hint));
            }
        };
        let phrase = phrase.reveal().as_bytes();
        check_passphrase(phrase)?;
        cistern_store::prepare(&self.context.location).await?;
        let store = self.context.store().await?;
        let world = World::real();
        let keys = Repository::new_keys(&world);
        let made =
            Repository::init_with_keys(store.clone(), Config::default(), keys, Some(phrase), world).await;
        let Err(error) = made else { return Ok(()) };
        // Whoever came first finishes it.
        for _ in 0..MAKE_LOOKS {
            if Repository::marker(&*store).await?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(MAKE_LOOK).await;
        }
        Err(error.into())
    }
}

/// A repository in the profile's cloud is reached as the profile says, where the environment says nothing.
fn reaching(context: Context, bucket: Option<&Bucket>) -> Context {
    let location = context.location.clone();
    match (&location, bucket) {
        (cistern_store::Location::Bucket { cloud, .. }, Some((same, _, _, options))) if cloud == same => {
            let options = context.store_options().clone().or((**options).clone());
            context.at(location, options)
        }
        _ => context,
    }
}

type Bucket = (Cloud, String, String, Box<Options>);

/// Looks whether there is a repository at the profile's prefix.
async fn look(
    context: Context,
    bucket: Bucket,
    to_push: bool,
    spare: Option<Spare>,
) -> Result<(Location, Context), Failure> {
    let (cloud, name, prefix, options) = bucket;
    let wants_repository = context.key.is_some() || context.passphrase.is_some() || spare.is_some();
    // A prefix that no repository can have holds none.
    let location = cistern_store::Location::in_bucket(cloud, &name, &prefix).ok();
    let mut context = context;
    let mut repository = None;
    if let Some(location) = location {
        context = context.at(location, (*options).clone());
        let store = context.store().await?;
        if is_repository(&store).await? {
            repository = Some(context.repository_with(spare.map(Spare::unlock)).await?);
        }
    }
    if repository.is_none() && wants_repository && to_push {
        let message = format!("a key was given, and there is no repository at {}", context.location);
        let hint = "`cistern init --repo` makes one there; CISTERN_REPOSITORY names another, or is `none` for plain \
                    objects, which are not encrypted";
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    }
    let plain = Plain::new(cloud, name, options, repository.is_some());
    Ok((Location { plain: Some(plain), repository }, context))
}

async fn is_repository(store: &Arc<dyn Store>) -> Result<bool, Failure> {
    match Repository::marker(&**store).await {
        Ok(marker) => Ok(marker.is_some()),
        Err(e) => {
            let denied = e.kind == cistern_repo::ErrorKind::Denied;
            let failure = Failure::from(e);
            let hint = "let the credential read `cistern.json` there, or list the bucket; or say CISTERN_REPOSITORY=none \
                        if there is no repository";
            Err(if denied { failure.hint(hint) } else { failure })
        }
    }
}

/// A profile, what stands beside it in its file, and the folder of that file.
type Read = (Option<ProfileJson>, Option<RepositoryJson>, Option<PathBuf>);

fn read_profile(text: &str) -> Result<Read, Failure> {
    match ProfileArgument::parse(text).map_err(malformed)? {
        ProfileArgument::Inline(profile) => Ok((Some(*profile), None, None)),
        ProfileArgument::File(path) => {
            let text = read_file(&path)
                .map_err(|e| Failure::usage(format!("cannot read the profile {}: {e}", path.display())))?;
            let (profile, repository) = parse(text.reveal())?;
            Ok((profile, repository, path.parent().map(Path::to_owned)))
        }
    }
}

/// A profile's file. One that says where a repository is need not hold a profile.
fn parse(content: &str) -> Result<(Option<ProfileJson>, Option<RepositoryJson>), Failure> {
    let profile = ProfileJson::parse(content).map_err(malformed)?;
    let repository = RepositoryJson::beside(content).map_err(malformed)?;
    let located = repository.as_ref().is_some_and(|repository| !repository.location.is_empty());
    Ok((Some(profile).filter(|profile| !located || *profile != ProfileJson::default()), repository))
}

fn malformed(error: ProfileJsonError) -> Failure {
    Failure::usage(error.to_string())
}

fn read_file(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(PROFILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Secret::new(text))
}

/// The token that whoever made the pod put beside it, for Azure's federated identity.
fn sas_token() -> Result<Option<Secret>, Failure> {
    let Some(path) = variable("AZURE_SAS_TOKEN_FILE") else { return Ok(None) };
    let text = read_file(Path::new(&path));
    let text = text.map_err(|e| {
        Failure::usage(format!("cannot read the file AZURE_SAS_TOKEN_FILE names, {path}: {e}"))
    })?;
    let token = text.reveal().trim().trim_start_matches('?').to_owned();
    Ok(Some(Secret::new(token)).filter(|token| !token.reveal().is_empty()))
}
