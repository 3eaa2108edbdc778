//! Plain objects on real servers, named by the environment: long streams in parts, nothing visible too soon.
//!
//! Where a variable is absent the test says that it was skipped; where `CI` is `true` it fails.

#![expect(clippy::disallowed_methods, reason = "tests read the environment, and unwrap")]

use bytes::Bytes;
use cistern_store::{Cloud, Error, ErrorKind, Objects, Options, Secret};
use futures::TryStreamExt as _;

/// The key of every Azurite, from its documentation.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The servers that are there; says which are not.
async fn servers() -> Vec<Objects> {
    all_servers().await.into_iter().map(|(_, objects)| objects).collect()
}

/// The same with their variables.
async fn all_servers() -> Vec<(&'static str, Objects)> {
    let mut found = Vec::new();
    for variable in [
        "CISTERN_TEST_S3",
        "CISTERN_TEST_S3_TLS",
        "CISTERN_TEST_RCLONE",
        "CISTERN_TEST_AZURE",
        "CISTERN_TEST_GCS",
    ] {
        let Some(url) = std::env::var(variable).ok().filter(|value| !value.is_empty()) else {
            let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "{variable} is not set: in CI every server must be there");
            println!("skipped: {variable}: it names no server; see tests/servers/README.md");
            continue;
        };
        let (endpoint, bucket) = url.rsplit_once('/').unwrap();
        let endpoint = Some(endpoint.to_owned());
        let base = Options { endpoint, retry_secs: Some(5), stall_secs: Some(10), ..Options::default() };
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let (cloud, options) = match variable {
            "CISTERN_TEST_AZURE" => {
                let account = Some("devstoreaccount1".to_owned());
                (Cloud::Azure, Options { account, account_key: secret(AZURITE_KEY), ..base })
            }
            "CISTERN_TEST_GCS" => (Cloud::Gcs, Options { access_token: secret("token"), ..base }),
            _ => {
                let key = if variable == "CISTERN_TEST_RCLONE" { "cistern-secret" } else { "any" };
                let id = Some("cistern".to_owned());
                let ca_file = std::env::var("CISTERN_TEST_CA").ok().map(Into::into);
                (Cloud::S3, Options { access_key_id: id, secret_access_key: secret(key), ca_file, ..base })
            }
        };
        found.push((variable, Objects::open(cloud, bucket, &options).await.unwrap()));
    }
    found
}

/// Bytes without pattern.
fn seeded(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("objects").finalize_xof().fill(&mut bytes);
    bytes
}

/// A directory of its own in the bucket.
fn dir() -> String {
    format!("plain/{:x}", rand::random::<u64>())
}

async fn put(objects: &Objects, name: &str, bytes: &[u8]) {
    let mut upload = objects.write(name).unwrap();
    for piece in bytes.chunks(3 << 20) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(upload.complete().await.unwrap(), bytes.len() as u64);
}

async fn get(objects: &Objects, name: &str) -> Result<Vec<u8>, Error> {
    let found = objects.find(name).await?;
    let pieces: Vec<Bytes> = objects.read(found).try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_every_length_come_back() {
    for objects in servers().await {
        let dir = dir();
        for len in [0, 1, (16 << 20) - 1, 16 << 20, (16 << 20) + 1, 70 << 20] {
            let (name, bytes) = (format!("{dir}/of {len}: x.gz"), seeded(len));
            put(&objects, &name, &bytes).await;
            assert!(get(&objects, &name).await.unwrap() == bytes, "{} {len}", objects.location());
            objects.delete(&name).await.unwrap();
            assert_eq!(get(&objects, &name).await.unwrap_err().kind, ErrorKind::NotFound);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fails_leaves_nothing_and_takes_nothing() {
    for objects in servers().await {
        let (dir, bytes) = (dir(), seeded(40 << 20));
        let (there, fresh) = (format!("{dir}/there"), format!("{dir}/fresh"));
        put(&objects, &there, b"earlier").await;
        for name in [&there, &fresh] {
            let mut upload = objects.write(name).unwrap();
            upload.write(bytes.clone().into()).await.unwrap();
            drop(upload);
        }
        objects.abandon().await;
        assert_eq!(get(&objects, &there).await.unwrap(), b"earlier");
        assert_eq!(get(&objects, &fresh).await.unwrap_err().kind, ErrorKind::NotFound);
        let names: Vec<String> = objects.below(&dir).unwrap().try_collect().await.unwrap();
        assert_eq!(names, std::slice::from_ref(&there), "{}", objects.location());
        objects.delete(&there).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_listed_and_its_neighbours_are_not() {
    // Below rclone is a file system, where a name is a file or a directory.
    let all = all_servers().await.into_iter().filter(|(variable, _)| *variable != "CISTERN_TEST_RCLONE");
    for (_, objects) in all {
        let dir = dir();
        for name in ["x", "x2", "x/1", "x/2/3"] {
            put(&objects, &format!("{dir}/{name}"), b"x").await;
        }
        let below =
            |name: &str| objects.below(&format!("{dir}/{name}")).unwrap().try_collect::<Vec<String>>();
        let mut names = below("x").await.unwrap();
        names.sort();
        assert_eq!(names, [format!("{dir}/x/1"), format!("{dir}/x/2/3")], "{}", objects.location());
        objects.delete(&format!("{dir}/x")).await.unwrap();
        assert_eq!(get(&objects, &format!("{dir}/x2")).await.unwrap(), b"x");
        assert_eq!(below("x").await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_replaced_while_it_is_read_is_no_mixture() {
    for objects in servers().await {
        let name = format!("{}/a", dir());
        put(&objects, &name, b"first").await;
        let found = objects.find(&name).await.unwrap();
        put(&objects, &name, b"other").await;
        let read: Result<Vec<Bytes>, Error> = objects.read(found).try_collect().await;
        // Servers that pass over the condition give one of the two, which is no mixture either.
        match read {
            Err(e) => assert!(e.why.contains("replaced"), "{} {e}", objects.location()),
            Ok(pieces) => {
                assert!(["first", "other"].contains(&std::str::from_utf8(&pieces.concat()).unwrap()))
            }
        }
    }
}
