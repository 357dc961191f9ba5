//! Tests of stores: names, blocking access, and what the errors say.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn objects_are_written_listed_read_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("deep/er");
    for root in [Root::open(local.to_str().unwrap(), true).unwrap(), Root::open("memory:///store-test", true).unwrap()]
    {
        let large = Bytes::from(vec![7; PART_BYTES * 2 + 1]);
        root.put(&root.at("b/two"), large.clone()).unwrap();
        root.put(&root.at("a"), Bytes::from_static(b"one")).unwrap();
        root.put(&root.at("a"), Bytes::from_static(b"uno")).unwrap();
        let listed = root.list(&root.at("")).unwrap();
        let names: Vec<_> = listed.iter().map(|meta| root.name_of(&meta.location)).collect();
        assert_eq!(names, [format!("{}/a", root.url), format!("{}/b/two", root.url)]);
        assert_eq!(root.get(&root.at("a")).unwrap(), "uno");
        assert_eq!(root.get(&root.at("b/two")).unwrap(), large);
        root.delete(&root.at("a")).unwrap();
        root.delete(&root.at("a")).unwrap();
        assert!(matches!(root.get(&root.at("a")), Err(StoreError::Missing { .. })));
        assert!(root.head(&root.at("a")).unwrap().is_none());
        assert!(root.list(&root.at("nowhere")).unwrap().is_empty());
    }
}

#[test]
fn a_missing_folder_is_said_unless_it_is_to_be_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let path = path.to_str().unwrap();
    let error = Root::open(path, false).unwrap_err();
    assert_eq!(error.to_string(), format!("{path} does not exist; check the name"));
    assert_eq!(Root::open(path, true).unwrap().url, path);
    assert_eq!(Root::open(&format!("file://{path}/"), false).unwrap().url, path);
    assert_eq!(Root::open(&format!("{path}/../new"), false).unwrap().url, path);
}

#[test]
fn urls_with_credentials_are_refused_without_quoting_them() {
    for url in [
        "s3://key:hunter2@bucket/prefix",
        "s3://hunter2@bucket/prefix",
        "az://container/prefix?sig=hunter2",
        "ftp://example.org/hunter2?hunter2",
        "s3://[hunter2:@bucket",
    ] {
        let error = Root::open(url, false).unwrap_err();
        assert!(matches!(error, StoreError::BadUrl { .. }), "{error:?}");
        assert!(!error.to_string().replace("org/hunter2", "").contains("hunter2"), "{error}");
    }
}

/// A store of S3's protocol that nobody serves, or that takes connections and never answers.
fn dead_store(endpoint: &str) -> Root {
    _ = rustls::crypto::ring::default_provider().install_default();
    let builder = CLIENT_TIMEOUTS.into_iter().fold(AmazonS3Builder::new(), |builder, (key, value)| {
        builder.with_config(AmazonS3ConfigKey::Client(key), value)
    });
    let store = builder
        .with_bucket_name("bucket")
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("hunter2")
        .with_retry(retries())
        .build()
        .unwrap();
    Root {
        store: Arc::new(store),
        prefix: Path::from("prefix"),
        url: "s3://bucket/prefix".to_owned(),
        base: "s3://bucket".to_owned(),
    }
}

#[test]
fn a_dead_endpoint_is_an_error_within_twenty_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9", &silent_url] {
        let root = dead_store(endpoint);
        let start = Instant::now();
        let error = root.list(&root.prefix).unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        let shown = error.to_string();
        assert!(shown.starts_with("s3://bucket/prefix cannot be reached"), "{shown}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn what_a_store_refuses_is_told_without_its_xml() {
    let answer = |code: &str| object_store::Error::Generic {
        store: "S3",
        source: format!(
            "Server returned non-2xx status code: 403: <?xml version=\"1.0\"?><Error><Code>{code}</Code>\
             <Message>No way</Message><StringToSign>hunter2</StringToSign></Error>"
        )
        .into(),
    };
    let root = Root::open("memory:///refusals", true).unwrap();
    let told = |code| root.failed(&root.at("a"), &answer(code));
    assert!(matches!(told("NoSuchBucket"), StoreError::NoBucket { .. }));
    assert!(matches!(told("ContainerNotFound"), StoreError::NoBucket { .. }));
    assert!(matches!(told("AuthenticationFailed"), StoreError::Denied { .. }));
    let error = told("SignatureDoesNotMatch").to_string();
    assert!(error.contains("refused (SignatureDoesNotMatch: No way)") && !error.contains("hunter2"), "{error}");
    assert!(matches!(told("SlowDown"), StoreError::Unreachable { .. }));
}

#[test]
fn what_writes_left_half_done_is_cleared_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path().to_str().unwrap(), true).unwrap();
    let table = folder.path().join("table/date=2024-01-01");
    std::fs::create_dir_all(&table).unwrap();
    for name in ["part-0.parquet", "part-0.parquet#1", "part-0.parquet#23", "part#x", "part#"] {
        std::fs::write(table.join(name), name).unwrap();
    }
    let claims = folder.path().join("_contactflow/fence");
    std::fs::create_dir_all(&claims).unwrap();
    let claim = |generation: u64| claims.join(format!("{generation:020}.json#1"));
    [6, 7].iter().for_each(|generation| std::fs::write(claim(*generation), "{").unwrap());
    // A claim is looked at until there are 63 after it.
    assert_eq!(root.clear_partial_files(70).unwrap(), 3);
    assert!(!claim(6).exists() && claim(7).exists());
    let mut left: Vec<_> = std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["part#", "part#x", "part-0.parquet"]);
    assert_eq!(root.clear_partial_files(70).unwrap(), 0);
}

#[test]
fn an_object_is_created_once_and_its_writer_knows() {
    let folder = tempfile::tempdir().unwrap();
    for url in [folder.path().to_str().unwrap(), "memory:///create-test"] {
        let root = Root::open(url, true).unwrap();
        let (mine, yours) = (Bytes::from_static(b"mine"), Bytes::from_static(b"yours"));
        assert!(root.create(&root.at("claim"), &mine).unwrap());
        assert!(root.create(&root.at("claim"), &mine).unwrap(), "a write whose reply was lost is one's own");
        assert!(!root.create(&root.at("claim"), &yours).unwrap());
        assert_eq!(root.get(&root.at("claim")).unwrap(), mine);
    }
}
