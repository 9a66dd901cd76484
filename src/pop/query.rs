//! What the admin service is asked with.

/// The parameters of a query.
pub(super) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| decoded(value))
    }
}

/// `%XX` decoded; what is no escape, or no UTF-8 afterwards, is replaced.
fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) if *first == b'%' => {
                octets.push(octet);
                rest = &tail[2..];
            }
            _ => {
                octets.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("tag=a%20b%2&soft&x=1+2");
        assert_eq!(query.get("tag").as_deref(), Some("a b%2"));
        assert_eq!((query.get("soft").as_deref(), query.get("x").as_deref()), (Some(""), Some("1 2")));
        assert!(query.get("all").is_none());
    }
}
