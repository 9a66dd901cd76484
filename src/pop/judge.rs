//! What a builder was told, judged before it becomes a PoP.

use super::{BuildError, PopBuilder};
use crate::config::Admin;

pub(super) fn judge(spec: &PopBuilder) -> Result<(), BuildError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // A token of Cache-Status begins with a letter (RFC 8941 §3.3.4).
    let begins = spec.name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !begins || spec.name.len() > 63 || !spec.name.bytes().all(fits) {
        return Err(BuildError::Name(spec.name.clone()));
    }
    if let Some(expected) = spec.admin.as_ref().and_then(Admin::problem) {
        return Err(BuildError::Admin { expected });
    }
    let settings = &spec.settings;
    let at_least = |field, fine, expected| {
        if fine { Ok(()) } else { Err(BuildError::Setting { field, expected }) }
    };
    at_least("head_bytes", settings.head_bytes >= 8192, "at least 8192 octets")?;
    at_least("streams_max", settings.streams_max > 0, "at least one stream")?;
    at_least("connections_max", settings.connections_max > 0, "at least one connection")?;
    for (field, limit) in [
        ("first_byte", settings.first_byte),
        ("handshake", settings.handshake),
        ("head", settings.head),
        ("idle", settings.idle),
        ("send_stall", settings.send_stall),
        ("body_window", settings.body_window),
    ] {
        at_least(field, !limit.is_zero(), "more than nothing")?;
    }
    Ok(())
}

/// Takes the zones out of the builder and makes the authority; `None` without zones.
#[cfg(feature = "dns")]
pub(super) fn authority(spec: &mut PopBuilder) -> Result<Option<pop_dns::Authority>, BuildError> {
    let zones = std::mem::take(&mut spec.zones);
    #[cfg(feature = "route")]
    let geo = {
        let wrong = |name: &String, expected| BuildError::Geo { name: name.clone(), expected };
        let mut names = Vec::new();
        for name in &spec.geo {
            let parsed: pop_dns::NameBuf = name.parse().map_err(|_| wrong(name, "a domain name"))?;
            if !crate::steer::has_zone(&zones, &parsed) {
                return Err(wrong(name, "a zone that it lies in"));
            }
            if spec.selector.is_none() {
                return Err(wrong(name, "a selector to choose by (route)"));
            }
            names.push(parsed);
        }
        names
    };
    if zones.is_empty() {
        return Ok(None);
    }
    Ok(Some(crate::steer::authority(
        &spec.name,
        zones,
        #[cfg(feature = "route")]
        &geo,
        #[cfg(feature = "route")]
        spec.selector.as_ref(),
    )))
}
