//! Pushes a file and pulls it back: `bench DIR push NAME FILE`, `bench DIR pull NAME`. For profiling.
#![allow(missing_docs, clippy::disallowed_methods)]
use cistern_repo::*;
use std::sync::Arc;
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    std::fs::create_dir_all(&a[1]).unwrap();
    let store: Arc<dyn cistern_store::Store> = Arc::new(cistern_store::FsStore::open(&a[1]).unwrap());
    let key = format!("{}.key", a[1]);
    let repo = if Repository::marker(&*store).await.unwrap().is_none() {
        let r = Repository::init(store.clone(), Config::default(), World::real()).await.unwrap();
        std::fs::write(&key, r.credential(Role::Owner).unwrap().reveal()).unwrap();
        r
    } else {
        let c = Credential::new(std::fs::read_to_string(&key).unwrap());
        Repository::open(store, Unlock::Credential(c), World::real()).await.unwrap()
    };
    let t = std::time::Instant::now();
    match a[2].as_str() {
        "push" => {
            let o = PushOptions {
                name: a[3].clone(),
                host: "h".into(),
                writer: "w".into(),
                tags: vec![],
                deltas: true,
            };
            let p = repo.begin_push(o).await.unwrap();
            let i = p.ingest(Box::new(std::fs::File::open(&a[4]).unwrap()), Arc::new(Silent)).await.unwrap();
            let n = i.raw_bytes() as f64;
            let r = i.commit(Facts::default()).await.unwrap();
            println!(
                "{:?} {:.3}s {:.0} MB/s {}",
                r.snapshot.stored,
                t.elapsed().as_secs_f64(),
                n / 1e6 / t.elapsed().as_secs_f64(),
                r.snapshot.deltas
            );
        }
        _ => {
            let s = repo.find_snapshot(&a[3]).await.unwrap();
            repo.pull(&s, Box::new(std::io::stdout()), Arc::new(Silent)).await.unwrap();
            eprintln!(
                "{:.3}s {:.0} MB/s",
                t.elapsed().as_secs_f64(),
                s.snapshot.raw_bytes as f64 / 1e6 / t.elapsed().as_secs_f64()
            );
        }
    }
}
