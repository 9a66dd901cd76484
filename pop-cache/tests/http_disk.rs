//! The tier on disk: a cold memory finds it again, nothing torn is ever served, purges reach it.

#![cfg(feature = "disk")]

mod http_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_support::{Edge, cache_status, chunks, read};
use pop_cache::http::{CacheKey, DiskTier, Durability, Purge, PurgeMode, Tier};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pop-cache-{}-{name}", std::process::id()));
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn records(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.0).expect("a folder").map(|file| file.expect("a file").path());
        let mut files: Vec<_> = files.filter(|file| file.extension().is_some()).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn body(path: &str) -> String {
    format!("{path} ").repeat(5000)
}

/// Opens a folder once whoever had it is done with it: work on the disk goes on for a moment after the last answer.
fn open(folder: &Path, capacity: u64) -> DiskTier {
    for _ in 0..6000 {
        match DiskTier::open(folder, capacity) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("a folder"),
        }
    }
    panic!("{} is not given back", folder.display());
}

/// A cache whose memory is new over a folder that may be old.
fn edge(folder: &Path) -> Edge {
    edge_over([open(folder, 64 << 20)])
}

/// A cache whose memory is new over tiers, the uppermost first.
fn edge_over<const N: usize>(tiers: [DiskTier; N]) -> Edge {
    // Far from now, so that the expiry of records is not what a test sees.
    let start = SystemTime::now() + Duration::from_secs(1000);
    let edge =
        Edge::new(start, |builder| tiers.into_iter().fold(builder, |builder, tier| builder.tier(tier)));
    edge.script(|request| {
        let path = request.uri().path().to_owned();
        let response = Response::builder()
            .header("cache-control", "max-age=3600")
            .header("etag", "\"1\"")
            .header("vary", "accept-language")
            .header("surrogate-key", path.trim_start_matches('/'))
            .header("x-own", "kept");
        Ok(response.body(chunks(&[&body(&path)])).expect("a response"))
    });
    edge
}

async fn get(edge: &Edge, path: &str, language: &str) -> (String, String) {
    let request =
        Request::builder().uri(format!("http://test.example{path}")).header("accept-language", language);
    let answer = edge.send(request).await.expect("an answer");
    assert_eq!(answer.headers()["x-own"], "kept");
    let status = cache_status(&answer);
    (status, String::from_utf8(read(answer).await.expect("whole")).expect("text"))
}

/// Waits until the disk has as many records as that, and nobody is at work on them any more.
async fn written(folder: &Folder, count: usize) {
    for _ in 0..6000 {
        let files = folder.records();
        let is_whole = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "record");
        let at_work = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if at_work == 0 && files.len() == count && files.iter().all(is_whole) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?} are not {count} records", folder.records());
}

#[tokio::test]
async fn what_one_tier_lost_the_one_below_still_has() {
    let (upper, lower) = (Folder::new("upper"), Folder::new("lower"));
    let stacked = |upper: &Folder, lower: &Folder| {
        let tiers = [upper, lower].map(|folder| open(&folder.0, 64 << 20));
        edge_over(tiers)
    };
    let first = stacked(&upper, &lower);
    assert!(get(&first, "/a", "en").await.0.contains("stored"));
    written(&upper, 1).await;
    written(&lower, 1).await;
    drop(first);
    fs::remove_file(&upper.records()[0]).expect("a record");
    let second = stacked(&upper, &lower);
    let (status, body_found) = get(&second, "/a", "en").await;
    assert!(status.contains("hit"), "{status}");
    assert_eq!(body_found, body("/a"));
    assert_eq!(second.handle.purge(&Purge::Tag("a".to_owned()), PurgeMode::Remove), 1);
    written(&lower, 0).await;
}

#[tokio::test]
async fn a_restart_finds_what_was_stored() {
    let folder = Folder::new("restart");
    let first = edge(&folder.0);
    for path in ["/a", "/b", "/c"] {
        get(&first, path, "en").await;
    }
    written(&folder, 3).await;
    drop(first);
    let second = edge(&folder.0);
    let (status, text) = get(&second, "/b", "en").await;
    assert!(status.starts_with("pop; hit; ttl=") && status.ends_with("; detail=tier"), "{status}");
    assert_eq!(text, body("/b"));
    let (status, _) = get(&second, "/b", "en").await;
    assert!(status.starts_with("pop; hit; ttl=") && !status.contains("tier"), "in memory now: {status}");
    assert!(second.seen().is_empty());
    assert_eq!(second.handle.stats().tier_hits, 1);
    let (status, _) = get(&second, "/b", "de").await;
    assert!(status.contains("fwd=vary-miss"), "another variant is another matter: {status}");
}

#[tokio::test]
async fn nothing_torn_is_served() {
    let folder = Folder::new("torn");
    get(&edge(&folder.0), "/a", "en").await;
    written(&folder, 1).await;
    let file = folder.records().remove(0);
    let whole = fs::read(&file).expect("a record");
    let lengths = (0..60).chain((60..whole.len()).step_by(997));
    let damaged =
        lengths.map(|length| whole[..length].to_vec()).chain((0..whole.len()).step_by(613).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        }));
    for bytes in damaged {
        for file in folder.records() {
            fs::remove_file(file).expect("a file");
        }
        fs::write(&file, &bytes).expect("a file");
        let edge = edge(&folder.0);
        let (status, text) = get(&edge, "/a", "en").await;
        assert_eq!(text, body("/a"));
        assert!(status.contains("fwd=uri-miss"), "{status}");
        drop(edge);
        written(&folder, 1).await;
    }
}

/// Every byte of a file counts: no single flipped bit of the head lets its record answer for another key, and no record
/// answers under the head of another file.
#[tokio::test]
async fn no_record_answers_for_another_key() {
    let folder = Folder::new("mixed");
    let first = edge(&folder.0);
    // One after the other, so that the first file is that of the first.
    get(&first, "/a", "en").await;
    written(&folder, 1).await;
    get(&first, "/b", "en").await;
    written(&folder, 2).await;
    drop(first);
    let files = folder.records();
    let (one, two) = (fs::read(&files[0]).expect("a record"), fs::read(&files[1]).expect("a record"));
    let key = |path: &str| {
        CacheKey::from_uri(&format!("http://test.example{path}").parse().expect("a URI")).expect("a key")
    };
    let head_ends = one.windows(8).position(|window| window == b"popcach1").expect("the record's own magic");
    for bit in 0..head_ends * 8 {
        let mut bytes = one.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&files[0], &bytes).expect("a file");
        let tier = open(&folder.0, 64 << 20);
        assert_eq!(tier.len(), 1, "bit {bit} is found out at the start");
        assert!(tier.get(&key("/b")).await.is_some());
    }
    // The blocks of one file under the head of the other, as a disk that lost power may show them.
    let mixed = [&one[..head_ends], &two[head_ends..]].concat();
    assert_eq!(mixed.len(), one.len());
    fs::write(&files[0], &mixed).expect("a file");
    let tier = open(&folder.0, 64 << 20);
    assert_eq!(tier.len(), 2, "the head is whole");
    assert!(tier.get(&key("/a")).await.is_none());
    assert_eq!(tier.len(), 1);
}

#[tokio::test]
async fn records_that_must_survive_a_loss_of_power_are_written_through() {
    let folder = Folder::new("power");
    let tier = DiskTier::open_with(&folder.0, 64 << 20, Durability::Power).expect("a folder");
    let cache = Edge::new(SystemTime::now(), |builder| builder.tier(tier));
    cache.script(|_| {
        let response = Response::builder().header("cache-control", "max-age=3600").header("x-own", "kept");
        Ok(response.body(chunks(&[&body("/a")])).expect("a response"))
    });
    get(&cache, "/a", "en").await;
    written(&folder, 1).await;
    drop(cache);
    assert!(get(&edge(&folder.0), "/a", "en").await.0.ends_with("detail=tier"));
}

/// A folder is one tier's: what another would take for rubbish may be what the first one is writing.
#[test]
fn a_folder_in_use_is_refused_and_left_as_it_is() {
    let folder = Folder::new("locked");
    let first = open(&folder.0, 1 << 20);
    let part = folder.0.join("0000000000000007.part");
    fs::write(&part, "half a record").expect("a writable place");
    let refused = DiskTier::open(&folder.0, 1 << 20).expect_err("it is in use");
    assert_eq!(refused.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains(&*folder.0.join("lock").to_string_lossy()), "{refused}");
    assert!(part.exists(), "it was not touched");
    drop(first);
    drop(open(&folder.0, 1 << 20));
    assert!(!part.exists(), "nobody is writing it any more");
}

/// What the test below runs in another process, where no file may grow beyond 8 KiB.
#[tokio::test]
async fn writer_on_a_disk_that_is_full() {
    let Some(folder) = std::env::var_os("POP_CACHE_FULL_DISK") else { return };
    let edge = edge(Path::new(&folder));
    for round in 0..50 {
        let path = format!("/{}", round % 10);
        assert_eq!(get(&edge, &path, &format!("x{round}")).await.1, body(&path));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_keeps_nothing_and_disturbs_nothing() {
    let folder = Folder::new("full");
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact writer_on_a_disk_that_is_full"])
        .arg(&program)
        .env("POP_CACHE_FULL_DISK", &folder.0)
        .stdout(Stdio::null())
        .status()
        .expect("a process");
    assert!(status.success(), "the answers came nevertheless");
    for _ in 0..1000 {
        if folder.records().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let tier = open(&folder.0, 64 << 20);
    assert!(tier.is_empty(), "what did not fit left no half");
}

#[tokio::test]
async fn purges_reach_the_disk() {
    for what in [
        Purge::Key(CacheKey::from_uri(&"http://test.example/a".parse().expect("a URI")).expect("a key")),
        Purge::Tag("a".into()),
        Purge::Prefix("http://test.example/a".into()),
    ] {
        let folder = Folder::new("purge");
        let first = edge(&folder.0);
        get(&first, "/a", "en").await;
        get(&first, "/b", "en").await;
        written(&folder, 2).await;
        assert_eq!(first.handle.purge(&what, PurgeMode::Remove), 1);
        written(&folder, 1).await;
        drop(first);
        let second = edge(&folder.0);
        assert!(get(&second, "/a", "en").await.0.contains("fwd=uri-miss"), "{what:?}");
        assert!(get(&second, "/b", "en").await.0.contains("tier"), "{what:?}");
    }
}

#[tokio::test]
async fn the_disk_is_bounded_and_keeps_what_is_used() {
    let folder = Folder::new("bound");
    let tier = open(&folder.0, 200_000);
    let key = |path: &str| {
        CacheKey::from_uri(&format!("http://test.example{path}").parse().expect("a URI")).expect("a key")
    };
    let cache = Edge::new(SystemTime::now(), |builder| builder.tier(tier.clone()));
    cache.script(|request| {
        let response = Response::builder().header("cache-control", "max-age=3600");
        Ok(response.body(chunks(&[&body(request.uri().path())])).expect("a response"))
    });
    for number in 0..50 {
        let path = format!("/{number:02}");
        read(cache.get(&path).await.expect("an answer")).await.expect("whole");
        for _ in 0..1000 {
            if tier.get(&key(&path)).await.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(tier.get(&key("/00")).await.is_some(), "it was used all the time");
        assert!(tier.bytes() <= 200_000);
    }
    assert!(tier.len() < 50 && tier.len() > 5);
}

/// What the test below runs in another process: it writes until it is killed.
#[test]
fn writer_that_is_killed() {
    let Some(folder) = std::env::var_os("POP_CACHE_KILLED_WRITER") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let edge = edge(Path::new(&folder));
        for round in 0_u64.. {
            get(&edge, &format!("/{}", round % 20), &format!("x{round}")).await;
        }
    });
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_torn() {
    let folder = Folder::new("killed");
    let program = std::env::current_exe().expect("this program");
    for round in 0..5_u64 {
        let mut child = Command::new(&program)
            .args(["--exact", "writer_that_is_killed", "--nocapture"])
            .env("POP_CACHE_KILLED_WRITER", &folder.0)
            .stdout(Stdio::null())
            .spawn()
            .expect("a process");
        while folder.records().len() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20 + 13 * round)).await;
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        let edge = edge(&folder.0);
        for number in 0..20 {
            let path = format!("/{number}");
            // The languages that the writer asked for first, and one it never did.
            for language in [format!("x{number}"), format!("x{}", number + 20), "none".to_owned()] {
                let (_, text) = get(&edge, &path, &language).await;
                assert_eq!(text, body(&path));
            }
        }
        assert!(edge.handle.stats().tier_hits > 0, "some of it was whole");
    }
}
