//! What stories measure, printed as rows for `benches/controller/figures`; and how large stories are.

use crate::plane::Plane;
use crate::stage::Replica;
use crate::support::home::now;
use crate::support::variable_of;
use std::time::{Duration, Instant};

/// The size a variable says, or the default.
pub fn size(variable: &str, default: usize) -> usize {
    variable_of(variable).map_or(default, |text| text.parse().unwrap())
}

/// One measurement from its beginning on.
pub struct Measurement<'a> {
    plane: &'a Plane,
    since: Instant,
    servers: Duration,
    requests: u64,
    controller: Duration,
}

impl<'a> Measurement<'a> {
    /// Begins now; the controller has not begun.
    pub fn begin(plane: &'a Plane) -> Measurement<'a> {
        let (servers, requests) = (plane.cpu(), plane.requests());
        Measurement { plane, since: now(), servers, requests, controller: Duration::ZERO }
    }

    /// Begins now, while the controller runs.
    pub fn begin_with(plane: &'a Plane, controller: &Replica) -> Measurement<'a> {
        let controller = controller.used().cpu;
        Measurement { controller, ..Measurement::begin(plane) }
    }

    /// Prints what `what` has taken until now, and how much of it for each of so many.
    pub fn print(self, what: &str, each: usize, controller: &Replica) {
        let took = self.since.elapsed();
        let used = controller.used();
        let requests = self.plane.requests() - self.requests;
        let each_of = |whole: f64| whole / each as f64;
        let millis = |time: Duration| each_of(time.as_secs_f64() * 1000.0);
        row(&[
            what,
            &format!("{:.1}", took.as_secs_f64()),
            &format!("{:.1}", millis(took)),
            &format!("{:.1}", millis(used.cpu - self.controller)),
            &format!("{:.1}", millis(self.plane.cpu() - self.servers)),
            &format!("{:.1}", each_of(requests as f64)),
            &format!("{:.0}", used.memory_bytes_max as f64 / 1e6),
            &format!("{:.0}", used.memory_bytes as f64 / 1e6),
        ]);
    }
}

/// Prints how long something took that is nobody's work.
pub fn print_wait(what: &str, took: Duration) {
    row(&[what, &format!("{:.1}", took.as_secs_f64())]);
}

fn row(cells: &[&str]) {
    println!("figure: {}", cells.join(" | "));
}
