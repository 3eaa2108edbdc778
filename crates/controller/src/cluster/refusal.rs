//! What an answer that is no success means: the codes of the API, errors of the connection, silence.

use cistern_functions::ports::{Refusal, Why};
use kube::client::AuthError;
use kube::core::Status;
use std::time::Duration;

/// As much of an error message is handed on; the API server can repeat a whole object in one.
const SAID_CHARS_MAX: usize = 1500;

/// An answer that is no success, with what the answer alone tells.
#[derive(Debug)]
pub(super) struct Failure {
    refusal: Refusal,
    code: u16,
    /// The API server named the object it did not find.
    names_object: bool,
}

impl Failure {
    /// No answer came.
    pub(super) fn silence(waited: Duration) -> Failure {
        let secs = waited.as_secs();
        Failure::plain(Why::Busy, format!("got no answer: the API server said nothing for {secs} seconds"))
    }

    /// An answer that is not JSON: a proxy's, most likely.
    pub(super) fn gibberish() -> Failure {
        Failure::plain(Why::Busy, "got an answer that is no JSON; is there a proxy before the API server?")
    }

    /// The request cannot be put together.
    pub(super) fn unfit(error: kube::core::request::Error) -> Failure {
        Failure::plain(Why::Invalid, format!("cannot be asked for: {error}"))
    }

    fn plain(why: Why, said: impl Into<String>) -> Failure {
        Failure { refusal: Refusal::new(why, said), code: 0, names_object: false }
    }

    /// An API server that is starting answers requests before it knows who may do what, and what resources
    /// have been defined: it then denies, or does not find, what it allows and has.
    pub(super) fn may_be_early(&self) -> bool {
        self.refusal.why == Why::Denied || (self.code == 404 && !self.names_object)
    }

    /// The same, from an API server that is starting.
    pub(super) fn early(mut self) -> Failure {
        self.refusal.why = Why::Busy;
        self.refusal.said = format!("{} (the API server is starting)", self.refusal.said);
        self
    }

    /// The rest of a list is not to be had any more.
    pub(super) fn expired(&self) -> bool {
        self.code == 410
    }

    /// Logs of a container that has not started are a bad request to the API server.
    pub(super) fn of_log(mut self) -> Failure {
        if self.code == 400 && self.refusal.said.contains("waiting to start") {
            self.refusal.why = Why::Busy;
        }
        self
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        failure.refusal
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => of_status(&status),
            kube::Error::Auth(error) => {
                Failure::plain(Why::Denied, format!("cannot be asked for: {}", of_credentials(&error)))
            }
            // Reached through the layers of the client: what fails there failed to get a credential.
            kube::Error::Service(error) if error.is::<AuthError>() => {
                let error = error.downcast_ref::<AuthError>().expect("it is one");
                Failure::plain(Why::Denied, format!("cannot be asked for: {}", of_credentials(error)))
            }
            kube::Error::UpgradeConnection(error) => {
                Failure::plain(Why::Busy, format!("got no stream from the API server: {error}"))
            }
            other => Failure::plain(Why::Busy, bounded(&format!("got no answer: {}", chain(&other)))),
        }
    }
}

fn of_status(status: &Status) -> Failure {
    let why = match (status.code, status.reason.as_str()) {
        (404, _) => Why::Absent,
        (409, "AlreadyExists") => Why::Exists,
        (409, _) => Why::Conflict,
        (401 | 403, _) => Why::Denied,
        (408 | 410 | 429, _) => Why::Busy,
        (code, _) if !(400..500).contains(&code) => Why::Busy,
        _ => Why::Invalid,
    };
    let message = if status.message.is_empty() { &status.reason } else { &status.message };
    let message = message.trim();
    let said = match why {
        Why::Absent => format!("is not there: {message}"),
        Why::Exists => format!("is there already: {message}"),
        Why::Conflict => format!("has changed since it was read, or is in use: {message}"),
        Why::Denied => format!("is denied: {message}; the account needs a Role that allows it"),
        Why::Invalid => format!("is not accepted by the API server: {message}"),
        Why::Busy => format!("got no answer but {}: {message}", status.code),
    };
    let named = |details: &kube::core::response::StatusDetails| !details.name.is_empty();
    Failure {
        refusal: Refusal::new(why, bounded(&said)),
        code: status.code,
        names_object: status.details.as_ref().is_some_and(named),
    }
}

/// In words, without what a credential plugin printed: that may be the credential.
pub(super) fn of_credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            format!("the credential plugin of the kubeconfig ended with {}; run it by hand", out.status)
        }
        AuthError::AuthExecParse(_) => {
            "the credential plugin of the kubeconfig did not print an ExecCredential; run it by hand"
                .to_owned()
        }
        other => format!("no credentials: {other}"),
    }
}

/// An error with its reasons, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut reason = error.source();
    while let Some(inner) = reason {
        let text = inner.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        reason = inner.source();
    }
    said
}

fn bounded(said: &str) -> String {
    match said.char_indices().nth(SAID_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &said[..end]),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(code: u16, reason: &str) -> Why {
        let status = Status::failure("m", reason).with_code(code);
        Refusal::from(Failure::from(kube::Error::Api(status.boxed()))).why
    }

    #[test]
    fn codes_mean_what_the_caller_can_do() {
        assert_eq!(why(404, "NotFound"), Why::Absent);
        assert_eq!(why(409, "AlreadyExists"), Why::Exists);
        assert_eq!(why(409, "Conflict"), Why::Conflict);
        for code in [401, 403] {
            assert_eq!(why(code, ""), Why::Denied);
        }
        for code in [400, 405, 413, 415, 422] {
            assert_eq!(why(code, ""), Why::Invalid);
        }
        for code in [408, 410, 429, 500, 502, 503, 504] {
            assert_eq!(why(code, ""), Why::Busy);
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let status = Status::failure(&"ä".repeat(9000), "").with_code(422);
        let refusal = Refusal::from(Failure::from(kube::Error::Api(status.boxed())));
        assert!(refusal.said.chars().count() <= SAID_CHARS_MAX + 2, "{}", refusal.said.len());
    }

    #[test]
    fn what_a_credential_plugin_printed_is_not_repeated() {
        use std::os::unix::process::ExitStatusExt as _;
        let status = std::process::ExitStatus::from_raw(256);
        let out = std::process::Output { status, stdout: b"s3cr3t".to_vec(), stderr: b"s3cr3t".to_vec() };
        let error = AuthError::AuthExecRun { cmd: "plugin --password s3cr3t".to_owned(), out: Box::new(out) };
        let failure = Failure::from(kube::Error::Auth(error));
        assert!(!format!("{failure:?}").contains("s3cr3t"), "{failure:?}");
    }
}
