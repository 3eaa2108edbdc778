//! What a controller needs to work, brought together: the cluster, its lease, its clock, its listeners.

use super::health::Health;
use super::told::Told;
use super::{Args, Webhook, serve};
use crate::context::{variable, variables};
use crate::failure::{Exit, Failure};
use cistern_api::Time;
use cistern_controller::certificate::{Certificate, Own};
use cistern_controller::leader::{Audience as _, Election, Pace};
use cistern_controller::repositories::Repositories;
use cistern_controller::schedules::Schedules;
use cistern_controller::{Controller, KubeCluster, Metrics, Proxies, Rules, World, connect, watch};
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_rds::Amazon;
use cistern_store::Options;
use futures::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// News of ActionSets that wait to be heard.
const NEWS_MAX: usize = 1024;
/// So long may the API server be away when the controller starts.
const START: Duration = Duration::from_secs(60);
/// Between two questions whether it is there.
const START_AGAIN: Duration = Duration::from_secs(1);
/// The same while the controller works and nothing else asks.
const BREATH: Duration = Duration::from_secs(20);

/// A controller that is about to work.
pub struct Office {
    cluster: Arc<KubeCluster>,
    rules: Rules,
    world: World,
    metrics: Arc<Metrics>,
    health: Health,
    told: Told,
    /// None, where only one controller runs.
    election: Option<Election>,
    /// Times that work was begun here.
    begun: AtomicU64,
    listeners: Vec<BoxFuture<'static, std::convert::Infallible>>,
}

impl Office {
    /// Reaches the cluster and opens the listeners.
    ///
    /// # Errors
    /// There is no such cluster, it does not answer, or an address is taken.
    pub async fn open(args: &Args) -> Result<Office, Failure> {
        let connected =
            connect(args.kubeconfig.as_deref(), args.context.as_deref(), &Proxies::of(variable)).await;
        let cluster = Arc::new(connected.map_err(|refusal| {
            Failure::usage(format!("cannot talk to a cluster: {refusal}"))
                .hint("say which with --kubeconfig and --context, or run it in a pod")
        })?);
        let namespace = args.namespace.clone().unwrap_or_else(|| cluster.default_namespace().to_owned());
        let world = World { identity: identity(), now: Arc::new(|| Time(jiff::Timestamp::now())) };
        let (health, metrics) = (Health::default(), Arc::new(Metrics::new()));
        let listeners = listeners(args, &cluster, &namespace, &world, &health, &metrics).await?;
        reach(&cluster).await?;
        health.answered();
        let election = (!args.no_leader_election).then(|| {
            let cluster: Arc<dyn Cluster> = Arc::<KubeCluster>::clone(&cluster);
            let now = Arc::clone(&world.now);
            Election::new(cluster, &namespace, &args.lease_name, &world.identity, now, Pace::default())
        });
        let rules = rules(args, &namespace);
        let watched = if rules.watched.is_empty() { "all".to_owned() } else { rules.watched.join(",") };
        tracing::info!(namespace, watched, identity = world.identity, "the controller begins");
        let (told, begun) = (Told::to(health.clone()), AtomicU64::new(0));
        Ok(Office { cluster, rules, world, metrics, health, told, election, begun, listeners })
    }

    /// Works, or stands by, until something fails that only a restart can mend.
    ///
    /// # Errors
    /// What failed.
    pub async fn work(&mut self) -> Result<(), Failure> {
        let listeners = futures::future::select_all(
            std::mem::take(&mut self.listeners)
                .into_iter()
                .chain([Box::pin(std::future::pending()) as BoxFuture<'static, std::convert::Infallible>]),
        );
        let ended = tokio::select! {
            ended = self.lead() => ended,
            (never, ..) = listeners => match never {},
        };
        ended.map_err(|refusal| failed("carry out ActionSets", &refusal))
    }

    /// Gives the lease back. To be called when the work has been dropped.
    pub async fn close(&self) {
        if let Some(election) = &self.election {
            election.release().await;
        }
    }

    async fn lead(&self) -> Result<(), Refusal> {
        match &self.election {
            Some(election) => election.lead(&self.told, |cluster| self.carry_out(cluster)).await,
            None => {
                self.told.led_by(&self.world.identity, true);
                let cluster: Arc<dyn Cluster> = Arc::<KubeCluster>::clone(&self.cluster);
                tokio::select! {
                    ended = self.carry_out(cluster) => ended,
                    () = self.breathe() => Ok(()),
                }
            }
        }
    }

    /// The work of a leader; dropped when it leads no longer.
    async fn carry_out(&self, cluster: Arc<dyn Cluster>) -> Result<(), Refusal> {
        // Who comes back as leader finds what it did before as if another had done it.
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let identity = format!("{}/{number}", self.world.identity);
        let world = World { identity, now: Arc::clone(&self.world.now) };
        let (changed, news) = mpsc::channel(NEWS_MAX);
        let controller = Controller::new(Arc::clone(&cluster), self.rules.clone(), world.clone());
        let schedules = Schedules::new(Arc::clone(&cluster), self.rules.clone(), world.clone());
        let repositories =
            Repositories::new(cluster, self.rules.clone(), world).counting(Arc::clone(&self.metrics));
        let watching = watch(&self.cluster, &self.rules.watched, changed, || self.health.answered());
        tokio::select! {
            ended = controller.counting(Arc::clone(&self.metrics)).run(news) => ended,
            () = schedules.run() => Ok(()),
            () = repositories.run() => Ok(()),
            () = watching => Ok(()),
        }
    }

    /// Asks whether the API server is there, where no lease does.
    async fn breathe(&self) {
        loop {
            if self.cluster.reachable().await.is_ok() {
                self.health.answered();
            }
            sleep(BREATH).await;
        }
    }
}

/// The way to RDS, with what the environment says of AWS.
fn databases(args: &Args) -> Amazon {
    let named = ["AWS_ENDPOINT_URL_RDS", "AWS_ENDPOINT_URL"].iter().find_map(|name| variable(name));
    Amazon::new(Options::from_vars(variables()), args.rds_endpoint.clone().or(named))
}

fn rules(args: &Args, namespace: &str) -> Rules {
    let mut rules = Rules::within(namespace);
    rules.service_account.clone_from(&args.service_account);
    rules.mover_image.clone_from(&args.mover_image);
    if let Some(image) = &args.tools_image {
        rules.tools_image.clone_from(image);
    }
    if let Some(image) = &args.postgres_image {
        rules.postgres_image.clone_from(image);
    }
    rules.databases = Some(Arc::new(databases(args)));
    rules.profile_in_commands = args.profile_in_commands;
    rules.restricted = !args.unrestricted_pods;
    if args.all_namespaces {
        rules.watched.clear();
    } else if !args.watch_namespace.is_empty() {
        rules.watched.clone_from(&args.watch_namespace);
    }
    rules.applications.clone_from(&args.application_namespace);
    rules.under_way_max = usize::from(args.max_under_way);
    rules.under_way_max_per_namespace =
        usize::from(args.max_under_way_per_namespace.unwrap_or(args.max_under_way));
    rules.ttl_after_finished = args.ttl_after_finished;
    rules
}

/// The name of the machine, which for a pod is the pod's, and something that no other start has.
fn identity() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut dice = [0; 8];
    // Without dice the moment still tells two starts apart.
    if getrandom::fill(&mut dice).is_err() {
        dice = jiff::Timestamp::now().as_nanosecond().to_le_bytes()[..8].try_into().expect("it is longer");
    }
    format!("{machine}_{}", hex::encode(dice))
}

/// Waits until the API server answers.
async fn reach(cluster: &KubeCluster) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match cluster.reachable().await {
            Ok(()) => return Ok(()),
            Err(refusal) if refusal.why == Why::Busy && began.elapsed() < START => sleep(START_AGAIN).await,
            Err(refusal) => return Err(failed("reach the API server", &refusal)),
        }
    }
}

async fn listeners(
    args: &Args,
    cluster: &Arc<KubeCluster>,
    namespace: &str,
    world: &World,
    health: &Health,
    metrics: &Arc<Metrics>,
) -> Result<Vec<BoxFuture<'static, std::convert::Infallible>>, Failure> {
    let mut listeners: Vec<BoxFuture<'static, _>> = Vec::new();
    if let Some(address) = args.listen {
        let metrics = Arc::clone(metrics);
        let printed: serve::Metrics = Arc::new(move || metrics.render());
        listeners.push(Box::pin(serve::serve(listen(address).await?, health.clone(), printed)));
    }
    if let Some(address) = args.webhook.webhook_listen {
        let certificate = certificate(&args.webhook, cluster, namespace, world);
        listeners.push(Box::pin(serve::serve_webhook(listen(address).await?, certificate)));
    }
    Ok(listeners)
}

fn certificate(args: &Webhook, cluster: &Arc<KubeCluster>, namespace: &str, world: &World) -> Certificate {
    let own = args.webhook_configuration.clone().zip(args.webhook_service.clone());
    Certificate {
        cluster: Arc::<KubeCluster>::clone(cluster),
        world: world.clone(),
        namespace: namespace.to_owned(),
        secret: args.webhook_secret.clone().expect("clap requires it with the address"),
        own: own.map(|(configuration, service)| Own { service, configuration }),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|e| {
        Failure::usage(format!("cannot listen on {address}: {e}")).hint("is another controller running here?")
    })
}

fn failed(what: &str, refusal: &Refusal) -> Failure {
    let exit = match refusal.why {
        Why::Denied => Exit::Denied,
        Why::Busy => Exit::Temporary,
        Why::Absent | Why::Invalid => Exit::Usage,
        Why::Exists | Why::Conflict => Exit::Other,
    };
    let failure = Failure::new(exit, format!("cannot {what}: the request {refusal}"));
    match refusal.why {
        Why::Absent => failure.hint("are the CRDs installed? deploy/crds has them"),
        Why::Denied => failure.hint("the Role of the chart, or of deploy/manifests, allows what is needed"),
        _ => failure,
    }
}
