//! The clock, the dice and the number of CPU threads, handed in when a repository is opened.
//!
//! Tests hand in a seed and a clock of their own, and every history can be replayed.

use cistern_format::id::SessionId;

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;
type Dice = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// Where time and randomness come from.
pub struct World {
    clock: Clock,
    dice: Dice,
    threads: usize,
}

impl World {
    /// The machine's clock and random source, and a CPU thread for each core it grants us.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn real() -> World {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        World {
            clock: Box::new(|| {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                since.map_or(0, |d| d.as_millis() as u64)
            }),
            dice: Box::new(|bytes| getrandom::fill(bytes).expect("the kernel's random source answers")),
            threads,
        }
    }

    /// A world of paper: everything runs on the caller's task, one step after the other.
    pub fn simulated(
        clock: impl Fn() -> u64 + Send + Sync + 'static,
        dice: impl Fn(&mut [u8]) + Send + Sync + 'static,
    ) -> World {
        World { clock: Box::new(clock), dice: Box::new(dice), threads: 0 }
    }

    /// The same world with another number of CPU threads; 0 runs everything on the caller's task.
    pub fn with_threads(self, threads: usize) -> World {
        World { threads, ..self }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.dice)(&mut bytes);
        bytes
    }

    /// A name nobody used before.
    pub fn new_session_id(&self) -> SessionId {
        SessionId::new(self.now_ms(), self.random())
    }

    /// CPU threads to use; 0 means none but the caller's.
    pub fn threads(&self) -> usize {
        self.threads
    }
}
