//! Whose databases a call is about, and by what right: `credentialsSource`, `credentialsSecret`, `region`.

use crate::databases::{Access, AccessKey, Account};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::args;
use serde_json::Value as Json;

/// Fields of a Secret with a credential of AWS.
const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const SESSION_TOKEN: &str = "aws_session_token";
const ROLE: &str = "role";
/// The type of such a Secret, where it stands in a profile.
const AWS: &str = "secrets.kanister.io/aws";

/// The account of a call.
///
/// # Errors
/// In words: what is missing to reach it.
pub(super) fn account(call: &Call, setting: &Setting) -> Result<Box<dyn Account>, String> {
    let databases = setting.databases.as_ref();
    databases.ok_or("this controller has no way to managed databases")?.reach(&access(call)?)
}

fn access(call: &Call) -> Result<Access, String> {
    let text = |name: &str| {
        args::argument::<String>(&call.args, name).map(Option::unwrap_or_default).map_err(|e| e.to_string())
    };
    let (region, secret) = (text("region")?, text("credentialsSecret")?);
    let found = match text("credentialsSource")?.as_str() {
        "" | "profile" => of_profile(call)?,
        "secret" if secret.is_empty() => {
            return Err("credentialsSource is secret, so it needs credentialsSecret".to_owned());
        }
        "secret" => of_secret(named(call, &secret)?, &secret, "credentialsSecret")?,
        // Kanister's documentation has the second name, its program the first.
        "eks_service_account" | "serviceaccount" => Access::default(),
        other => {
            return Err(format!(
                "credentialsSource {other:?} is none of profile, secret and eks_service_account"
            ));
        }
    };
    Ok(Access { region: if region.is_empty() { found.region } else { region }, ..found })
}

/// A Secret that the ActionSet names, or else the phase.
fn named<'c>(call: &'c Call, name: &str) -> Result<&'c Json, String> {
    let found = call.material.secrets.get(name).or_else(|| call.secrets.get(name));
    found.ok_or_else(|| {
        format!("credentialsSecret {name:?} is neither among the ActionSet's secrets nor the phase's objects")
    })
}

fn of_profile(call: &Call) -> Result<Access, String> {
    let profile = call.material.profile.as_ref();
    let profile = &profile.ok_or("it needs a profile with a credential, or another credentialsSource")?.json;
    let credential = &profile["Credential"];
    let found = match credential["Type"].as_str() {
        Some("keyPair") => {
            let text = |field: &str| credential["KeyPair"][field].as_str().unwrap_or_default().to_owned();
            let key = AccessKey { id: text("ID"), secret: text("Secret").into(), ..AccessKey::default() };
            Access { key: Some(key), ..Access::default() }
        }
        Some("secret") if credential["Secret"]["type"] == AWS => {
            let name = credential["Secret"]["metadata"]["name"].as_str().unwrap_or_default();
            of_secret(&credential["Secret"], name, "the profile's credential")?
        }
        _ => {
            return Err(format!(
                "the profile's credential opens no account of AWS: it is neither a key pair nor a Secret of \
                 type {AWS}"
            ));
        }
    };
    let region = profile["Location"]["region"].as_str().unwrap_or_default().to_owned();
    Ok(Access { region, ..found })
}

/// What a Secret holds: a key, a role, or a key to take a role with.
fn of_secret(secret: &Json, name: &str, place: &str) -> Result<Access, String> {
    let text = |field: &str| {
        cistern_action::profile::text(secret, name, field, place).map(Option::unwrap_or_default)
    };
    let (id, key, role) = (text(ID)?, text(SECRET)?, text(ROLE)?);
    if id.is_empty() != key.is_empty() {
        return Err(format!("{place}: secret {name:?} has only one of {ID} and {SECRET}"));
    }
    if id.is_empty() && role.is_empty() {
        return Err(format!("{place}: secret {name:?} has neither {ID} and {SECRET} nor {ROLE}"));
    }
    let session_token = text(SESSION_TOKEN)?.into();
    let key = (!id.is_empty()).then(|| AccessKey { id, secret: key.into(), session_token });
    Ok(Access { region: String::new(), key, role })
}
