//! What a command stands on: where the repository is, how its store is reached, how it is unlocked.
//!
//! A flag comes before the environment, the environment before the profile, the profile before the
//! default. With nothing said at all the repository is in the user's data directory.

use crate::cli::Globals;
use crate::failure::{Exit, Failure};
use crate::profile::Profile;
use crate::secret::SecretSource;
use crate::terminal::{Terminal, ask_passphrase};
use cistern_repo::{Credential, RepoId, Repository, Unlock, World};
use cistern_store::{FsStore, Location, Options, Store};
use std::path::PathBuf;
use std::sync::Arc;

/// What was typed, and what the environment and the configuration say, put together.
pub struct Context {
    /// Reports as JSON.
    pub json: bool,
    /// Nothing but errors.
    pub quiet: bool,
    /// Which streams are terminals.
    pub terminal: Terminal,
    /// Where the repository is.
    pub location: Location,
    /// Whether that is the default: then it is made when it is first pushed to.
    pub embedded: bool,
    /// Where the key is, if that was said.
    pub key: Option<SecretSource>,
    /// Where the passphrase is, if that was said.
    pub passphrase: Option<SecretSource>,
    /// Name of this machine in snapshots.
    pub host: String,
    /// Tags of every push.
    pub tags: Vec<String>,
    options: Options,
    keys: PathBuf,
    session_keys: Option<PathBuf>,
}

impl Context {
    /// Puts it together; touches the configuration file, nothing else.
    ///
    /// # Errors
    /// A configuration or location that cannot be understood.
    pub async fn new(globals: &Globals) -> Result<Context, Failure> {
        let directories = Directories::find();
        let config = globals.config.clone().or_else(|| variable("CISTERN_CONFIG").map(PathBuf::from));
        let required = config.is_some();
        let config = config.unwrap_or_else(|| directories.config.join("config.toml"));
        let named = globals.profile.clone().or_else(|| variable("CISTERN_PROFILE"));
        let (profile, options) = Profile::read(&config, required, named.as_deref()).await?;
        let place = place(globals, &profile)?;
        let embedded = place.is_none();
        let location = match place {
            Some(text) => parse_location(&text)?,
            None => Location::Directory(directories.data.join("repository")),
        };
        Ok(Context {
            json: globals.json,
            quiet: globals.quiet,
            terminal: Terminal::look(),
            location,
            embedded,
            key: key_source(globals).or_else(|| profile.key()),
            passphrase: passphrase_source(globals).or_else(|| profile.passphrase()),
            host: profile.host.unwrap_or_else(host),
            tags: profile.tags,
            options: options.or(Options::from_vars(variables())),
            keys: directories.config.join("keys"),
            session_keys: variable("CISTERN_SESSION_KEYS").map(PathBuf::from).or(profile.session_keys),
        })
    }

    /// What the environment alone says, for a door whose arguments name the place. The configuration file counts
    /// only where the environment names it, or a profile of it: it is about another place otherwise.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub async fn of_environment() -> Result<Context, Failure> {
        let named = ["CISTERN_CONFIG", "CISTERN_PROFILE"].iter().any(|name| variable(name).is_some());
        let config = (!named).then(|| PathBuf::from("/dev/null"));
        Context::new(&Globals { config, ..Globals::default() }).await
    }

    /// The same at another place.
    pub fn at(self, location: Location, options: Options) -> Context {
        Context { location, options, embedded: false, ..self }
    }

    /// The store, open; no key is needed.
    pub async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(cistern_store::open(&self.location, &self.options).await?)
    }

    /// How stores are reached, for commands that open another one.
    pub fn store_options(&self) -> &Options {
        &self.options
    }

    /// The repository, open.
    pub async fn repository(&self) -> Result<Repository, Failure> {
        self.repository_with(None).await
    }

    /// The same, opened with `spare` when nothing was said of a key.
    pub async fn repository_with(&self, spare: Option<Unlock>) -> Result<Repository, Failure> {
        let store = self.store().await.map_err(|failure| match failure.exit {
            Exit::Usage if matches!(self.location, Location::Directory(_)) => self.absent(),
            _ => failure,
        })?;
        let Some(marker) = Repository::marker(&*store).await? else { return Err(self.absent()) };
        let unlock = match spare.filter(|_| self.key.is_none() && self.passphrase.is_none()) {
            Some(spare) => spare,
            None => self.unlock(marker.repository).await?,
        };
        let repository = Repository::open(store, unlock, World::real()).await?;
        Ok(match &self.session_keys {
            Some(place) => repository.keeping_session_keys(Arc::new(FsStore::create(place)?)),
            None => repository,
        })
    }

    /// File that holds a repository's key when nobody chose another: beside the configuration, not in
    /// the repository, whose thief would have it too.
    pub fn key_file_of(&self, repository: RepoId) -> PathBuf {
        self.keys.join(format!("{repository}.key"))
    }

    fn absent(&self) -> Failure {
        let message = format!("there is no repository at {}", self.location);
        Failure::new(Exit::NotFound, message).hint("`cistern init` makes one; --repo names another place")
    }

    async fn unlock(&self, repository: RepoId) -> Result<Unlock, Failure> {
        if let Some(source) = &self.key {
            return Ok(Unlock::Credential(Credential::new(source.read("key").await?.reveal().to_owned())));
        }
        if let Some(source) = &self.passphrase {
            return Ok(Unlock::Passphrase(source.read("passphrase").await?.reveal().as_bytes().to_vec()));
        }
        let kept = self.key_file_of(repository);
        if kept.exists() {
            let key = SecretSource::File(kept).read("key").await?;
            return Ok(Unlock::Credential(Credential::new(key.reveal().to_owned())));
        }
        match ask_passphrase(&format!("Passphrase of {}", self.location)).await? {
            Some(typed) => Ok(Unlock::Passphrase(typed.reveal().as_bytes().to_vec())),
            None => {
                let message = format!("no key was given for the repository at {}", self.location);
                let hint = format!(
                    "use --key-file or --passphrase-file, or put the key at {}",
                    self.key_file_of(repository).display()
                );
                Err(Failure::new(Exit::Denied, message).hint(hint))
            }
        }
    }
}

/// The user's directories.
struct Directories {
    config: PathBuf,
    data: PathBuf,
}

impl Directories {
    /// By the XDG base directory specification.
    fn find() -> Directories {
        let home = home();
        let below = |name: &str, folder: &str| {
            let set = variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
            set.unwrap_or_else(|| home.join(folder)).join("cistern")
        };
        Directories {
            config: below("XDG_CONFIG_HOME", ".config"),
            data: below("XDG_DATA_HOME", ".local/share"),
        }
    }
}

/// The user's home: as the environment says, else as the system does (services have no `HOME`), else the root.
fn home() -> PathBuf {
    let listed = || {
        let id = rustix::process::getuid().as_raw().to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = users.find(|fields| fields.get(2) == Some(&id.as_str()))?;
        user.get(5).filter(|home| !home.is_empty()).map(|home| (*home).to_owned())
    };
    variable("HOME").or_else(listed).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The location as written, from wherever it comes.
fn place(globals: &Globals, profile: &Profile) -> Result<Option<String>, Failure> {
    if let Some(text) = &globals.repo {
        return Ok(Some(text.clone()));
    }
    let set = variable("CISTERN_REPOSITORY");
    match (&globals.profile, &set, &profile.repository) {
        (Some(name), Some(_), Some(_)) => {
            let message = format!("--profile {name} and CISTERN_REPOSITORY each name a repository");
            Err(Failure::usage(message).hint("unset the variable, or say with --repo which one is meant"))
        }
        _ => Ok(set.or_else(|| profile.repository.clone())),
    }
}

/// A location as people write it: also a bare name of a directory, also with `~`.
pub fn parse_location(text: &str) -> Result<Location, Failure> {
    if text.is_empty() {
        return Err(Failure::usage("the location of the repository is empty"));
    }
    if let Some(rest) = text.strip_prefix("~/") {
        return Ok(Location::Directory(home().join(rest)));
    }
    if !text.contains("://") && text != "memory:" {
        return Ok(Location::Directory(text.into()));
    }
    Ok(text.parse()?)
}

fn key_source(globals: &Globals) -> Option<SecretSource> {
    let flag = globals.key_file.clone().map(SecretSource::File);
    let flag = flag.or_else(|| globals.key_command.clone().map(SecretSource::Command));
    flag.or_else(|| secret_variable("CISTERN_KEY"))
}

fn passphrase_source(globals: &Globals) -> Option<SecretSource> {
    let flag = globals.passphrase_file.clone().map(SecretSource::File);
    let flag = flag.or_else(|| globals.passphrase_command.clone().map(SecretSource::Command));
    flag.or_else(|| secret_variable("CISTERN_PASSPHRASE"))
}

fn secret_variable(name: &str) -> Option<SecretSource> {
    let itself = variable(name).map(|_| SecretSource::Variable(name.to_owned()));
    let file = || variable(&format!("{name}_FILE")).map(|path| SecretSource::File(path.into()));
    let command = || variable(&format!("{name}_COMMAND")).map(SecretSource::Command);
    itself.or_else(file).or_else(command)
}

/// An environment variable; empty is unset.
#[expect(clippy::disallowed_methods, reason = "this file is where the environment is read")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// All environment variables that are text.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
