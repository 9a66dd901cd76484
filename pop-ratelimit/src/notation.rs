//! How a quota is written down, with `serde`.
//!
//! ```text
//! { tokens = 50, period_nanos = 1000000000, burst = 100 }     burst may be left out: as many as tokens
//! "unlimited"  "blocked"
//! ```
//!
//! Formats that are not for people take the three numbers in a row.

use core::fmt;
use core::time::Duration;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Quota;

const FIELDS: &[&str] = &["tokens", "period_nanos", "burst"];
const UNLIMITED: &str = "unlimited";
const BLOCKED: &str = "blocked";

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = [self.tokens(), self.period_nanos(), self.burst_size()];
        if !serializer.is_human_readable() {
            let mut row = serializer.serialize_tuple(words.len())?;
            for word in words {
                row.serialize_element(&word)?;
            }
            return row.end();
        }
        match *self {
            Self::UNLIMITED => serializer.serialize_str(UNLIMITED),
            Self::BLOCKED => serializer.serialize_str(BLOCKED),
            _ => {
                let mut fields = serializer.serialize_struct("Quota", words.len())?;
                for (name, word) in FIELDS.iter().zip(words) {
                    fields.serialize_field(name, &word)?;
                }
                fields.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    /// Errors name the field and its bounds, in the words of [`QuotaError`](crate::QuotaError).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Written)
        } else {
            deserializer.deserialize_tuple(FIELDS.len(), Written)
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Tokens,
    PeriodNanos,
    Burst,
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Quota;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a quota: tokens, period_nanos and burst, or \"{UNLIMITED}\" or \"{BLOCKED}\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quota, E> {
        match text {
            UNLIMITED => Ok(Quota::UNLIMITED),
            BLOCKED => Ok(Quota::BLOCKED),
            _ => Err(E::unknown_variant(text, &[UNLIMITED, BLOCKED])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Quota, A::Error> {
        let (mut tokens, mut period_nanos, mut burst) = (None, None, None);
        while let Some(field) = map.next_key()? {
            let (place, name) = match field {
                Field::Tokens => (&mut tokens, "tokens"),
                Field::PeriodNanos => (&mut period_nanos, "period_nanos"),
                Field::Burst => (&mut burst, "burst"),
            };
            if place.replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
        }
        let tokens = tokens.ok_or_else(|| A::Error::missing_field("tokens"))?;
        let period_nanos = period_nanos.ok_or_else(|| A::Error::missing_field("period_nanos"))?;
        quota(tokens, period_nanos, burst)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Quota, A::Error> {
        let mut word = |index| row.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self));
        let (tokens, period_nanos, burst) = (word(0)?, word(1)?, word(2)?);
        if Quota::from_parts(tokens, period_nanos, burst) == Quota::UNLIMITED {
            return Ok(Quota::UNLIMITED);
        }
        quota(tokens, period_nanos, Some(burst))
    }
}

fn quota<E: Error>(tokens: u64, period_nanos: u64, burst: Option<u64>) -> Result<Quota, E> {
    let quota = Quota::new(tokens, Duration::from_nanos(period_nanos)).map_err(E::custom)?;
    burst.map_or(Ok(quota), |burst| quota.try_burst(burst).map_err(E::custom))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LimitPolicy, PenaltyTerms, Tier};
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Quota, std::string::String> {
        serde_json::from_str(text).map_err(|error| std::string::ToString::to_string(&error))
    }

    #[test]
    fn what_people_write() {
        assert_eq!(read(r#"{"tokens":50,"period_nanos":1000000000}"#), Ok(Quota::per_second(50)));
        assert_eq!(read(r#""unlimited""#), Ok(Quota::UNLIMITED));
        assert_eq!(read(r#""blocked""#), Ok(Quota::BLOCKED));
        let terms = r#"{"first":{"secs":5,"nanos":0},"longest":{"secs":60,"nanos":0},"forget_after":{"secs":9,"nanos":0}}"#;
        let longest = Duration::from_secs(60);
        let expected =
            PenaltyTerms::new(Duration::from_secs(5)).longest(longest).forget_after(Duration::from_secs(9));
        assert_eq!(serde_json::from_str::<PenaltyTerms>(terms).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Tier>(r#"{"length":24,"multiplier":8}"#).unwrap().multiplier, 8);
        let policy: LimitPolicy = serde_json::from_str(r#"{"gradient":{"low":1,"high":9}}"#).unwrap();
        assert_eq!(policy, LimitPolicy::Gradient { low: 1, high: 9 });
    }

    #[test]
    fn errors_name_the_field_and_its_bounds() {
        let check = |text: &str, part: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(r#"{"tokens":1}"#, "missing field `period_nanos`");
        check(r#"{"tokens":1,"period_nanos":0}"#, "period 0ns is outside 1 ns to 3153600000 s");
        check(r#"{"tokens":99,"period_nanos":1}"#, "rate of 99 tokens per 1ns is above 17179869184 a second");
        check(
            r#"{"tokens":1,"period_nanos":1,"burst":1099511627777}"#,
            "burst of 1099511627777 tokens is above 1099511627776",
        );
        check(r#"{"tokens":1,"tokens":1}"#, "duplicate field `tokens`");
        check(r#"{"rate":1}"#, "unknown field `rate`, expected one of `tokens`, `period_nanos`, `burst`");
        check(r#"{"tokens":-1}"#, "invalid value: integer `-1`, expected u64");
        check(r#""endless""#, "unknown variant `endless`, expected `unlimited` or `blocked`");
        check("7", "expected a quota: tokens, period_nanos and burst");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tokens in 0_u64..1 << 34, nanos in 1_000_000_000_u64..1 << 60, burst in 0_u64..=1 << 40) {
            let quota = Quota::new(tokens, Duration::from_nanos(nanos)).unwrap().burst(burst);
            for quota in [quota, Quota::UNLIMITED, Quota::BLOCKED] {
                prop_assert_eq!(read(&serde_json::to_string(&quota).unwrap()), Ok(quota));
            }
        }
    }
}
