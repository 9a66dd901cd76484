//! A store of a test's own: `redis-server` on a loopback port, gone with the test.

#![allow(unreachable_pub, reason = "as in the rest of the support")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A running server, or one that was killed.
pub struct Store {
    pub port: u16,
    folder: PathBuf,
    server: Option<Child>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Folders of one process.
static FOLDERS: AtomicU32 = AtomicU32::new(0);

impl Store {
    /// A server, or `None` with a word on the terminal where there is no program for one. In CI that is a failure.
    pub async fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "missing: redis-server");
            // Past the capture of the test's output: a skip is seen.
            let _ = writeln!(std::io::stderr(), "skipped: needs redis-server (Debian package redis-server)");
            return None;
        }
        let folder = std::env::temp_dir().join(format!(
            "pop-edge-store-{}-{}",
            std::process::id(),
            FOLDERS.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut store = Self { port: 0, folder, server: None };
        // The port is free a moment before; should another take it meanwhile, the next is tried.
        for _ in 0..20 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            store.port = port.local_addr().expect("bound").port();
            drop(port);
            if store.revive().await {
                return Some(store);
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts the server on its port, with what an append-only file kept; whether that worked.
    pub async fn revive(&mut self) -> bool {
        let server = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--dir", self.folder.to_str().expect("a plain path")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is there");
        let id = server.id();
        self.server = Some(server);
        let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let Some(info) = self.try_ask(&["INFO", "server"]).await
                && info.contains(&format!("process_id:{id}\r\n"))
            {
                return true;
            }
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            if ended.is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// Ends the server without a word.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Stops the server without ending it: connections stay open and are not answered. Or lets it go on.
    pub fn pause(&self, pauses: bool) {
        let id = self.server.as_ref().expect("it runs").id().to_string();
        let signal = if pauses { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill is there").success());
    }

    /// The answer to one command, flat: arrays as lines.
    pub async fn ask(&self, words: &[&str]) -> String {
        self.ask_octets(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
    }

    pub async fn ask_octets(&self, words: &[&[u8]]) -> String {
        let asking = self.try_ask_octets(words);
        tokio::time::timeout(crate::support::PATIENCE, asking)
            .await
            .expect("within the patience")
            .expect("an answer")
    }

    async fn try_ask(&self, words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        tokio::time::timeout(Duration::from_secs(2), self.try_ask_octets(&words)).await.ok().flatten()
    }

    async fn try_ask_octets(&self, words: &[&[u8]]) -> Option<String> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.ok()?);
        stream.write_all(&command).await.ok()?;
        // Answers yet to come: an array stands for its elements.
        let (mut due, mut answer) = (1_usize, String::new());
        while due > 0 {
            due -= 1;
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let (kind, rest) = line.trim_end().split_at_checked(1)?;
            let length = rest.parse::<i64>().ok().and_then(|length| usize::try_from(length).ok());
            match (kind, length) {
                ("*", Some(elements)) => due += elements,
                ("$", Some(length)) => {
                    let mut text = vec![0; length + 2];
                    stream.read_exact(&mut text).await.ok()?;
                    answer.push_str(&String::from_utf8_lossy(&text[..length]));
                    answer.push('\n');
                }
                ("*" | "$", None) => answer.push('\n'),
                _ => {
                    answer.push_str(rest);
                    answer.push('\n');
                }
            }
        }
        Some(answer)
    }
}
