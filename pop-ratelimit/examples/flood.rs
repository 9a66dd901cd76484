//! A UDP flood on loopback, met by tiers, a penalty box and a list of top offenders.
//! `cargo run --release -p pop-ratelimit --example flood`
//!
//! Two honest clients and one flooding network send from addresses of 127.0.0.0/8; where those do not exist, all
//! send from one address and the example says so.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use pop_ratelimit::{HeavyPrefixes, PenaltyBox, PenaltyTerms, PrefixTiers, Quota, Verdict};

fn main() -> std::io::Result<()> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(Duration::from_millis(50)))?;
    let target = server.local_addr()?;
    let senders = std::thread::spawn(move || send(target));

    let tiers = PrefixTiers::new(Quota::per_second(200).burst(50), 8 << 20);
    let penalties = PenaltyBox::<IpAddr>::new(PenaltyTerms::new(Duration::from_secs(30)), 1 << 20);
    let top = HeavyPrefixes::new(256, &[(32, 64), (24, 48)]);
    let (mut served, mut limited, mut blocked) = (0_u64, 0_u64, 0_u64);
    let (mut packet, end) = ([0; 64], Instant::now() + Duration::from_secs(1));
    while Instant::now() < end {
        let Ok((_, from)) = server.recv_from(&mut packet) else { continue };
        let client = from.ip();
        top.record(client, 1);
        if penalties.is_blocked(&client) {
            blocked += 1;
        } else if let Verdict::Denied { .. } = tiers.check(client, 1) {
            limited += 1;
            // Twice the allowance in a second is no accident.
            if top.top(0, 3).iter().any(|hitter| hitter.key.0 == client && hitter.certain() > 400) {
                let _ = penalties.punish(&client);
            }
        } else {
            served += 1;
        }
    }
    println!("served {served}, limited {limited}, dropped from the penalty box {blocked}");
    for (tier, name) in ["addresses", "networks"].into_iter().enumerate() {
        println!("top {name}:");
        for hitter in top.top(tier, 3) {
            let (network, length) = hitter.key;
            println!("  {network}/{length}: {} to {} packets", hitter.certain(), hitter.count);
        }
    }
    senders.join().expect("the senders end")
}

/// A second of traffic: a flood from eight addresses of one network, and two clients that send a hundred each.
fn send(target: std::net::SocketAddr) -> std::io::Result<()> {
    let socket = |address: &str| UdpSocket::bind((address, 0));
    let flood: Vec<UdpSocket> = match (1..=8).map(|host| socket(&format!("127.66.66.{host}"))).collect() {
        Ok(sockets) => sockets,
        Err(_) => {
            println!("only one loopback address here");
            vec![socket("127.0.0.1")?]
        }
    };
    let honest = [socket("127.0.7.1").or_else(|_| socket("127.0.0.1"))?, socket("127.0.0.1")?];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(1) {
        for socket in &flood {
            for _ in 0..8 {
                // A full buffer loses packets, as a full wire would.
                let _ = socket.send_to(b"flood", target);
            }
        }
        if start.elapsed().as_millis() as u64 / 10 > sent {
            sent += 1;
            honest.iter().for_each(|socket| drop(socket.send_to(b"hello", target)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
