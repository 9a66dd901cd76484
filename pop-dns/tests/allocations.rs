//! Answering allocates nothing: not in the authority, and not in the loop of a worker around it.
#![cfg(feature = "tokio")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pop_dns::server::{Batch, Counters, Handled, Handler, Server, Swap};
use pop_dns::zone::Zone;
use pop_dns::{
    Authority, ClientSubnet, CookiePolicy, CookieSecret, DynamicAnswer, EdnsParts, Limit, MessageBuilder,
    NameBuf, Outcome, Rcode, RecordType, ResponseRateLimit, Timestamp, Transport, option,
};

/// Counts the allocations of threads that say so.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    if COUNTED.with(Cell::get) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(pointer, layout, octets) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ZONE: &[u8] = br#"
$TTL 300
@ SOA ns1 hostmaster 1 2h 15m 2w 5m
@ NS ns1
@ MX 10 www
ns1 A 192.0.2.53
www A 192.0.2.1
alias CNAME www
chain CNAME alias
*.wild TXT "one" "two"
a.b.ent A 192.0.2.7
child NS ns.child
ns.child A 192.0.2.99
old DNAME new
x.new A 192.0.2.8
svc HTTPS 1 . alpn=h2
"#;

fn name(text: &str) -> NameBuf {
    text.parse().unwrap()
}

/// Everything that an authority may be asked to do beside answering, switched on.
fn authority() -> Authority {
    let geo = DynamicAnswer::addresses([IpAddr::from([192, 0, 2, 10])], 30, 24);
    let limit = ResponseRateLimit::new(1_000_000, 2);
    Authority::new([Zone::parse(ZONE, name("example.org")).unwrap()])
        .server_id("fra1")
        .cookies(CookieSecret::new([7; 16]), CookiePolicy::Offer)
        .limit(move |asked| match limit.check(asked) {
            // A slip now and then, whose answer is made otherwise.
            Limit::Send if asked.rcode == Rcode::REFUSED => Limit::Slip,
            verdict => verdict,
        })
        .dynamic(&name("geo.example.org"), move |_| geo.clone())
}

/// One query of each kind, with EDNS, a cookie and a subnet, and as plain as can be.
fn queries() -> Vec<Vec<u8>> {
    let mut queries = Vec::new();
    for (qname, qtype) in [
        ("www.example.org", RecordType::A),
        ("WWW.Example.ORG", RecordType::A),
        ("www.example.org", RecordType::AAAA),
        ("www.example.org", RecordType::ANY),
        ("none.example.org", RecordType::A),
        ("a.b.c.d.none.example.org", RecordType::A),
        ("b.ent.example.org", RecordType::A),
        ("example.org", RecordType::MX),
        ("example.org", RecordType::SOA),
        ("chain.example.org", RecordType::A),
        ("q.wild.example.org", RecordType::TXT),
        ("x.old.example.org", RecordType::A),
        ("deep.child.example.org", RecordType::A),
        ("svc.example.org", RecordType::HTTPS),
        ("geo.example.org", RecordType::A),
        ("geo.example.org", RecordType::AAAA),
        ("www.example.net", RecordType::A),
    ] {
        queries.push(MessageBuilder::query(9, &name(qname), qtype).finish());
        let mut builder = MessageBuilder::query(9, &name(qname), qtype);
        let subnet = ClientSubnet::new("198.51.100.0".parse().unwrap(), 24);
        let options = [(option::COOKIE, &[5_u8; 8][..]), (option::NSID, &[][..])];
        let parts = EdnsParts {
            udp_payload: 1232,
            dnssec_ok: true,
            client_subnet: Some(subnet),
            options: &options,
            ..EdnsParts::default()
        };
        builder.edns(&parts, Rcode::NOERROR).unwrap();
        queries.push(builder.finish());
    }
    // What is no query: torn, of another kind, of another version.
    let good = queries[0].clone();
    queries.push(good[..good.len() - 1].to_vec());
    queries.push([&good[..2], &[2 << 3], &good[3..]].concat());
    queries.push([&good[..10], &[0, 1], &good[12..], &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0]].concat());
    queries
}

fn counted<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    COUNTED.with(|counted| counted.set(true));
    let result = work();
    COUNTED.with(|counted| counted.set(false));
    (ALLOCATIONS.load(Ordering::SeqCst) - before, result)
}

/// Says that its thread is counted as soon as it has served once.
struct Watched(Swap);

impl Handler for Watched {
    fn handle(
        &self,
        query: &[u8],
        client: IpAddr,
        now: Timestamp,
        transport: Transport,
        answer: &mut Vec<u8>,
    ) -> Handled {
        self.0.handle(query, client, now, transport, answer)
    }

    fn handle_batch(&self, now: Timestamp, batch: &mut Batch<'_>) {
        self.0.handle_batch(now, batch);
        COUNTED.with(|counted| counted.set(true));
    }
}

/// Sends every query and takes its answer; without allocating, though nobody counts here.
fn exchange(client: &UdpSocket, queries: &[Vec<u8>]) {
    let mut answer = [0; 1232];
    for query in queries {
        client.send(query).unwrap();
        let octets = client.recv(&mut answer).expect("an answer to each");
        assert_eq!(answer[..2], query[..2]);
        assert!(octets >= 12);
    }
}

// One test, as there is one counter.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn answering_allocates_nothing() {
    let (authority, queries) = (authority(), queries());
    assert_eq!(counted(|| Vec::<u8>::with_capacity(7)).0, 1, "allocations are seen");
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    let mut answer = Vec::with_capacity(1232);
    for query in &queries {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        for transport in [Transport::Udp, Transport::Tcp] {
            let (allocations, outcome) =
                counted(|| authority.respond(query, client, now, transport, &mut answer));
            assert_eq!(allocations, 0, "{outcome:?} {query:02x?}");
            assert!(matches!(outcome, Outcome::Answered(_)), "{query:02x?}");
        }
    }

    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let handler = Watched(Swap::new(authority));
    let running = tokio::spawn(server.run(handler, Arc::new(Counters::default()), async {
        let _ = stopped.await;
    }));
    tokio::task::spawn_blocking(move || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.connect(address).unwrap();
        exchange(&client, &queries);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for _ in 0..50 {
            exchange(&client, &queries);
        }
        let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
        assert_eq!(allocations, 0, "in {} queries", 50 * queries.len());
    })
    .await
    .unwrap();
    drop(stop);
    running.await.unwrap();
}
