//! What the cache does beyond one answer to one GET, over sockets: codings made of one stored object, QUERY by its
//! content, a disk that survives, a file that is read again.
#![cfg(all(feature = "serve", feature = "cache"))]

mod support;

use pop_edge::{CachePolicy, Pop};
use support::{Answer, Client, Reply, Scripted, ask, loopback, start};

const TEXT: &str = "the same words over and over again, which is what compresses well; ";

fn page() -> String {
    TEXT.repeat(100)
}

async fn get_with(address: std::net::SocketAddr, fields: &str) -> Answer {
    ask(address, format!("GET /page HTTP/1.1\r\nHost: www.example.org\r\n{fields}\r\n"))
        .await
        .expect("an answer")
}

#[cfg(feature = "compression")]
mod codings {
    use pop_edge::cache::http::Compression;

    use super::*;

    /// Asks until the answer has the coding: it is made beside the first hit.
    async fn eventually_coded(address: std::net::SocketAddr, coding: &str) -> Answer {
        let deadline = tokio::time::Instant::now() + support::PATIENCE;
        loop {
            let answer = get_with(address, &format!("Accept-Encoding: {coding}\r\n")).await;
            if answer.field("content-encoding").as_deref() == Some(coding) {
                return answer;
            }
            assert!(answer.is_complete && answer.text() == page(), "until then it is served as it is");
            assert!(tokio::time::Instant::now() < deadline, "never in {coding}: {}", answer.head);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_stored_object_is_served_in_every_coding() {
        let fields = "Cache-Control: max-age=60\nContent-Type: text/plain\nETag: \"v1\"";
        let origin = Scripted::start(move |_| Reply::ok(fields, &page())).await;
        let policy = CachePolicy::capacity(16 << 20).compression(Compression::default());
        let pop = start(Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin())).await;
        let plain = get_with(pop.http(), "").await;
        assert_eq!(plain.text(), page());
        for coding in ["br", "zstd", "gzip"] {
            let coded = eventually_coded(pop.http(), coding).await;
            assert!(coded.is_complete && coded.is_hit(), "{}", coded.head);
            assert!(coded.body.len() < page().len() / 5, "{coding}: {} octets", coded.body.len());
            // A coding is another representation: its tag may not be compared strongly with the stored one's.
            assert_eq!(coded.field("etag").as_deref(), Some("W/\"v1\""), "{coding}");
            assert_eq!(coded.field("vary").as_deref(), Some("Accept-Encoding"), "{coding}");
            let asked = format!("Accept-Encoding: {coding}\r\nIf-None-Match: W/\"v1\"\r\n");
            let same = get_with(pop.http(), &asked).await;
            assert_eq!(same.status, 304, "{coding}: {}", same.head);
            let part =
                get_with(pop.http(), &format!("Accept-Encoding: {coding}\r\nRange: bytes=0-3\r\n")).await;
            assert_eq!(
                (part.status, part.text().as_str()),
                (206, &page()[..4]),
                "ranges are of what is stored"
            );
        }
        let identity = get_with(pop.http(), "Accept-Encoding: identity\r\n").await;
        assert!(identity.is_hit() && identity.field("content-encoding").is_none());
        assert_eq!(identity.field("etag").as_deref(), Some("\"v1\""));
        assert_eq!(identity.field("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(identity.text(), page());
        assert_eq!(origin.asked().len(), 1, "all of it from one fetch");
    }

    #[tokio::test]
    async fn what_must_not_be_transformed_is_not() {
        let fields = "Cache-Control: max-age=60, no-transform\nContent-Type: text/plain\nETag: \"v1\"";
        let origin = Scripted::start(move |_| Reply::ok(fields, &page())).await;
        let policy = CachePolicy::capacity(16 << 20).compression(Compression::default());
        let pop = start(Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin())).await;
        for _ in 0..5 {
            let answer = get_with(pop.http(), "Accept-Encoding: br\r\n").await;
            assert_eq!(answer.text(), page());
            assert_eq!(answer.field("etag").as_deref(), Some("\"v1\""));
        }
    }
}

async fn query(client: &mut Client, kind: &str, content: &str) -> Answer {
    let length = content.len();
    let head = format!("QUERY /search HTTP/1.1\r\nHost: www.example.org\r\nContent-Type: {kind}\r\n");
    client.send(format!("{head}Content-Length: {length}\r\n\r\n{content}")).await;
    client.answer().await.expect("an answer")
}

/// Answers with what it was asked.
fn echo(asked: &support::Asked) -> Reply {
    let content = String::from_utf8_lossy(&asked.body).into_owned();
    Reply::ok("Cache-Control: max-age=60", &format!("<{}>", &content[..content.len().min(20)]))
}

#[tokio::test]
async fn query_is_cached_by_its_content() {
    let origin = Scripted::start(echo).await;
    let policy = CachePolicy::capacity(16 << 20).query();
    let pop = start(Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin())).await;
    let mut client = Client::connect(pop.http()).await;
    for (content, is_hit) in [("a=1", false), ("a=1", true), ("a=2", false), ("a=2", true), ("a=1", true)] {
        let answer = query(&mut client, "application/x-www-form-urlencoded", content).await;
        assert_eq!((answer.text(), answer.is_hit()), (format!("<{content}>"), is_hit), "{}", answer.head);
    }
    let other_kind = query(&mut client, "text/plain", "a=1").await;
    assert!(!other_kind.is_hit(), "how the content is read belongs to the key");
    let asked = origin.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.line().starts_with("QUERY /search ")));
    assert_eq!(asked[1].body, b"a=2", "the origin gets the content");
    // More than is read first: passed on whole, and not stored.
    let long = "x".repeat(20_000);
    for _ in 0..2 {
        let answer = query(&mut client, "text/plain", &long).await;
        assert_eq!((answer.text(), answer.is_hit()), (format!("<{}>", &long[..20]), false));
    }
    assert_eq!(origin.asked().len(), 5);
    assert_eq!(origin.asked()[4].body.len(), long.len());
    // A GET of the same target is another matter, and an unsafe method ends it all.
    client.send("GET /search HTTP/1.1\r\nHost: www.example.org\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("an answer").text(), "<>");
    client.send("POST /search HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    assert!(!query(&mut client, "application/x-www-form-urlencoded", "a=1").await.is_hit());
}

#[tokio::test]
async fn query_is_passed_on_where_nobody_asked_for_more() {
    let origin = Scripted::start(echo).await;
    let pop = start(support::cdn(&origin)).await;
    let mut client = Client::connect(pop.http()).await;
    for _ in 0..2 {
        let answer = query(&mut client, "text/plain", "a=1").await;
        assert_eq!((answer.text().as_str(), answer.is_hit()), ("<a=1>", false));
    }
    assert_eq!(origin.asked().len(), 2);
}

#[tokio::test]
async fn content_of_a_query_that_does_not_come_is_408() {
    let origin = Scripted::start(echo).await;
    let policy = CachePolicy::capacity(16 << 20).query();
    let builder = Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin());
    let pop = start(builder.settings(|settings| {
        settings.body_window = std::time::Duration::from_millis(200);
    }))
    .await;
    let mut client = Client::connect(pop.http()).await;
    client.send("QUERY / HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 100\r\n\r\nhalf").await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!(answer.status, 408, "{}", answer.head);
    assert!(origin.asked().is_empty());
}

#[cfg(feature = "disk")]
mod disk {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("pop-edge-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_lies_on_the_disk_survives_the_pop() {
        let folder = folder("survives");
        let origin = Scripted::start(|_| Reply::ok("Cache-Control: max-age=3600\nETag: \"1\"", "kept")).await;
        let builder = || {
            let policy = CachePolicy::capacity(1 << 20).disk(&folder, 8 << 20);
            Pop::cdn("test").http(loopback()).cache(policy).host("*", origin.origin())
        };
        let first = start(builder()).await;
        assert_eq!(get_with(first.http(), "").await.text(), "kept");
        let records = || {
            let files = std::fs::read_dir(&folder).map(Iterator::flatten).into_iter().flatten();
            files.filter(|file| file.path().extension().is_some_and(|end| end == "record")).count()
        };
        assert!(support::eventually(|| records() == 1).await, "it is written in its own time");
        drop(first);
        // Work on the disk ends in its own time, and with it the folder is free.
        let lock = std::fs::File::open(folder.join("lock")).expect("it is locked");
        assert!(support::eventually(|| lock.try_lock().is_ok()).await);
        drop(lock);
        let second = start(builder()).await;
        let answer = get_with(second.http(), "").await;
        assert!(answer.is_hit() && answer.text() == "kept", "{}", answer.head);
        assert_eq!(origin.asked().len(), 1);
        drop(second);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[tokio::test]
    async fn a_check_touches_no_folder_and_two_pops_do_not_share_one() {
        let folder = folder("checked");
        let builder = || {
            let policy = CachePolicy::capacity(1 << 20).disk(&folder, 1 << 20);
            Pop::cdn("test").http(loopback()).cache(policy).host("*", pop_edge::Origin::http("127.0.0.1:1"))
        };
        builder().check().expect("all is well");
        assert!(!folder.exists(), "nothing was made");
        let running = builder().build().expect("a PoP");
        let part = folder.join("0000000000000001.part");
        std::fs::write(&part, "half a record").expect("a writable place");
        builder().check().expect("all is well while it runs");
        assert!(part.exists(), "what is being written stays");
        let error = builder().build().expect_err("the folder is in use");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains("lock"), "{cause}");
        assert!(part.exists());
        drop(running);
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_named() {
        let file = folder("is-a-file");
        std::fs::write(&file, "").expect("a writable place");
        let policy = CachePolicy::capacity(1 << 20).disk(&file, 1 << 20);
        let origin = pop_edge::Origin::http("127.0.0.1:1");
        let error =
            Pop::cdn("test").http(loopback()).cache(policy).host("*", origin).build().expect_err("a file");
        assert!(error.to_string().contains("is-a-file"), "{error}");
        let _ = std::fs::remove_file(&file);
    }
}

#[cfg(feature = "config")]
#[tokio::test]
async fn a_file_read_again_keeps_what_is_stored() {
    use pop_edge::PopBuilder;
    use pop_edge::config::File;

    let origin = Scripted::start(|_| Reply::ok("Cache-Control: max-age=60", "x")).await;
    let text = |ignored: &str| {
        format!(
            "name = \"test\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[cache]\nquery = true\nignore_query = [\"{ignored}\"]\n\
             [[host]]\nname = \"*\"\norigin = [\"http://{}\"]\n",
            origin.address
        )
    };
    let builder = |text: &str| {
        let file = File::parse(text, "pop.toml").expect("it parses");
        PopBuilder::from_file(&file, "pop.toml").expect("it describes a PoP")
    };
    let pop = start(builder(&text("utm_*"))).await;
    assert!(!get_with(pop.http(), "").await.is_hit());
    pop.handle.reload(builder(&text("utm_*"))).expect("it is reloaded");
    assert!(get_with(pop.http(), "").await.is_hit(), "the same policy, the same cache");
    pop.handle.reload(builder(&text("ref"))).expect("it is reloaded");
    assert!(!get_with(pop.http(), "").await.is_hit(), "another policy begins anew");
}
