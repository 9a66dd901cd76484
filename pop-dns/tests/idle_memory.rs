//! What an idle TCP client costs: at most two KiB of heap.
#![cfg(feature = "tokio")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use pop_dns::server::{Counters, Server};
use pop_dns::zone::Zone;
use pop_dns::{Authority, MessageBuilder, RecordType};

/// Octets that one idle client may cost (see the crate's promises).
const IDLE_OCTETS_MAX: isize = 2048;
const CLIENTS: isize = 60;

/// Counts the octets that are allocated.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The clients are plain sockets, so whatever is allocated is the server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_client_costs_two_kib_at_most() {
    let text = b"@ 60 SOA a b 1 1 1 1 1\n@ 60 NS a\nwww 60 A 192.0.2.1\n";
    let authority = Authority::new([Zone::parse(text, "example.org".parse().unwrap()).unwrap()]);
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr();
    let counters = Arc::new(Counters::default());
    tokio::spawn(server.run(authority, Arc::clone(&counters), std::future::pending()));
    let query = MessageBuilder::query(5, &"www.example.org".parse().unwrap(), RecordType::A).finish();
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let connect = || {
        // Each has asked once, so that all buffers have been there.
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&framed).unwrap();
        let mut answer = [0; 512];
        assert!(stream.read(&mut answer).unwrap() > 0);
        stream
    };
    let mut clients: Vec<TcpStream> = Vec::with_capacity(128);
    clients.push(connect());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = LIVE.load(Ordering::Relaxed);
    (0..CLIENTS).for_each(|_| clients.push(connect()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let each = (LIVE.load(Ordering::Relaxed) - before) / CLIENTS;
    assert!(each > 100 && each <= IDLE_OCTETS_MAX, "{each} octets for each idle client");
    println!("{each} octets for each idle client");
}
