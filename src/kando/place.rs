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
//! beside the profile's own, where a Secret is mounted; the password of a profile of the type kopia; the key
//! that `cistern init` kept for this repository. A key where there is no repository is an error at push.

use crate::context::{Context, parse_location, variable, variables};
use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use cistern_api::wire::{ProfileArgument, ProfileJson};
use cistern_mover::{Location, Place, Plain, StreamPath};
use cistern_repo::{Repository, Unlock};
use cistern_store::{Cloud, Options, Secret, Store};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest profile that is read from a file, in bytes: a service account's key is some 2 KiB.
const PROFILE_BYTES_MAX: u64 = 1 << 20;

/// The word that asks for plain objects.
const NONE: &str = "none";

/// A place that is known, and what opens it.
pub struct Address {
    /// What the environment says.
    pub context: Context,
    place: Option<Place>,
    asked: Asked,
    password: Option<Secret>,
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
        let mut context = Context::of_environment().await?;
        let (profile, beside) = match profile {
            Some(text) => read_profile(text)?,
            None if context.embedded => return Err(Failure::usage("Please provide the --profile flag")),
            None => (None, None),
        };
        let place =
            profile.map(|profile| Place::of(&profile, sas_token()?).map_err(Failure::from)).transpose()?;
        let mut password = None;
        let mut named = None;
        if let Some(Place::Repository { location, passphrase }) = &place {
            named = Some(location.clone()).filter(|text| !text.is_empty());
            password = passphrase.clone();
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
        let asked = match (variable("CISTERN_REPOSITORY").as_deref(), named) {
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
        Ok(Address { context, place, asked, password })
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

    /// Opens what is there. `to_push`: for a push, which a key commits to a repository.
    ///
    /// # Errors
    /// A repository that is there and cannot be opened, or that was asked for and is not there.
    pub async fn open(self, to_push: bool) -> Result<(Location, Context), Failure> {
        let Address { context, place, asked, password } = self;
        let bucket = match place {
            Some(Place::Bucket { cloud, bucket, prefix, options }) => {
                Some((cloud, bucket, prefix, Box::new(options.or(Options::from_vars(variables())))))
            }
            _ => None,
        };
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
                look(context, (cloud, bucket, prefix, options), to_push).await
            }
            (Asked::Either, None) => Err(Failure::usage("the profile names no repository")
                .hint("CISTERN_REPOSITORY names one, or the profile's `Location.endpoint`")),
            (Asked::Repository, bucket) => {
                let context = reaching(context, bucket.as_ref());
                let repository = context.repository_with(password.map(unlock_with)).await?;
                let plain = bucket.map(|(cloud, name, _, options)| Plain::new(cloud, name, options, false));
                Ok((Location { plain, repository: Some(repository) }, context))
            }
        }
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

fn unlock_with(password: Secret) -> Unlock {
    Unlock::Passphrase(password.reveal().as_bytes().to_vec())
}

type Bucket = (Cloud, String, String, Box<Options>);

/// Looks whether there is a repository at the profile's prefix.
async fn look(context: Context, bucket: Bucket, to_push: bool) -> Result<(Location, Context), Failure> {
    let (cloud, name, prefix, options) = bucket;
    let wants_repository = context.key.is_some() || context.passphrase.is_some();
    // A prefix that no repository can have holds none.
    let location = cistern_store::Location::in_bucket(cloud, &name, &prefix).ok();
    let mut context = context;
    let mut repository = None;
    if let Some(location) = location {
        context = context.at(location, (*options).clone());
        let store = context.store().await?;
        if is_repository(&store).await? {
            repository = Some(context.repository_with(None).await?);
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

/// The profile, and the folder of the file it was in.
fn read_profile(text: &str) -> Result<(Option<ProfileJson>, Option<PathBuf>), Failure> {
    let malformed = |e: cistern_api::wire::ProfileJsonError| Failure::usage(e.to_string());
    match ProfileArgument::parse(text).map_err(malformed)? {
        ProfileArgument::Inline(profile) => Ok((Some(*profile), None)),
        ProfileArgument::File(path) => {
            let text = read_file(&path)
                .map_err(|e| Failure::usage(format!("cannot read the profile {}: {e}", path.display())))?;
            let profile = ProfileJson::parse(text.reveal()).map_err(malformed)?;
            Ok((Some(profile), path.parent().map(Path::to_owned)))
        }
    }
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
