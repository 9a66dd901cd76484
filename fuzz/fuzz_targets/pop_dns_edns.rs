//! EDNS options: what is read by its code does not panic, and subnets and cookies are written again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pop_dns::{ClientSubnet, Cookie, EdnsOption, EdnsParts, Message, MessageBuilder, Rcode, option};

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (code, contents) = input;
    let contents = &contents[..contents.len().min(60_000)];
    let _ = EdnsOption::parse(code, contents);
    if let Ok(subnet) = ClientSubnet::parse(contents) {
        let mut again = [0; 20];
        let octets = subnet.write(&mut again);
        assert_eq!(&again[..octets], contents);
    }
    if let Ok(cookie) = Cookie::parse(contents) {
        assert_eq!([&cookie.client, cookie.server].concat(), contents);
    }
    let mut builder = MessageBuilder::new(65_535);
    let options = [(code, contents)];
    let parts = EdnsParts { udp_payload: 1232, options: &options, ..EdnsParts::default() };
    builder.edns(&parts, Rcode::NOERROR).expect("room");
    let wire = builder.finish();
    let edns = Message::parse(&wire).expect("a header").edns().expect("one OPT").expect("one OPT");
    assert_eq!(edns.option(code), Some(contents));
    if code == option::CLIENT_SUBNET {
        assert_eq!(edns.client_subnet().is_ok(), ClientSubnet::parse(contents).is_ok());
    }
});
