//! The door `cistern controller`: carries out the ActionSets of a cluster until it is told to stop.
//!
//! What it does is done by `cistern-controller`; here stand its flags and its end.

mod health;
mod log;
mod office;
mod serve;
mod told;

use crate::door;
use clap::Parser;
use log::Format;
use office::Office;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Carry out the ActionSets of a Kubernetes cluster
#[derive(Parser)]
#[command(
    name = "cistern controller",
    bin_name = "cistern controller",
    version,
    max_term_width = 110,
    after_help = AFTER_HELP
)]
struct Args {
    /// Its own namespace: that of its lease, and of pods for which a blueprint names none
    /// [default: that of the pod it runs in, or of the kubeconfig's context]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Carry out the ActionSets of this namespace; may be said several times [default: its own]
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    watch_namespace: Vec<String>,
    /// Carry out the ActionSets of all namespaces
    #[arg(long)]
    all_namespaces: bool,
    /// Another namespace in which functions act; may be said several times. Only a controller that may not list
    /// the pods of all namespaces needs to be told
    #[arg(long, value_name = "NAMESPACE")]
    application_namespace: Vec<String>,
    /// Service account of pods in its own namespace
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Image with this program, from which pods of any image get our `kando`
    #[arg(long, value_name = "IMAGE")]
    mover_image: Option<String>,
    /// Image of functions that move data, where a blueprint names none
    #[arg(long, value_name = "IMAGE")]
    tools_image: Option<String>,
    /// Image of functions that dump databases of RDS: bash, tar and PostgreSQL's tools
    #[arg(long, value_name = "IMAGE")]
    postgres_image: Option<String>,
    /// Where RDS is, if not at AWS [env: AWS_ENDPOINT_URL_RDS, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    rds_endpoint: Option<String>,
    /// Let `toJson .Profile` yield the profile with its credential, as Kanister's own `kando` needs it
    #[arg(long)]
    profile_in_commands: bool,
    /// Do not hold pods to Kubernetes' restricted profile
    #[arg(long)]
    unrestricted_pods: bool,
    /// As many ActionSets are under way at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    max_under_way: u16,
    /// And as many of one namespace [default: as many as in all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    max_under_way_per_namespace: Option<u16>,
    /// Delete ActionSets so long after their end that say nothing about it themselves [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl_after_finished: Option<Duration>,
    /// The Lease by which one of several controllers is chosen
    #[arg(long, value_name = "NAME", default_value = "cistern-controller")]
    lease_name: String,
    /// Take no Lease; then only one controller may run
    #[arg(long)]
    no_leader_election: bool,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    webhook: Webhook,
    /// The cluster, if not the one this runs in [env: KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Form of the log on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

/// Which blueprints are let in.
#[derive(clap::Args)]
struct Webhook {
    /// Address of the admission webhook
    #[arg(long, value_name = "ADDRESS", requires = "webhook_secret")]
    webhook_listen: Option<SocketAddr>,
    /// Secret with the webhook's certificate
    #[arg(long, value_name = "NAME")]
    webhook_secret: Option<String>,
    /// ValidatingWebhookConfiguration that is to name our own authority; with it the certificate is made here
    #[arg(long, value_name = "NAME", requires = "webhook_service")]
    webhook_configuration: Option<String>,
    /// Service through which the API server calls the webhook
    #[arg(long, value_name = "NAME")]
    webhook_service: Option<String>,
}

const AFTER_HELP: &str = "\
Exit status:
  0    told to stop (SIGTERM, SIGINT); phases go on in their pods, and the next controller takes them up
  1    another failure
  2    wrong usage or configuration, or the cluster lacks the resources (CRDs)
  4    the cluster does not let it do what it has to do
  6    the cluster does not answer";

/// Parses the arguments, runs the controller, reports how it ended.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let args = match door::understand::<Args>(argv) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let format = args.log_format;
    log::begin(format);
    let outcome = door::run_heeding(async |signals| {
        let mut office = tokio::select! {
            office = Office::open(&args) => office?,
            _ = signals.next() => return Ok(()),
        };
        let outcome = tokio::select! {
            outcome = office.work() => outcome,
            signal = signals.next() => {
                tracing::info!(signal, "told to stop; phases that are under way go on in their pods");
                Ok(())
            }
        };
        office.close().await;
        outcome
    });
    door::leave(outcome, format == Format::Json)
}
