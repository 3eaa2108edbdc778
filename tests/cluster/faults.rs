//! An API server that answers badly: a proxy before the real one that refuses, forgets answers, cuts streams and is
//! silent for a while.
//!
//! One request on each connection, so that what is done to it is done to nothing else.

use crate::plane::Plane;
use crate::support::drawn;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long it is silent before it hangs up.
const SILENCE: Duration = Duration::from_secs(1);
/// One in so many requests comes to harm.
const HARM: u64 = 6;

/// What can be done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Refused as by the API server's own limits: in plain text, with a time to wait.
    TooMany,
    /// Refused as by a server that is going down.
    Unavailable,
    /// Refused because etcd takes too long.
    Slow,
    /// Carried out, and the answer is lost.
    Forgotten,
    /// Carried out, and the answer ends in the middle.
    Cut,
    /// Not carried out, and nothing is said for a while.
    Silence,
    /// A watch that is too old to go on.
    Gone,
}

const FAULTS: [Fault; 6] =
    [Fault::TooMany, Fault::Unavailable, Fault::Slow, Fault::Forgotten, Fault::Cut, Fault::Silence];

/// The proxy; it serves until its runtime ends.
pub struct Proxy {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    server: SocketAddr,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    requests: AtomicU64,
    watches: AtomicU64,
    done: Mutex<BTreeMap<Fault, usize>>,
}

impl Proxy {
    /// Before the API server of this plane.
    pub async fn before(plane: &Plane) -> Proxy {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(plane.authority().as_bytes()).unwrap()).unwrap();
        let to_server = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let identity = plane.sign("kube-apiserver", None);
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let own = ServerConfig::builder().with_no_client_auth();
        let own = own.with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            server: plane.url.strip_prefix("https://").unwrap().parse().unwrap(),
            connector: TlsConnector::from(Arc::new(to_server)),
            acceptor: TlsAcceptor::from(Arc::new(own)),
            requests: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            done: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                tokio::spawn(async move { inner.serve(socket).await });
            }
        });
        Proxy { url, inner }
    }

    /// What was done, and how often.
    pub fn done(&self) -> BTreeMap<Fault, usize> {
        self.inner.done.lock().unwrap().clone()
    }
}

impl Inner {
    async fn serve(&self, socket: TcpStream) -> Result<()> {
        let mut client = self.acceptor.accept(socket).await?;
        let request = head(&mut client).await?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = self.choose(number, &request);
        if let Some(fault) = fault {
            *self.done.lock().unwrap().entry(fault).or_default() += 1;
        }
        match fault {
            Some(Fault::TooMany) => refuse(&mut client, "429 Too Many Requests\r\nretry-after: 1").await,
            Some(Fault::Unavailable) => refuse(&mut client, "503 Service Unavailable").await,
            Some(Fault::Slow) => refuse(&mut client, "500 Internal Server Error").await,
            Some(Fault::Gone) => gone(&mut client).await,
            Some(Fault::Silence) => {
                tokio::time::sleep(SILENCE).await;
                Ok(())
            }
            _ => self.forward(client, &request, fault).await,
        }
    }

    /// The same for the same number; a watch is too old, then cut, then well. Questions whether it is ready are left alone, as is what leads to a command in
    /// a container: it runs once, whatever becomes of it.
    fn choose(&self, number: u64, request: &str) -> Option<Fault> {
        let line = request.lines().next().unwrap_or_default();
        if line.contains("watch=true") {
            let watch = self.watches.fetch_add(1, Ordering::Relaxed);
            return [Some(Fault::Gone), Some(Fault::Cut), None][usize::try_from(watch % 3).unwrap()];
        }
        let spared = ["/readyz", "/version", "/exec?"].iter().any(|part| line.contains(part));
        let drawn = drawn(&format!("fault {number}"), HARM * FAULTS.len() as u64);
        FAULTS.get(usize::try_from(drawn).unwrap()).copied().filter(|_| !spared)
    }

    async fn forward<C>(&self, mut client: C, request: &str, fault: Option<Fault>) -> Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let socket = TcpStream::connect(self.server).await?;
        let name = ServerName::try_from("127.0.0.1").map_err(Error::other)?;
        let mut server = self.connector.connect(name, socket).await?;
        server.write_all(alone(request).as_bytes()).await?;
        match fault {
            Some(Fault::Forgotten) => {
                // Carried out when the answer is there; a stream has none that ends.
                let mut answer = [0; 1];
                let _ = server.read(&mut answer).await?;
                Ok(())
            }
            Some(Fault::Cut) => {
                let mut answer = vec![0; 700];
                let count = server.read(&mut answer).await?;
                client.write_all(&answer[..count / 2]).await?;
                client.flush().await
            }
            _ => copy_bidirectional(&mut client, &mut server).await.map(drop),
        }
    }
}

/// A request with its body, as far as its length is said.
async fn head(client: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut bytes = Vec::new();
    let mut wanted = None;
    while wanted.is_none_or(|wanted| bytes.len() < wanted) {
        if bytes.len() > HEAD_BYTES_MAX * 16 || client.read_buf(&mut bytes).await? == 0 {
            return Err(Error::other("it went away"));
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let lower = text[..end].to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        wanted = Some(end + 4 + length.unwrap_or(0));
    }
    String::from_utf8(bytes).map_err(Error::other)
}

/// The same as the last one on its connection, unless it becomes a stream of another kind.
fn alone(request: &str) -> String {
    if request.to_lowercase().contains("\r\nupgrade:") {
        return request.to_owned();
    }
    request.replacen("\r\n", "\r\nconnection: close\r\n", 1)
}

async fn refuse(client: &mut (impl AsyncWrite + Unpin), with: &str) -> Result<()> {
    let text = "not now, please try again later";
    let answer = format!(
        "HTTP/1.1 {with}\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

async fn gone(client: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    let event = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{event}\n",
        event.len() + 1
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}
