//! The program `pop-edge`: what it judges, what it does at a signal, and how it ends.
#![cfg(all(feature = "cli", unix))]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use support::{PATIENCE, Reply, Scripted, get};

/// A file of its own, gone with the test.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pop-edge-program-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a writable place");
        Self(path)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The program, and the lines of its log as they come. It is ended with the test.
struct Program {
    child: Child,
    log: Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(config: &Config, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pop-edge"))
            .args(arguments)
            .arg(&config.0)
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// The next line of the log that has this in it.
    fn says(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{text:?} is not in {seen:#?}"));
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().expect("it runs").success());
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

fn text(origin: &Scripted, rest: &str) -> String {
    format!(
        "{rest}[listen]\nhttp = [\"127.0.0.1:0\"]\n[[host]]\nname = \"*\"\norigin = \"http://{}\"\n",
        origin.address
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_serve_reload_and_drain() {
    let origin = Scripted::start(|_| Reply::ok("Cache-Control: no-store", "x")).await;
    let config = Config::new("workers", &text(&origin, ""));
    let mut program = Program::start(&config, &["--workers", "16"]);
    let line = program.says("serving");
    let address = line.split("http: [").nth(1).and_then(|rest| rest.split(']').next()).expect("an address");
    let address = address.parse().expect("an address");
    for _ in 0..32 {
        assert_eq!(get(address, "/.git/config").await.status, 200);
    }
    std::fs::write(&config.0, text(&origin, "[guard]\nbaseline = true\n")).expect("it is written");
    program.signal("HUP");
    program.says("reloaded");
    for _ in 0..32 {
        assert_eq!(get(address, "/.git/config").await.status, 404);
    }
    std::fs::write(&config.0, text(&origin, "preset = \"security\"\n")).expect("it is written");
    program.signal("HUP");
    assert!(program.says("WARN").contains("settings"));
    std::fs::write(&config.0, "colour = 1\n").expect("it is written");
    program.signal("HUP");
    assert!(program.says("not reloaded").contains("unknown field"));
    assert_eq!(get(address, "/").await.status, 200);
    program.signal("TERM");
    assert_eq!(program.code(), Some(0));
}

#[test]
fn a_check_says_what_is_missing() {
    let check = |name: &str, text: &str, code: i32, expected: &str| {
        let config = Config::new(name, text);
        let mut program = Program::start(&config, &["--check"]);
        if !expected.is_empty() {
            program.says(expected);
        }
        assert_eq!(program.code(), Some(code), "{text}");
    };
    let host = "[[host]]\nname = \"*\"\norigin = \"http://a\"\n";
    let listen = "[listen]\nhttp = [\"127.0.0.1:0\"]\n";
    check("whole", &format!("{listen}{host}"), 0, "");
    check("no-listener", host, 78, "listen: expected an address");
    check("no-host", listen, 78, "host: expected one at least");
    check(
        "place",
        &format!("{listen}{host}limit = {{ rate = 9999999999999 }}\n"),
        78,
        ":6:18: host \"*\": limit: ",
    );
}
