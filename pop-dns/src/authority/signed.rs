//! Queries signed with a key that we know (RFC 8945): checked before anything else, answered signed.

use super::respond::{Asker, Located};
use super::{Authority, Outcome};
use crate::tsig::{Keyring, Transaction, strip};
use crate::{Flags, HEADER_OCTETS, Header, Message, Questions, Rcode};

impl Authority {
    /// Checks the signature, answers as if there were none, and signs.
    #[cold]
    pub(super) fn respond_signed(
        &self,
        keys: &Keyring,
        octets: &[u8],
        asker: &Asker<'_>,
        answer: &mut Vec<u8>,
    ) -> Outcome {
        let seconds = asker.seconds();
        let mut transaction = match Transaction::check_query(keys, octets, seconds) {
            Ok(Some(transaction)) => transaction,
            // Somebody said that there is a signature.
            Ok(None) => return Outcome::Silent,
            Err(rejection) => {
                let rcode = rejection.rcode();
                if !begin_answer(octets, rcode, answer) {
                    return Outcome::Silent;
                }
                rejection.sign(answer, seconds);
                return Outcome::Answered(rcode);
            }
        };
        let Some(plain) = strip(octets) else { return Outcome::Silent };
        let key = transaction.key().clone();
        let asker = Asker { key: Some(key.name()), signature_octets: key.record_octets(), ..*asker };
        let mut located = Located::BLANK;
        self.locate(&plain, &mut located);
        let outcome = self.respond_located(&plain, &located, &asker, answer);
        if let Outcome::Answered(_) = outcome {
            transaction.sign(answer, seconds);
        }
        outcome
    }
}

/// Where the first question of a message ends; where its header does if there is none that can be read.
fn question_end(message: &[u8]) -> usize {
    let Ok(parsed) = Message::parse(message) else { return message.len().min(HEADER_OCTETS) };
    let mut questions = parsed.questions();
    match questions.next() {
        Some(Ok(_)) => Questions::position(&questions),
        _ => HEADER_OCTETS,
    }
}

/// Header and question of an answer with this code; `false` if the query has no header to answer.
fn begin_answer(query: &[u8], rcode: Rcode, answer: &mut Vec<u8>) -> bool {
    let Ok(header) = Header::parse(query) else { return false };
    if header.flags.has(Flags::QR) {
        return false;
    }
    let end = question_end(query);
    let flags = Flags(header.flags.0 & Flags::RD)
        .with_opcode(header.flags.opcode())
        .with(Flags::QR)
        .with_rcode(rcode);
    let counts = [u16::from(end > HEADER_OCTETS), 0, 0, 0];
    answer.clear();
    answer.extend_from_slice(&Header { id: header.id, flags, counts }.to_wire());
    answer.extend_from_slice(&query[HEADER_OCTETS..end]);
    true
}
