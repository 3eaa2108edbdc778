//! Asking again: requests that were refused for now, and looks repeated until something has come about.

use crate::ports::{Refusal, Why};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A request is asked at most as often as this; with the pauses below that is about three minutes.
const ASKS_MAX: u32 = 24;
/// The first pause; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Asks until there is an answer other than [`Why::Busy`], or until that has been the answer for too long.
///
/// A write that landed although its answer was lost is asked again: the caller knows what it then sees.
///
/// # Errors
/// The refusal.
pub async fn ask<T>(mut request: impl AsyncFnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let mut pause = PAUSE;
    for _ in 1..ASKS_MAX {
        match request().await {
            Err(refusal) if refusal.why == Why::Busy => sleep(pause).await,
            answer => return answer,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    request().await
}

/// Looks until there is something to see; the pauses grow from a tenth of a second to `every`.
///
/// # Errors
/// The look fails, or there was nothing to see `within` the time: then `None`.
pub async fn look<T>(
    within: Duration,
    every: Duration,
    mut glance: impl AsyncFnMut() -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    let end = Instant::now() + within;
    let mut pause = Duration::from_millis(100).min(every);
    loop {
        if let Some(seen) = glance().await? {
            return Ok(Some(seen));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(every);
    }
}
