//! What is no query, and what is owed for it.

use super::respond::Asker;
use super::{Authority, Outcome};
use crate::{
    CookieVerdict, EdnsParts, Flags, Header, Message, MessageBuilder, Opcode, ParseError, QueryError, Rcode,
    UDP_PAYLOAD_OCTETS, option,
};

impl Authority {
    /// Answers what is no query: the header with a code, or silence.
    #[cold]
    pub(super) fn respond_error(
        &self,
        octets: &[u8],
        error: &QueryError,
        asker: &Asker<'_>,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let Some(header) = error.header else { return Outcome::Silent };
        let keep = Flags(header.flags.0 & (Flags::RD | Flags::CD)).with_opcode(header.flags.opcode());
        answer.clear();
        if error.rcode == Rcode::BADVERS {
            let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
            builder.set_header(header.id, keep.with(Flags::QR));
            let edns = EdnsParts { udp_payload: UDP_PAYLOAD_OCTETS, ..EdnsParts::default() };
            // Twelve octets of header and eleven of OPT fit into 512.
            let _ = builder.edns(&edns, error.rcode);
            *answer = builder.finish();
            return Outcome::Answered(error.rcode);
        }
        #[cfg(feature = "dnssec")]
        if matches!(header.flags.opcode(), Opcode::NOTIFY | Opcode::UPDATE)
            && let Some(keys) = self.keys.as_ref().filter(|_| crate::tsig::is_signed(octets))
        {
            return self.respond_signed(keys, octets, asker, answer);
        }
        // These are understood, so what cannot be read of them is malformed and not unknown.
        let (told, owed) = match header.flags.opcode() {
            Opcode::NOTIFY => (self.notify(octets, asker, answer), Rcode::FORMERR),
            Opcode::UPDATE => (self.update(octets, asker, answer), Rcode::FORMERR),
            _ => (None, error.rcode),
        };
        if let Some(rcode) = told {
            return Outcome::Answered(rcode);
        }
        if let Some(rcode) = self.cookie_query(octets, error, asker, answer) {
            return Outcome::Answered(rcode);
        }
        let flags = keep.with(Flags::QR).with_rcode(owed);
        answer.extend_from_slice(&Header { id: header.id, flags, counts: [0; 4] }.to_wire());
        Outcome::Answered(owed)
    }

    /// A message without a question that asks for a cookie alone (RFC 7873 §5.4).
    fn cookie_query(
        &self,
        octets: &[u8],
        error: &QueryError,
        asker: &Asker<'_>,
        answer: &mut Vec<u8>,
    ) -> Option<Rcode> {
        let (secret, _) = self.cookies.as_ref()?;
        let asks = error.error == ParseError::QuestionCount { count: 0 };
        let message = Message::parse(octets).ok().filter(|message| asks && message.check().is_ok())?;
        let cookie = message.edns().ok()??.cookie().ok()??;
        let (client, seconds) = (asker.client, asker.seconds() as u32);
        let valid = matches!(secret.check(&cookie, client, seconds), CookieVerdict::Valid { .. });
        // §5.4: with a server cookie that is wrong, BADCOOKIE says so.
        let rcode = if valid || cookie.server.is_empty() { Rcode::NOERROR } else { Rcode::BADCOOKIE };
        let mut builder = MessageBuilder::with_buffer(std::mem::take(answer), 512);
        builder.set_header(message.header().id, Flags(message.header().flags.0 & Flags::RD).with(Flags::QR));
        let made = secret.make(cookie.client, client, seconds);
        let options = [(option::COOKIE, &made[..])];
        let edns = EdnsParts { udp_payload: UDP_PAYLOAD_OCTETS, options: &options, ..EdnsParts::default() };
        // Header, OPT and a cookie fit into 512.
        let _ = builder.edns(&edns, rcode);
        *answer = builder.finish();
        Some(rcode)
    }
}
