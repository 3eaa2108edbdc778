//! Asking again: requests that were refused for now, and looks repeated until something has come about.

use crate::ports::{Refusal, Why};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A request is asked at most as often as this; with the pauses below that is an hour. So long an API server
/// may be away without a phase failing that runs meanwhile.
const ASKS_MAX: u32 = 365;
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
pub async fn ask<T, A>(request: impl FnMut() -> A) -> Result<T, Refusal>
where
    A: Future<Output = Result<T, Refusal>>,
{
    ask_at_most(ASKS_MAX, request).await
}

/// The same, as often as this.
pub(crate) async fn ask_at_most<T, A>(asks: u32, mut request: impl FnMut() -> A) -> Result<T, Refusal>
where
    A: Future<Output = Result<T, Refusal>>,
{
    let mut pause = PAUSE;
    for _ in 1..asks {
        match request().await {
            Err(refusal) if refusal.why == Why::Busy => sleep(pause).await,
            answer => return answer,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    request().await
}

/// The pauses between looks at something that is to come about: they grow from a tenth of a second.
#[derive(Debug)]
pub struct Looks {
    end: Instant,
    pause: Duration,
    every: Duration,
}

impl Looks {
    /// Looks for as long as `within`, in the end one every `every`.
    pub fn new(within: Duration, every: Duration) -> Looks {
        Looks { end: Instant::now() + within, pause: Duration::from_millis(100).min(every), every }
    }

    /// Pauses until the next look; whether there is time for one.
    pub async fn again(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(self.every);
        true
    }
}
