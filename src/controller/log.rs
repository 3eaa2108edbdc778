//! The log of the controller: on standard error, as text or as one JSON object in each line.

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Begins to log. Called a second time it changes nothing.
pub fn begin(format: Format) {
    // The client of the cluster logs answers that it cannot decode: they may be Secrets.
    let heard = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("cistern", LevelFilter::INFO)
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("kube_runtime", LevelFilter::OFF);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    // A log that is there already stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(heard)).try_init();
}
