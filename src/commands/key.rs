//! `cistern key`: passphrases that open the repository, and credentials for those who may do less.

use crate::confirm::confirm;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use crate::terminal::ask_passphrase;
use crate::{keyfile, show};
use cistern_repo::{Repository, Role, SlotInfo, printable};
use cistern_store::Secret;
use serde::Serialize;
use std::path::PathBuf;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the passphrases (key slots), without the passphrases
    List,
    /// Add a passphrase
    Add(Add),
    /// Remove a passphrase
    Remove(Remove),
    /// Write a credential to a new file, such as one that may only push
    Export(Export),
    /// Replace a passphrase by a new one
    Rotate(Rotate),
}

#[derive(clap::Args)]
struct Add {
    /// What the passphrase allows: push, pull, maintain or owner
    #[arg(long, default_value_t = Role::Owner)]
    role: Role,
    /// Name of the passphrase, for people
    #[arg(long, value_name = "NAME", value_parser = super::tag::parse_label)]
    label: String,
    #[command(flatten)]
    new: NewPassphrase,
}

#[derive(clap::Args)]
struct Remove {
    /// Id of the key slot, as `key list` shows it
    id: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(clap::Args)]
struct Export {
    /// What the credential allows: push, pull, maintain or owner
    #[arg(long)]
    role: Role,
    /// The file, which must not exist yet
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(clap::Args)]
struct Rotate {
    /// Id of the key slot, as `key list` shows it
    id: String,
    #[command(flatten)]
    new: NewPassphrase,
}

/// Where the new passphrase is; asked for at the terminal when nothing is said.
#[derive(clap::Args)]
struct NewPassphrase {
    /// File that holds the new passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Environment variable that holds the new passphrase
    #[arg(long, value_name = "NAME", conflicts_with = "new_passphrase_file")]
    new_passphrase_env: Option<String>,
    /// Shell command that prints the new passphrase
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["new_passphrase_file", "new_passphrase_env"])]
    new_passphrase_command: Option<String>,
}

impl NewPassphrase {
    async fn read(self) -> Result<Secret, Failure> {
        let file = self.new_passphrase_file.map(SecretSource::File);
        let variable = self.new_passphrase_env.map(SecretSource::Variable);
        let command = self.new_passphrase_command.map(SecretSource::Command);
        match file.or(variable).or(command) {
            Some(source) => source.read("new passphrase").await,
            None => ask_twice().await,
        }
    }
}

async fn ask_twice() -> Result<Secret, Failure> {
    let Some(first) = ask_passphrase("New passphrase").await? else {
        let message = "no new passphrase was given, and there is no terminal to ask at";
        return Err(Failure::usage(message).hint("--new-passphrase-file says where it is"));
    };
    let second = ask_passphrase("The same again").await?;
    if second.is_none_or(|second| second.reveal() != first.reveal()) {
        return Err(Failure::usage("the two passphrases differ; nothing was changed"));
    }
    Ok(first)
}

#[derive(Serialize)]
struct Slots {
    slots: Vec<SlotInfo>,
}

#[derive(Serialize)]
struct Changed {
    added: Option<SlotInfo>,
    removed: Option<String>,
}

#[derive(Serialize)]
struct Exported {
    role: Role,
    file: PathBuf,
}

/// Does what was asked.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    match args.action {
        Action::List => list(&repository, context).await,
        Action::Add(args) => add(args, &repository, context).await,
        Action::Remove(args) => remove(args, &repository, context).await,
        Action::Export(args) => export(args, &repository, context),
        Action::Rotate(args) => rotate(args, &repository, context).await,
    }
}

async fn list(repository: &Repository, context: &Context) -> Result<(), Failure> {
    let slots = repository.key_slots().await?;
    if context.json {
        return show::json(&Slots { slots });
    }
    if slots.is_empty() {
        show::note(context, "no passphrase opens this repository, only key files");
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        slots.into_iter().map(|s| vec![s.id, s.role.to_string(), printable(&s.label)]).collect();
    show::raw(show::table(&["ID", "ROLE", "LABEL"], &rows).as_bytes())
}

async fn add(args: Add, repository: &Repository, context: &Context) -> Result<(), Failure> {
    require_owner(repository, "add a passphrase")?;
    let passphrase = args.new.read().await?;
    let slot = repository.add_key_slot(args.role, &args.label, passphrase.reveal().as_bytes()).await?;
    changed(context, Some(slot), None)
}

async fn remove(args: Remove, repository: &Repository, context: &Context) -> Result<(), Failure> {
    require_owner(repository, "remove a passphrase")?;
    let slot = slot(repository, &args.id).await?;
    let question = format!("Remove the passphrase `{}` of role {}?", printable(&slot.label), slot.role);
    confirm(context, args.yes, &question).await?;
    repository.remove_key_slot(&slot.id).await?;
    changed(context, None, Some(slot.id))
}

/// The new passphrase is stored before the old one goes: whenever it ends, at least one of them opens.
async fn rotate(args: Rotate, repository: &Repository, context: &Context) -> Result<(), Failure> {
    require_owner(repository, "replace a passphrase")?;
    let old = slot(repository, &args.id).await?;
    let passphrase = args.new.read().await?;
    let new = repository.add_key_slot(old.role, &old.label, passphrase.reveal().as_bytes()).await?;
    let removed = repository.remove_key_slot(&old.id).await;
    removed.map_err(|e| {
        let hint =
            format!("both passphrases open it now; `cistern key remove {}` removes the old one", old.id);
        Failure::from(e).hint(hint)
    })?;
    changed(context, Some(new), Some(old.id))
}

fn export(args: Export, repository: &Repository, context: &Context) -> Result<(), Failure> {
    let credential = repository.credential(args.role)?;
    keyfile::create(&args.output, &credential)?;
    if context.json {
        return show::json(&Exported { role: args.role, file: args.output });
    }
    show::note(context, &format!("A key of role {} is in {}", args.role, args.output.display()));
    Ok(())
}

/// Before a passphrase is asked for in vain.
fn require_owner(repository: &Repository, doing: &str) -> Result<(), Failure> {
    match repository.keys().role() {
        Role::Owner => Ok(()),
        role => {
            let why = format!("cannot {doing}: it takes the owner's key, this one is of role {role}");
            Err(Failure::new(Exit::Denied, why))
        }
    }
}

async fn slot(repository: &Repository, id: &str) -> Result<SlotInfo, Failure> {
    let found = repository.key_slots().await?.into_iter().find(|s| s.id == id);
    found.ok_or_else(|| {
        let message = format!("there is no key slot `{}`", printable(id));
        Failure::new(Exit::NotFound, message).hint("`cistern key list` shows the ids")
    })
}

fn changed(context: &Context, added: Option<SlotInfo>, removed: Option<String>) -> Result<(), Failure> {
    if context.json {
        return show::json(&Changed { added, removed });
    }
    if let Some(slot) = added {
        let label = printable(&slot.label);
        show::note(context, &format!("added {} of role {}: {label}", slot.id, slot.role));
    }
    if let Some(id) = removed {
        show::note(context, &format!("removed {id}"));
    }
    Ok(())
}
