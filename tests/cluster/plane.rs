//! etcd and kube-apiserver on the loopback, for one test program; both die with it.

use crate::certificates::{Authority, Identity};
use crate::server::{PATIENCE, Server};
use crate::support::home::now;
use crate::support::{program, skip, variable_of};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

/// What `tests/servers/kubernetes/build` builds unless it is told otherwise: the current release.
const CURRENT: &str = include_str!("../servers/kubernetes/go.mod");
/// How often the pair is started when somebody takes a port in between.
const STARTS_MAX: u32 = 3;

/// The servers.
pub struct Plane {
    folder: Folder,
    authority: Authority,
    /// Kubernetes' version.
    pub version: String,
    /// Where the API server listens.
    pub url: String,
    etcd_url: String,
    programs: Programs,
    etcd: Mutex<Option<Server>>,
    api: Mutex<Option<Server>>,
}

struct Programs {
    etcd: PathBuf,
    api: PathBuf,
}

/// A directory for this process. What all tests share is never dropped: so the next run removes it.
struct Folder(PathBuf);

impl Plane {
    /// Starts both; `None` where a program is missing, which is said.
    pub fn start() -> Option<Plane> {
        let version = variable_of("CISTERN_TEST_KUBERNETES").unwrap_or_else(|| current_version().to_owned());
        let programs = programs(&version)?;
        (0..STARTS_MAX).find_map(|_| Plane::try_start(&version, &programs)).or_else(|| {
            panic!("kube-apiserver {version} did not answer within {PATIENCE:?}, {STARTS_MAX} times")
        })
    }

    fn try_start(version: &str, programs: &Programs) -> Option<Plane> {
        let plane = Plane {
            folder: Folder::new(),
            authority: Authority::new(),
            version: version.to_owned(),
            url: format!("https://127.0.0.1:{}", free_port()),
            etcd_url: format!("http://127.0.0.1:{}", free_port()),
            programs: Programs { etcd: programs.etcd.clone(), api: programs.api.clone() },
            etcd: Mutex::new(None),
            api: Mutex::new(None),
        };
        plane.write_secrets();
        plane.start_etcd();
        plane.start_api();
        plane.answers().then_some(plane)
    }

    /// A certificate that this cluster believes.
    pub fn sign(&self, name: &str, group: Option<&str>) -> Identity {
        self.authority.sign(name, group)
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> &str {
        &self.authority.pem
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// A kubeconfig of whoever has this token.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> PathBuf {
        self.write_kubeconfig(name, &self.url, &format!("{{token: {token}}}"))
    }

    /// The same, for a door before the API server.
    pub fn kubeconfig_through(&self, url: &str, name: &str, token: &str) -> PathBuf {
        self.write_kubeconfig(name, url, &format!("{{token: {token}}}"))
    }

    /// A kubeconfig of nobody in particular.
    pub fn kubeconfig_of_nobody(&self) -> PathBuf {
        self.write_kubeconfig("nobody", &self.url, "{}")
    }

    /// The same kubeconfig for a server at another address.
    pub fn kubeconfig_by(&self, kubeconfig: &Path, url: &str) -> PathBuf {
        let path = kubeconfig.with_extension("by");
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        assert!(text.contains(&self.url));
        std::fs::write(&path, text.replace(&self.url, url)).unwrap();
        path
    }

    /// A directory that goes with the cluster.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn start_etcd(&self) {
        let mut command = Command::new(&self.programs.etcd);
        let peers = format!("http://127.0.0.1:{}", free_port());
        command.arg("--data-dir").arg(self.path("etcd")).arg("--unsafe-no-fsync");
        command.args(["--listen-client-urls", &self.etcd_url, "--advertise-client-urls", &self.etcd_url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        *self.etcd.lock().unwrap() = Some(Server::start(&command, &self.path("etcd.log")));
    }

    pub fn start_api(&self) {
        let path = |name: &str| self.path(name).into_os_string().into_string().unwrap();
        let port = self.url.rsplit(':').next().unwrap();
        let mut command = Command::new(&self.programs.api);
        for (flag, value) in [
            ("etcd-servers", self.etcd_url.as_str()),
            ("bind-address", "127.0.0.1"),
            ("advertise-address", "127.0.0.1"),
            ("secure-port", port),
            ("service-cluster-ip-range", "10.96.0.0/16"),
            ("tls-cert-file", &path("api.crt")),
            ("tls-private-key-file", &path("api.key")),
            ("client-ca-file", &path("authority.crt")),
            ("kubelet-client-certificate", &path("to-kubelet.crt")),
            ("kubelet-client-key", &path("to-kubelet.key")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-account-key-file", &path("accounts.crt")),
            ("service-account-signing-key-file", &path("accounts.key")),
            ("authorization-mode", "RBAC"),
            // It waits for a controller that makes an account in every namespace; there is none.
            ("disable-admission-plugins", "ServiceAccount"),
            ("allow-privileged", "true"),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        *self.api.lock().unwrap() = Some(Server::start(&command, &self.path("api.log")));
    }

    /// CPU time of both so far.
    pub fn cpu(&self) -> Duration {
        [&self.api, &self.etcd].map(|server| server.lock().unwrap().as_ref().unwrap().used().cpu).iter().sum()
    }

    /// Requests that the API server has had so far.
    pub fn requests(&self) -> u64 {
        let metrics = self.get("/metrics").unwrap_or_default();
        let counted = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        let numbers = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        numbers.map(|number| number as u64).sum()
    }

    /// Kills the API server, as by a lack of memory.
    pub fn kill_api(&self) {
        self.api.lock().unwrap().take();
    }

    /// Kills etcd.
    pub fn kill_etcd(&self) {
        self.etcd.lock().unwrap().take();
    }

    /// Holds etcd still; everybody waits for it.
    pub fn freeze_etcd(&self) {
        self.etcd.lock().unwrap().as_ref().unwrap().signal(rustix::process::Signal::STOP);
    }

    pub fn thaw_etcd(&self) {
        self.etcd.lock().unwrap().as_ref().unwrap().signal(rustix::process::Signal::CONT);
    }

    /// Waits until the API server is ready; false if it gave up or takes too long.
    pub fn answers(&self) -> bool {
        let since = now();
        while since.elapsed() < PATIENCE && self.api.lock().unwrap().as_ref().is_some_and(Server::runs) {
            if self.get("/readyz").is_some_and(|said| said == "ok") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.path("api.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        eprintln!("kube-apiserver is not ready:\n{}", last.join("\n"));
        false
    }

    /// A request by a program that shares no code with ours.
    fn get(&self, path: &str) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-sf", "-m", "5", "--cacert"]).arg(self.path("authority.crt"));
        command.arg("--cert").arg(self.path("admin.crt")).arg("--key").arg(self.path("admin.key"));
        let output = command.arg(format!("{}{path}", self.url)).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn write_secrets(&self) {
        let folder = &self.folder.0;
        std::fs::write(self.path("authority.crt"), &self.authority.pem).unwrap();
        self.sign("kube-apiserver", None).write(folder, "api");
        self.sign("kube-apiserver-kubelet-client", None).write(folder, "to-kubelet");
        self.sign("service-accounts", None).write(folder, "accounts");
        let (certificate, key) = self.sign("admin", Some("system:masters")).write(folder, "admin");
        let user =
            format!("{{client-certificate: {}, client-key: {}}}", certificate.display(), key.display());
        self.write_kubeconfig("admin", &self.url, &user);
    }

    fn write_kubeconfig(&self, name: &str, url: &str, user: &str) -> PathBuf {
        let path = self.path(&format!("{name}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: {}}}}}]\n\
             users: [{{name: {name}, user: {user}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: {name}}}}}]\n",
            url,
            self.path("authority.crt").display(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Folder {
    fn new() -> Folder {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clusters");
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(entry.file_name()).exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        let _ = std::fs::remove_dir_all(&own);
        std::fs::create_dir_all(&own).unwrap();
        Folder(own)
    }
}

fn current_version() -> &'static str {
    let mut required = CURRENT.lines().filter_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    required.next().and_then(|line| line.split_whitespace().next()).expect("go.mod requires Kubernetes")
}

fn programs(version: &str) -> Option<Programs> {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers/kubernetes").join(version);
    let api = bin.join("bin/kube-apiserver");
    if !api.exists() {
        skip("kube-apiserver", &format!("it is not built: tests/servers/kubernetes/build {version}"));
        return None;
    }
    let Some(etcd) = program("etcd") else {
        skip("etcd", "it is not installed: apt-get install etcd-server");
        return None;
    };
    Some(Programs { etcd, api })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
