//! A PoP on loopback, an origin that does what a test says, and clients that write octets as they please.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pop_edge::{Addresses, Handle, Origin, Pop, PopBuilder, RunError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// No step of a test takes longer; one that does has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// What the scripted origin does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these octets, and waits for the next request.
    Send(Vec<u8>),
    /// Sends these octets, and closes.
    SendAndClose(Vec<u8>),
    /// Sends these octets, and resets the connection.
    SendAndReset(Vec<u8>),
    /// Sends these octets, and says nothing more.
    SendAndHang(Vec<u8>),
    /// Sends octets with pauses before each.
    Slowly(Vec<(Duration, Vec<u8>)>),
}

impl Reply {
    /// 200 with these fields, one a line, and a body.
    pub fn ok(fields: &str, body: &str) -> Self {
        Self::status("200 OK", fields, body)
    }

    pub fn status(status: &str, fields: &str, body: &str) -> Self {
        let fields: String = fields.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let length = body.len();
        Self::Send(
            format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes(),
        )
    }
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A request as the origin read it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The value of a field, several joined by commas.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }
}

pub fn field(head: &str, name: &str) -> Option<String> {
    let values: Vec<_> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// An origin that is scripted octet by octet.
pub struct Scripted {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(loopback()).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(Arc::new(script) as Script));
        let (seen, current) = (Arc::clone(&asked), Arc::clone(&script));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&seen), Arc::clone(&current)));
            }
        });
        Self { address, asked, script, task }
    }

    pub fn script(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn origin(&self) -> Origin {
        Origin::http(self.address.to_string())
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Asked>>>, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    loop {
        let Some(asked) = read_request(&mut stream, &mut buffer).await else { return };
        seen.lock().unwrap().push(asked.clone());
        let script = Arc::clone(&script.lock().unwrap());
        match script(&asked) {
            Reply::Send(octets) => {
                if stream.write_all(&octets).await.is_err() {
                    return;
                }
            }
            Reply::SendAndClose(octets) => {
                let _ = stream.write_all(&octets).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::SendAndReset(octets) => {
                let _ = stream.write_all(&octets).await;
                // What was written arrives before the reset does.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = stream.set_zero_linger();
                return;
            }
            Reply::SendAndHang(octets) => {
                let _ = stream.write_all(&octets).await;
                tokio::time::sleep(PATIENCE * 3).await;
            }
            Reply::Slowly(parts) => {
                for (pause, octets) in parts {
                    tokio::time::sleep(pause).await;
                    if stream.write_all(&octets).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut body = Vec::new();
    if let Some(length) = field(&head, "content-length").and_then(|length| length.parse::<usize>().ok()) {
        while buffer.len() < length {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        body = buffer.drain(..length).collect();
    } else if field(&head, "transfer-encoding").is_some() {
        let end = loop {
            if let Some(end) = buffer.windows(5).position(|window| window == b"0\r\n\r\n") {
                break end + 5;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        body = buffer.drain(..end).collect();
    }
    Some(Asked { head, body })
}

/// A PoP that serves until it is dropped.
pub struct Running {
    pub pop: Pop,
    pub handle: Handle,
    pub addresses: Addresses,
    pub task: JoinHandle<Result<(), RunError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub fn http(&self) -> SocketAddr {
        self.addresses.http[0]
    }
}

pub async fn start(builder: PopBuilder) -> Running {
    let pop = builder.build().expect("a PoP that can be built");
    let addresses = pop.bind().await.expect("free ports");
    let (handle, running) = (pop.handle(), pop.clone());
    let task = tokio::spawn(async move { running.run().await });
    Running { pop, handle, addresses, task }
}

/// A CDN's PoP on a free port, in front of `origin` for every host.
pub fn cdn(origin: &Scripted) -> PopBuilder {
    Pop::cdn("test").http(loopback()).host("*", origin.origin())
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body reached the end that its framing tells.
    pub is_complete: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_hit(&self) -> bool {
        self.field("cache-status").is_some_and(|status| status.contains("; hit"))
    }
}

/// A connection that octets are written to.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.expect("the connection is open");
    }

    /// The next answer to anything but HEAD; `None` if the connection ended first.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(true)).await.expect("an answer within the patience")
    }

    pub async fn answer_to_head(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(false)).await.expect("an answer within the patience")
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|octets| octets > 0)
    }

    async fn read_answer(&mut self, has_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new(), is_complete: true };
        if !has_body || matches!(status, 100..200 | 204 | 304) {
            return Some(answer);
        }
        if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a number");
            while self.buffer.len() < length && self.more().await {}
            answer.is_complete = self.buffer.len() >= length;
            let length = length.min(self.buffer.len());
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.field("transfer-encoding").is_some() {
            answer.is_complete = self.read_chunks(&mut answer.body).await.is_some();
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let end = loop {
                if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                    break end;
                }
                if !self.more().await {
                    return None;
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..end]).ok()?, 16).ok()?;
            while self.buffer.len() < end + 2 + size + 2 {
                if !self.more().await {
                    body.extend_from_slice(&self.buffer[(end + 2).min(self.buffer.len())..]);
                    return None;
                }
            }
            body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Some(());
            }
        }
    }

    /// Whether the other side closes within the patience, whatever it sends before.
    pub async fn is_closed(&mut self) -> bool {
        let end = async { while self.more().await {} };
        tokio::time::timeout(PATIENCE, end).await.is_ok()
    }

    /// Whether the connection still answers.
    pub async fn is_open(&mut self) -> bool {
        let ask = b"GET /is-open HTTP/1.1\r\nHost: www.example.org\r\n\r\n";
        self.stream.write_all(ask).await.is_ok() && self.answer().await.is_some()
    }
}

/// One request on a connection of its own.
pub async fn ask(address: SocketAddr, octets: impl AsRef<[u8]>) -> Option<Answer> {
    let mut client = Client::connect(address).await;
    client.send(octets).await;
    client.answer().await
}

/// GET of a path of `www.example.org`.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: www.example.org\r\n\r\n");
    ask(address, request).await.expect("an answer")
}

/// Waits until something holds, for as long as the patience lasts.
pub async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
