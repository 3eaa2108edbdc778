//! Asking before something is taken away: on a terminal only, for a script has said what it wants.

use crate::context::Context;
use crate::failure::Failure;
use crate::show;

/// Returns when the person at the terminal agrees, at once if `yes` or there is no terminal to ask at.
///
/// # Errors
/// The person did not agree.
pub async fn confirm(context: &Context, yes: bool, question: &str) -> Result<(), Failure> {
    if yes || !(context.terminal.stdin && context.terminal.stderr) {
        return Ok(());
    }
    show::complain(&format!("{question} [y/N]"));
    let typed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let typed = typed.await.map_err(|e| Failure::other(format!("cannot ask: {e}")))?;
    let typed = typed.map_err(|e| Failure::other(format!("cannot read the answer: {e}")))?;
    if ["y", "yes"].contains(&typed.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::other("nothing was changed").hint("answer y, or say --yes beforehand"))
}
