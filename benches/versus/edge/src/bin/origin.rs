//! The origin of every contender: 1 KiB and 64 KiB, cacheable for days.

use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:18000".to_owned());
    let listener = TcpListener::bind(address)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || -> std::io::Result<()> {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    let octets = stream.read(&mut buffer)?;
                    if octets == 0 {
                        return Ok(());
                    }
                    head.extend_from_slice(&buffer[..octets]);
                }
                let size = if head.starts_with(b"GET /64k") { 65_536 } else { 1024 };
                head.clear();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 20:00:00 GMT\r\nContent-Type: text/plain\r\n\
                     ETag: \"abc\"\r\nLast-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
                     Cache-Control: public, max-age=360000\r\nContent-Length: {size}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes())?;
                stream.write_all(&vec![b'x'; size])?;
            }
        });
    }
    Ok(())
}
